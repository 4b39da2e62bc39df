package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/tintype/tintype/cmd/chserver/internal/wire"
)

// What is no protocol ends that client's connection, and nobody else's.
func TestNonsense(t *testing.T) {
	server := start(t, t.TempDir(), "")
	bystander := connect(t, server, "")
	pid := server.PID()
	for name, nonsense := range map[string][]byte{
		"HTTP":                   []byte("GET / HTTP/1.1\r\n\r\n"),
		"another packet":         {9},
		"no varint":              bytes.Repeat([]byte{0xff}, 20),
		"a name of an exabyte":   binary.AppendUvarint([]byte{0}, 1<<60),
		"half a hello, and gone": {0, 3, 'r'},
	} {
		r := dial(t, server.Native())
		r.send(nonsense)
		if closer, ok := r.conn.(interface{ CloseWrite() error }); ok {
			must(t, closer.CloseWrite())
		}
		if said, err := io.ReadAll(r.conn); len(said) > 0 && said[0] != 2 {
			t.Errorf("%s was answered by %q, %v", name, said, err)
		}
	}
	for name, nonsense := range map[string][]byte{
		"another packet":           {77},
		"rows without end":         append(queryPacket("INSERT INTO FUNCTION null('s String') FORMAT Native"), hugeBlock("String")...),
		"a type within a thousand": append(queryPacket("INSERT INTO FUNCTION null('s String') FORMAT Native"), hugeBlock(strings.Repeat("Array(", 1000))...),
	} {
		r := greet(t, server)
		r.send(nonsense)
		if closer, ok := r.conn.(interface{ CloseWrite() error }); ok {
			must(t, closer.CloseWrite())
		}
		if _, err := io.Copy(io.Discard, r.conn); err != nil && !strings.Contains(err.Error(), "reset") {
			t.Errorf("%s: %v, want the end of the connection", name, err)
		}
	}
	if n := number(t, bystander, "SELECT 7"); n != 7 || server.PID() != pid {
		t.Errorf("a bystander got %d from process %d, which was %d", n, server.PID(), pid)
	}
}

// hugeBlock claims more rows than anybody has.
func hugeBlock(kind string) []byte {
	out := []byte{2, 0, 1, 0, 2, 0xff, 0xff, 0xff, 0xff, 0, 1}
	out = binary.AppendUvarint(out, 90_000_000)
	out = wire.AppendString(wire.AppendString(out, "s"), kind)
	return append(out, 0)
}

// A type that a block cannot have is told before the connection ends.
func TestUnsupportedBlock(t *testing.T) {
	r := greet(t, start(t, t.TempDir(), ""))
	r.send(queryPacket("INSERT INTO FUNCTION null('s String') FORMAT Native"))
	var head reply
	if _, err := r.packet(&head); err != nil || !head.header || len(head.columns) != 1 {
		t.Fatalf("the INSERT begins with %+v, %v", head, err)
	}
	r.send(hugeBlock("Variant(String)"))
	if got := r.reply(); got.code == 0 || !strings.Contains(got.message, "Variant(String)") {
		t.Errorf("got %+v", got)
	}
	if _, err := r.packet(&reply{}); !errors.Is(err, io.EOF) {
		t.Errorf("then %v, want the end of the connection", err)
	}
}

// The columns come before the rows, and without any rows too.
func TestHeaderBlock(t *testing.T) {
	r := greet(t, start(t, t.TempDir(), ""))
	a := []wire.Column{{Name: "a", Type: "UInt8"}}
	formatted := []wire.Column{{Name: "a", Type: "UInt8"}, {Name: "format", Type: "String"}}
	tokyo := []wire.Column{{Name: "at", Type: "DateTime('Asia/Tokyo')"}}
	for _, c := range []struct {
		sql     string
		rows    uint64
		columns []wire.Column
	}{
		{"SELECT 1 AS a, 'x' AS format FROM numbers(3) ORDER BY format DESC", 3, formatted},
		{"SELECT 1 AS a WHERE 0", 0, a},
		{"SELECT 1 AS a FORMAT JSON SETTINGS max_threads = 1", 1, a},
		{"(SELECT 1 AS a) UNION ALL (SELECT 2)", 2, a},
		{"EXISTS TABLE nowhere", 1, []wire.Column{{Name: "result", Type: "UInt8"}}},
		{"SELECT toDateTime(0, 'Asia/Tokyo') AS at", 1, tokyo},
		{"SELECT toDateTime(0, 'Asia/Tokyo') AS at WHERE 0", 0, tokyo},
		{"SELECT toDateTime64(0, 3, 'UTC') AS at", 1, []wire.Column{{Name: "at", Type: "DateTime64(3, 'UTC')"}}},
		{"CREATE TABLE h (a UInt8) ENGINE = Memory", 0, nil},
		{"ALTER TABLE h ADD COLUMN format String", 0, nil},
		{"WITH x AS (SELECT 5 AS a) INSERT INTO h (a) SELECT a FROM x", 0, nil},
		{"INSERT INTO h (a) (SELECT 6)", 0, nil},
		{"INSERT INTO h (format) VALUES ('it''s; done');", 0, nil},
		{"SELECT a, format FROM h", 3, formatted},
	} {
		r.send(queryPacket(c.sql))
		wantReply(t, c.sql, r.reply(), c.rows, c.columns)
	}
	r.ping()
}

func wantReply(t *testing.T, sql string, got reply, rows uint64, columns []wire.Column) {
	t.Helper()
	if got.code != 0 || got.rows != rows || len(got.columns) != len(columns) || got.header != (columns != nil) {
		t.Errorf("%s: %+v, want %d rows of %v behind a header", sql, got, rows, columns)
		return
	}
	for i := range columns {
		if got.columns[i] != columns[i] {
			t.Errorf("%s: column %v, want %v", sql, got.columns[i], columns[i])
		}
	}
}
