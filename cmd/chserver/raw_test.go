package main

import (
	"encoding/binary"
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/tintype/tintype/cmd/chserver/internal/wire"
	"github.com/tintype/tintype/internal/devstack"
)

// rawRevision is the protocol's that a raw client speaks.
const rawRevision = 54460

// raw is a client that can do what clickhouse-go does not: send in pieces, too
// early, or nonsense.
type raw struct {
	t    *testing.T
	conn net.Conn
	in   *wire.Reader
}

// dial connects and says nothing.
func dial(t *testing.T, address string) *raw {
	t.Helper()
	conn, err := (&net.Dialer{Timeout: patience}).DialContext(t.Context(), "tcp", address)
	must(t, err)
	must(t, conn.SetDeadline(time.Now().Add(patience)))
	t.Cleanup(func() { _ = conn.Close() }) // A test may have closed it.
	return &raw{t: t, conn: conn, in: wire.NewReader(conn)}
}

func hello(database, password string) []byte {
	out := append(wire.AppendString([]byte{0}, "raw"), 1, 1)
	out = binary.AppendUvarint(out, rawRevision)
	for _, s := range []string{database, "default", password} {
		out = wire.AppendString(out, s)
	}
	return out
}

// greet connects and logs in.
func greet(t *testing.T, server *devstack.ClickHouse) *raw {
	t.Helper()
	r := dial(t, server.Native())
	r.send(hello("default", ""))
	if packet := r.in.Uvarint(); packet != 0 {
		t.Fatalf("the server greets with packet %d, %v", packet, r.in.Err())
	}
	_, _, _, revision := r.in.String(), r.in.Uvarint(), r.in.Uvarint(), r.in.Uvarint()
	zone, _, _ := r.in.String(), r.in.String(), r.in.Uvarint()
	if revision != rawRevision || zone != "UTC" || r.in.Err() != nil {
		t.Fatalf("the server speaks revision %d, is in zone %q, %v", revision, zone, r.in.Err())
	}
	r.send([]byte{0}) // The quota key.
	return r
}

func (r *raw) send(data []byte) {
	r.t.Helper()
	_, err := r.conn.Write(data)
	must(r.t, err)
}

// queryPacket is a statement and the empty block behind it.
func queryPacket(sql string) []byte {
	out := []byte{1, 0, 0, 0, 0, 2, 0} // No id, client, settings or secret; to the end; not compressed.
	out = append(wire.AppendString(out, sql), 0)
	return append(out, dataPacket(&wire.Block{})...)
}

func dataPacket(b *wire.Block) []byte { return b.Append([]byte{2, 0}, rawRevision) }

// reply is what came for one statement, up to its end or its exception.
type reply struct {
	columns []wire.Column
	rows    uint64
	code    int32
	message string
	// header says that the columns came in a block of their own, before rows.
	header bool
}

// reply reads packets until the statement has ended.
func (r *raw) reply() reply {
	r.t.Helper()
	var got reply
	for {
		ended, err := r.packet(&got)
		if err != nil {
			r.t.Fatalf("after %+v: %v", got, err)
		}
		if ended {
			return got
		}
	}
}

// packet reads one packet; ended says that none will follow.
func (r *raw) packet(got *reply) (ended bool, err error) {
	switch packet := r.in.Uvarint(); {
	case r.in.Err() != nil:
		return false, r.in.Err()
	case packet == 1:
		_ = r.in.String()
		block, err := r.in.ReadBlock(rawRevision)
		if err != nil {
			return false, err
		}
		got.header = got.header || got.columns == nil && block.Rows == 0
		got.columns, got.rows = block.Columns, got.rows+block.Rows
	case packet == 2:
		var number [4]byte
		for i := range number {
			number[i] = r.in.Byte()
		}
		got.code = int32(binary.LittleEndian.Uint32(number[:]))
		_, got.message, _, _ = r.in.String(), r.in.String(), r.in.String(), r.in.Byte()
		return true, r.in.Err()
	case packet == 3:
		for range 6 {
			r.in.Uvarint()
		}
	case packet == 5:
		return true, r.in.Err()
	default:
		return false, fmt.Errorf("packet %d", packet)
	}
	return false, r.in.Err()
}

// ping waits for the answer to a ping.
func (r *raw) ping() {
	r.t.Helper()
	r.send([]byte{4})
	if packet := r.in.Uvarint(); packet != 4 || r.in.Err() != nil {
		r.t.Fatalf("a ping was answered by packet %d, %v", packet, r.in.Err())
	}
}
