package wire

import (
	"bytes"
	"strings"
	"testing"
)

// described is a block as DESCRIBE answers: two columns of two strings.
func described() []byte {
	b := &Block{Columns: []Column{{"name", "String"}, {"type", "String"}}, Rows: 2}
	b.data = [][]byte{append(AppendString(nil, "n"), AppendString(nil, "m")...), append(AppendString(nil, "UInt8"), AppendString(nil, "Date")...)}
	return b.Append(nil, 0)
}

func TestBlockRoundTrips(t *testing.T) {
	for _, revision := range []int{0, RevisionBlockInfo, RevisionCustomSerialization} {
		first, err := NewReader(bytes.NewReader(described())).ReadBlock(0)
		if err != nil {
			t.Fatal(err)
		}
		wire := first.Append(nil, revision)
		again, err := NewReader(bytes.NewReader(wire)).ReadBlock(revision)
		if err != nil {
			t.Fatalf("revision %d: %v", revision, err)
		}
		if got := strings.Join(again.Strings("type"), " "); got != "UInt8 Date" || again.Rows != 2 {
			t.Errorf("revision %d: %d rows, types %q", revision, again.Rows, got)
		}
		for cut := range wire {
			if _, err := NewReader(bytes.NewReader(wire[:cut])).ReadBlock(revision); err == nil {
				t.Errorf("revision %d: a block cut off after %d of %d bytes was read", revision, cut, len(wire))
			}
		}
	}
}

// The lengths of a type's data, one row each.
func TestShapes(t *testing.T) {
	for name, want := range map[string]int{
		"UInt8": 1, "DateTime64(3, 'UTC')": 8, "Nullable(UUID)": 17, "FixedString(5)": 5, "Enum8('a' = 1, 'b(,' = 2)": 1, "Decimal(18, 4)": 8,
		"Tuple(UInt8, x Int32)": 5, "Array(UInt16)": 8 + 2*2, "Map(UInt8, UInt8)": 8 + 2*2, "IPv6": 16, "IntervalDay": 8,
	} {
		data := append([]byte{1, 1}, AppendString(AppendString(nil, "c"), name)...)
		head := len(data)
		data = append(data, make([]byte, 64)...)
		if strings.HasPrefix(name, "Array") || strings.HasPrefix(name, "Map") {
			data[head] = 2 // Two elements.
		}
		b, err := NewReader(bytes.NewReader(data)).ReadBlock(0)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got := len(b.data[0]); got != want {
			t.Errorf("%s: a row has %d bytes, want %d", name, got, want)
		}
	}
	for _, unknown := range []string{"", "Nonsense", "Array", "FixedString(x)", "AggregateFunction(uniq, UInt8)", "Array(Nonsense)"} {
		if s, err := shapeOf(unknown, 0); err == nil {
			t.Errorf("%q is a type of shape %+v", unknown, s)
		}
	}
}

// Whatever comes over the wire is a block, which is written again as it was, or
// an error; what a length claims is not allocated.
func FuzzReadBlock(f *testing.F) {
	f.Add(described(), 0)
	f.Add([]byte("\x01\x01\x01c\x0eArray(UInt64))\xff\xff\xff\xff\xff\xff\xff\x7f"), 0)
	f.Add([]byte("\x01\x01\x01c\x16LowCardinality(String)\x01\x00\x00\x00\x00\x00\x00\x00"), 0)
	f.Add([]byte("\x01\x00\x02\xff\xff\xff\xff\x00\x01\x01\x01c\x05UInt8\x00\x07"), RevisionCustomSerialization)
	f.Fuzz(func(t *testing.T, data []byte, revision int) {
		b, err := NewReader(bytes.NewReader(data)).ReadBlock(revision)
		if err != nil {
			return
		}
		again, err := NewReader(bytes.NewReader(b.Append(nil, revision))).ReadBlock(revision)
		if err != nil || again.Rows != b.Rows || len(again.Columns) != len(b.Columns) {
			t.Fatalf("a round trip gave %+v, %v", again, err)
		}
		for _, c := range b.Columns {
			b.Strings(c.Name)
		}
	})
}
