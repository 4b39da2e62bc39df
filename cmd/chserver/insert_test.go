package main

import (
	"strings"
	"testing"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/tintype/tintype/cmd/chserver/internal/wire"
	"github.com/tintype/tintype/internal/devstack"
)

// A large batch is whole, in one piece, in several, and beside others.
func TestInserts(t *testing.T) {
	server := start(t, t.TempDir(), "")
	const large = 100_000
	for name, way := range ways(server) {
		t.Run(name, func(t *testing.T) {
			conn := connect(t, server, "", way)
			must(t, conn.Exec(within(t), "CREATE OR REPLACE TABLE t (n UInt64, s String DEFAULT 'd', m UInt64 MATERIALIZED n + 1, a UInt64 ALIAS n) ENGINE = MergeTree ORDER BY n"))
			batch, err := conn.PrepareBatch(within(t), "INSERT INTO t (n)")
			must(t, err)
			for i := range uint64(large) {
				must(t, batch.Append(i))
				if i%30_000 == 29_999 && !strings.HasPrefix(name, "HTTP") {
					must(t, batch.Flush())
				}
			}
			must(t, batch.Send())
			must(t, conn.Exec(within(t), "INSERT INTO t SELECT number + 1000000, 's' FROM numbers(10)"))
			must(t, conn.Exec(within(t), "INSERT INTO t (s, n) VALUES ('v;', 2000000), ('it''s', 2000001);"))
			for query, want := range map[string]uint64{
				"SELECT count() FROM t":                        large + 10 + 2,
				"SELECT sum(n) FROM t WHERE n < 1000000":       large * (large - 1) / 2,
				"SELECT countIf(s = 'd') FROM t":               large,
				"SELECT countIf(s IN ('v;', 'it\\'s')) FROM t": 2,
				"SELECT max(m) FROM t":                         2000002,
			} {
				if n := number(t, conn, query); n != want {
					t.Errorf("%s: %d, want %d", query, n, want)
				}
			}
		})
	}
}

// numbers are a block of one column of some rows.
func numbers(t *testing.T, column string, values ...byte) *wire.Block {
	t.Helper()
	data := append([]byte{1, byte(len(values))}, wire.AppendString(wire.AppendString(nil, column), "UInt8")...)
	b, err := wire.NewReader(strings.NewReader(string(append(data, values...)))).ReadBlock(0)
	must(t, err)
	return b
}

// begin begins an INSERT of raw blocks into t.
func begin(t *testing.T, r *raw) {
	t.Helper()
	r.send(queryPacket("INSERT INTO t FORMAT Native"))
	var head reply
	if ended, err := r.packet(&head); err != nil || ended || !head.header {
		t.Fatalf("the INSERT begins with %+v, %v", head, err)
	}
}

func tableOfNumbers(t *testing.T) (*devstack.ClickHouse, driver.Conn) {
	t.Helper()
	server := start(t, t.TempDir(), "")
	conn := connect(t, server, "")
	must(t, conn.Exec(within(t), "CREATE TABLE t (n UInt8, CONSTRAINT small CHECK n < 10) ENGINE = MergeTree ORDER BY n"))
	return server, conn
}

