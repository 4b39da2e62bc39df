package native

import (
	"bytes"
	"encoding/binary"
	"reflect"
	"testing"

	"github.com/tintype/tintype/cmd/chserver/internal/engine"
	"github.com/tintype/tintype/cmd/chserver/internal/wire"
)

// packet is a query as a client of a revision writes it, with all that this
// server reads of it.
func packet(theirs int) []byte {
	texts := func(out []byte, texts ...string) []byte {
		for _, s := range texts {
			out = wire.AppendString(out, s)
		}
		return out
	}
	out := texts(nil, "id")
	out = append(out, 1)
	out = texts(out, "user", "first", "address")
	if theirs >= 54449 {
		out = binary.LittleEndian.AppendUint64(out, 1)
	}
	out = texts(append(out, 1), "os", "host", "client")
	out = texts(append(out, 1, 2, 3), "quota")
	if theirs >= 54448 {
		out = append(out, 0) // Depth.
	}
	out = append(out, 4) // Patch.
	if theirs >= 54442 {
		out = texts(append(append(out, 1), make([]byte, 24)...), "state")
		out = append(out, 0)
	}
	if theirs >= 54453 {
		out = append(out, 0, 0, 0)
	}
	out = append(texts(out, "max_threads"), 1)
	out = append(texts(out, "1", "custom_a"), 2)
	out = texts(out, "'it\\'s'", "")
	if theirs >= 54441 {
		out = texts(out, "secret")
	}
	out = texts(append(out, 2, 1), "SELECT {x:String}")
	if theirs >= 54459 {
		out = append(texts(out, "x"), 2)
		out = texts(out, `'a\\b'`, "")
	}
	return out
}

func TestReadRequest(t *testing.T) {
	for _, theirs := range []int{54440, 54441, 54442, 54448, 54449, 54453, 54459, wire.Revision} {
		want := &request{id: "id", text: "SELECT {x:String}", compressed: true, settings: map[string]string{"max_threads": "1", "custom_a": "it's"}}
		if theirs >= 54459 {
			want.params = []engine.Param{{Name: "x", Value: `a\b`}}
		}
		whole := packet(theirs)
		c := &client{in: wire.NewReader(bytes.NewReader(whole)), revision: theirs}
		got, err := c.readRequest()
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("revision %d: %+v, %v, want %+v", theirs, got, err, want)
		}
		for cut := range whole {
			c := &client{in: wire.NewReader(bytes.NewReader(whole[:cut])), revision: theirs}
			if got, err := c.readRequest(); err == nil {
				t.Errorf("revision %d: %d of %d bytes are the request %+v", theirs, cut, len(whole), got)
			}
		}
	}
}

// Any bytes are a request or an error, and a request has an end.
func FuzzReadRequest(f *testing.F) {
	for _, theirs := range []int{0, 54440, 54449, wire.Revision} {
		f.Add(packet(theirs), theirs)
	}
	f.Add([]byte{0, 0, 1, 'a', 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f}, wire.Revision)
	f.Fuzz(func(t *testing.T, data []byte, theirs int) {
		c := &client{in: wire.NewReader(bytes.NewReader(data)), revision: theirs}
		q, err := c.readRequest()
		if err == nil && len(q.text)+len(q.id)+len(q.params)+len(q.settings) > len(data) {
			t.Errorf("%x became %+v", data, q)
		}
	})
}
