package chaos

import (
	"bytes"
	"net"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// patience bounds every wait of these tests.
const patience = 20 * time.Second

// wired is a proxy between the two ends of a test.
type wired struct {
	t              *testing.T
	client, server net.Conn
	txns           *transactions
	stalls         *stalls
}

func wire(t *testing.T) wired {
	client, clientSide := net.Pipe()
	serverSide, server := net.Pipe()
	p := &kafkaProxy{txns: newTransactions(), stalls: newStalls()}
	ended := make(chan struct{})
	go func() { p.serve(t.Context(), clientSide, serverSide); close(ended) }()
	for _, c := range []net.Conn{client, server} {
		if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		_, _ = client.Close(), server.Close()
		<-ended
	})
	return wired{t, client, server, p.txns, p.stalls}
}

// passes sends a request and expects it at the other end.
func (w wired) passes(r kmsg.Request, correlation int32) {
	w.t.Helper()
	version := int16(3)
	if r.Key() == produceKey {
		version = 9
	}
	frame := framed(r, version, correlation)
	go func() { _, _ = w.client.Write(frame) }() // Its end is read below.
	got, err := readFrame(w.server)
	if err != nil || !bytes.Equal(got, frame) {
		w.t.Fatalf("the server got %x (%v), not %x", got, err, frame)
	}
}

// answered sends a response and expects it at the other end.
func (w wired) answered(correlation int32) {
	w.t.Helper()
	frame := []byte{0, 0, 0, 6, 0, 0, 0, byte(correlation), 0, 0}
	go func() { _, _ = w.server.Write(frame) }() // As above.
	got, err := readFrame(w.client)
	if err != nil || !bytes.Equal(got, frame) {
		w.t.Fatalf("the client got %x (%v), not %x", got, err, frame)
	}
}

func TestOpenTransactionsAreSeen(t *testing.T) {
	w := wire(t)
	open := func(when string, want bool) {
		t.Helper()
		if got := w.txns.of("one"); got != want || w.txns.any() != want {
			t.Fatalf("%s: open is %v, not %v", when, got, want)
		}
		if w.txns.of("two") {
			t.Fatalf("%s: the other instance has one open", when)
		}
	}
	open("at first", false)
	w.passes(produce(""), 1)
	open("after a record outside", false)
	w.passes(produce("g/one"), 2)
	open("after a record", true)
	w.answered(2)
	open("after its answer", true)
	w.passes(endTxn("g/one"), 3)
	open("before the answer to its end", true)
	w.answered(3)
	open("after its end", false)
	w.passes(commitOffsets("g/one"), 4)
	open("after offsets", true)
	w.passes(initProducerID("g/one"), 5)
	w.answered(5)
	open("after a new beginning", false)
	w.passes(produce("g/one"), 6)
	w.txns.died("one")
	open("after its death", false)
}

func TestCommitIsHeldAndDropped(t *testing.T) {
	for _, pass := range []bool{true, false} {
		w := wire(t)
		calls := 0
		w.txns.arm("one", func() bool { calls++; return pass })
		w.passes(endTxn("g/one"), 1) // Nothing is open.
		w.passes(produce("g/two"), 2)
		w.passes(endTxn("g/two"), 3) // Another instance's.
		w.passes(produce("g/one"), 4)
		if calls != 0 {
			t.Fatal("called before the commit")
		}
		if pass {
			w.passes(endTxn("g/one"), 5)
		} else {
			go func() { _, _ = w.client.Write(framed(endTxn("g/one"), 3, 5)) }() // It is dropped.
			if frame, err := readFrame(w.server); err == nil {
				t.Fatalf("the server got %x", frame)
			}
		}
		if calls != 1 {
			t.Fatalf("called %d times", calls)
		}
		if w.txns.disarm("one") {
			t.Error("it is still armed")
		}
	}
}

func TestDisarm(t *testing.T) {
	txns := newTransactions()
	txns.arm("one", func() bool { return false })
	if !txns.disarm("one") {
		t.Error("it was not armed")
	}
	txns.passes(request{key: produceKey, transactionalID: "g/one"})
	if !txns.passes(request{key: endTxnKey, transactionalID: "g/one"}) {
		t.Error("a commit was dropped that nobody asked for")
	}
}

// Where the delivery has no transactions, a commit is that of offsets alone; where
// it has, that is none to strike at.
func TestCommitWithoutTransaction(t *testing.T) {
	frame, err := readFrame(bytes.NewReader(framed(kmsg.NewPtrOffsetCommitRequest(), 8, 1)))
	if err != nil {
		t.Fatal(err)
	}
	commit := parseRequest(frame)
	if commit.key != offsetCommitKey || commit.clientID != "a client" {
		t.Fatalf("read %+v", commit)
	}
	commit.clientID = clientPrefix + "one"
	for _, none := range []bool{false, true} {
		txns := newTransactions()
		txns.none = none
		txns.arm("one", func() bool { return false })
		if txns.passes(commit) == none || txns.disarm("one") == none {
			t.Errorf("without transactions %v: struck at the wrong commit", none)
		}
		if !txns.passes(commit) {
			t.Error("a commit was dropped that nobody asked for")
		}
	}
}