// An INSERT is whole or nothing: one that its client leaves, cancels, or spoils
// in a later block is nothing, and the server goes on.
func TestHalfAnInsert(t *testing.T) {
	server, conn := tableOfNumbers(t)
	gone := greet(t, server)
	begin(t, gone)
	gone.send(dataPacket(numbers(t, "n", 1, 2)))
	whole := dataPacket(numbers(t, "n", 3, 4))
	gone.send(whole[:len(whole)-1]) // Within a block.
	must(t, gone.conn.Close())

	r := greet(t, server)
	begin(t, r)
	r.send(append(dataPacket(numbers(t, "n", 1, 2)), 3)) // A cancel.
	if got := r.reply(); got.code != 0 {
		t.Errorf("a cancelled INSERT ended with %+v", got)
	}
	r.ping()
	for name, spoilt := range map[string]*wire.Block{"a constraint": numbers(t, "n", 3, 10), "a column": numbers(t, "nonsense", 3)} {
		begin(t, r)
		r.send(dataPacket(numbers(t, "n", 1, 2)))
		r.send(dataPacket(spoilt))
		r.send(dataPacket(numbers(t, "n", 4)))
		r.send(dataPacket(&wire.Block{}))
		if got := r.reply(); got.code == 0 || name == "a constraint" && got.code != 469 {
			t.Errorf("an INSERT against %s ended with %+v", name, got)
		}
		r.ping()
	}
	begin(t, r)
	r.send(dataPacket(&wire.Block{})) // No rows at all.
	if got := r.reply(); got.code != 0 {
		t.Errorf("an empty INSERT ended with %+v", got)
	}
	begin(t, r)
	r.send(dataPacket(numbers(t, "n", 9)))
	r.send(dataPacket(&wire.Block{}))
	if got := r.reply(); got.code != 0 {
		t.Errorf("the INSERT after them ended with %+v", got)
	}
	await(t, "the one that is gone has ended", func() bool { return running(t, conn, "INSERT INTO t") == 0 })
	if n := number(t, conn, "SELECT sum(n) * 100 + count() FROM t"); n != 901 {
		t.Errorf("sum and count are %d, want the last row alone", n)
	}
}

// A batch whose table, column or rows ClickHouse refuses says so, and the
// connection goes on.
func TestBatchErrors(t *testing.T) {
	_, conn := tableOfNumbers(t)
	for sql, want := range map[string]int32{"INSERT INTO nowhere": 60, "INSERT INTO t (m)": 16} {
		if _, err := conn.PrepareBatch(within(t), sql); code(err) != want {
			t.Errorf("%s: %v, want code %d", sql, err, want)
		}
	}
	batch, err := conn.PrepareBatch(within(t), "INSERT INTO t")
	must(t, err)
	must(t, batch.Append(uint8(1)))
	must(t, batch.Append(uint8(11)))
	if err := batch.Send(); code(err) != 469 || !strings.Contains(err.Error(), "small") {
		t.Errorf("a violated constraint: %v", err)
	}
	left, err := conn.PrepareBatch(within(t), "INSERT INTO t")
	must(t, err)
	must(t, left.Append(uint8(2)))
	must(t, left.Flush())
	must(t, left.Abort())
	if n := number(t, conn, "SELECT count() FROM t"); n != 0 {
		t.Errorf("%d refused rows were kept", n)
	}
}

// The columns of an INSERT are found whatever they are called.
func TestInsertColumns(t *testing.T) {
	conn := connect(t, start(t, t.TempDir(), ""), "")
	must(t, conn.Exec(within(t), "CREATE DATABASE `a b`"))
	must(t, conn.Exec(within(t), "CREATE TABLE `a b`.`values` (`x y` UInt8, format String, nested Nested(p UInt8, q String), m UInt8 MATERIALIZED 1, e UInt8 EPHEMERAL 5, d UInt8 DEFAULT e) ENGINE = Memory"))
	for _, sql := range []string{
		"INSERT INTO `a b`.`values`",
		"INSERT INTO `a b`.values (`x y`, format, nested.p, `nested.q`, d)",
		"INSERT INTO TABLE `a b`.`values` (\"x y\", /* a comment, */ format, nested.p, nested.q, d) SETTINGS async_insert = 0 VALUES",
	} {
		batch, err := conn.PrepareBatch(within(t), sql)
		must(t, err)
		must(t, batch.Append(uint8(1), "f", []uint8{1, 2}, []string{"a", "b"}, uint8(7)))
		must(t, batch.Send())
	}
	if n := number(t, conn, "SELECT sum(`x y` + length(nested.q) + d + m) FROM `a b`.values WHERE format = 'f' AND nested.q[2] = 'b'"); n != 33 {
		t.Errorf("the three rows add up to %d", n)
	}
}
