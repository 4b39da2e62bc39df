package chaos

import (
	"bytes"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// framed is a request as a client sends it.
func framed(r kmsg.Request, version int16, correlation int32) []byte {
	r.SetVersion(version)
	return kmsg.NewRequestFormatter(kmsg.FormatterClientID("a client")).AppendRequest(nil, r, correlation)
}

func produce(id string) *kmsg.ProduceRequest {
	r := kmsg.NewPtrProduceRequest()
	if id != "" {
		r.TransactionID = &id
	}
	return r
}

func endTxn(id string) *kmsg.EndTxnRequest {
	r := kmsg.NewPtrEndTxnRequest()
	r.TransactionalID, r.Commit = id, true
	return r
}

func commitOffsets(id string) *kmsg.TxnOffsetCommitRequest {
	r := kmsg.NewPtrTxnOffsetCommitRequest()
	r.TransactionalID = id
	return r
}

func initProducerID(id string) *kmsg.InitProducerIDRequest {
	r := kmsg.NewPtrInitProducerIDRequest()
	r.TransactionalID = &id
	return r
}

func TestTransactionalIDsAreRead(t *testing.T) {
	for _, c := range []struct {
		request kmsg.Request
		from    int16
		key     int16
		id      string
	}{
		{produce("g/1"), 9, produceKey, "g/1"},
		{produce(""), 9, produceKey, ""},
		{endTxn("g/1"), 3, endTxnKey, "g/1"},
		{commitOffsets("g/1"), 3, txnOffsetCommitKey, "g/1"},
		{initProducerID("g/1"), 2, initProducerIDKey, "g/1"},
		{kmsg.NewPtrMetadataRequest(), 9, 3, ""},
	} {
		for version := c.from; version <= c.request.MaxVersion(); version++ {
			frame, err := readFrame(bytes.NewReader(framed(c.request, version, 42)))
			if err != nil {
				t.Fatal(err)
			}
			if got, want := parseRequest(frame), (request{c.key, 42, "a client", c.id}); got != want {
				t.Errorf("request %d, version %d: %+v, not %+v", c.key, version, got, want)
			}
		}
	}
}

// FuzzParseRequest: whatever comes is passed on, never a panic.
func FuzzParseRequest(f *testing.F) {
	f.Add(framed(produce("g/1"), 9, 1))
	f.Add(framed(endTxn("g/1"), 3, 2))
	f.Add(framed(kmsg.NewPtrMetadataRequest(), 9, 3))
	f.Add([]byte{0, 0, 0, 4, 0, 0, 0, 9})
	f.Fuzz(func(t *testing.T, data []byte) {
		frame, err := readFrame(bytes.NewReader(data))
		if err != nil {
			return
		}
		if id := parseRequest(frame).transactionalID; !bytes.Contains(data, []byte(id)) {
			t.Errorf("the transactional id %q is not in the request", id)
		}
	})
}
