package main

import (
	"testing"

	"github.com/ClickHouse/clickhouse-go/v2"
)

// A parameter is its value, whatever stands in it.
func TestParameters(t *testing.T) {
	server := start(t, t.TempDir(), "")
	for name, way := range ways(server) {
		conn := connect(t, server, "", way)
		for _, text := range []string{"", "plain", "it's", `"`, `back\slash`, "tab\tline\nreturn\r", "nul\x00", "{x:UInt8}", "'; DROP TABLE t --", "é😀"} {
			var s string
			var n, list uint64
			var null *string
			err := conn.QueryRow(within(t), "SELECT {s:String}, {n:UInt64} + 1, arraySum({list:Array(UInt64)}), {null:Nullable(String)}",
				clickhouse.Named("s", text), clickhouse.Named("n", 41), clickhouse.Named("list", []uint64{1, 2}), clickhouse.Named("null", nil)).Scan(&s, &n, &list, &null)
			if err != nil || s != text || n != 42 || list != 3 || null != nil {
				t.Errorf("%s: %q came as %q, with %d, %d, %v, %v", name, text, s, n, list, null, err)
			}
		}
	}
	conn := connect(t, server, "")
	must(t, conn.Exec(within(t), "CREATE TABLE p (n UInt64) ENGINE = Memory"))
	must(t, conn.Exec(within(t), "INSERT INTO p SELECT {n:UInt64}", clickhouse.Named("n", 5)))
	if n := number(t, conn, "SELECT sum(n) FROM p"); n != 5 {
		t.Errorf("the table holds %d", n)
	}
}

// A setting is its statement's own, and what the engine says of it is told.
func TestSettings(t *testing.T) {
	conn := connect(t, start(t, t.TempDir(), ""), "", func(o *clickhouse.Options) { o.MaxOpenConns = 1 })
	memory := number(t, conn, "SELECT getSetting('max_memory_usage')")
	if memory == 0 {
		t.Error("a statement's memory is not bounded")
	}
	for _, c := range []struct {
		settings clickhouse.Settings
		sql      string
		code     int32
	}{
		{clickhouse.Settings{"max_rows_to_read": 10, "max_threads": 1}, "SELECT sum(number) FROM numbers(1000)", 158},
		{clickhouse.Settings{"max_execution_time": 0.05}, "SELECT sum(sipHash64(number)) FROM numbers(1000000000000)", 159},
		{clickhouse.Settings{"max_memory_usage": 10_000_000}, "SELECT number FROM numbers(20000000) ORDER BY sipHash64(number) LIMIT 15000000", 241},
		{clickhouse.Settings{"nonsense": 1}, "SELECT 1", 115},
		{clickhouse.Settings{"max_threads": 1, "max_rows_to_read": "many"}, "SELECT 1", 27},
		{clickhouse.Settings{"readonly": 1}, "CREATE TABLE t (n UInt8) ENGINE = Memory", 164},
	} {
		// With a deadline clickhouse-go would make max_execution_time its own.
		if err := conn.Exec(clickhouse.Context(t.Context(), clickhouse.WithSettings(c.settings)), c.sql); code(err) != c.code {
			t.Errorf("%v: %v, want code %d", c.settings, err, c.code)
		}
		if n := number(t, conn, "SELECT sum(number) + getSetting('max_rows_to_read') FROM numbers(1000)"); n != 499500 {
			t.Errorf("after %v the next statement gave %d", c.settings, n)
		}
		if n := number(t, conn, "SELECT getSetting('max_memory_usage')"); n != memory {
			t.Errorf("after %v max_memory_usage is %d, was %d", c.settings, n, memory)
		}
	}
}

// A repeated deduplication token drops the INSERT, another one does not.
func TestDeduplicationToken(t *testing.T) {
	server := start(t, t.TempDir(), "")
	must(t, connect(t, server, "").Exec(within(t), "CREATE TABLE d (n UInt64) ENGINE = MergeTree ORDER BY n SETTINGS non_replicated_deduplication_window = 100"))
	want := uint64(0)
	for name, way := range ways(server) {
		conn := connect(t, server, "", way)
		for _, token := range []string{name + " 1", name + " 1", name + " 2"} {
			ctx := clickhouse.Context(within(t), clickhouse.WithSettings(clickhouse.Settings{"async_insert": 0, "insert_deduplication_token": token}))
			batch, err := conn.PrepareBatch(ctx, "INSERT INTO d")
			must(t, err)
			must(t, batch.Append(uint64(1)))
			must(t, batch.Send())
		}
		want += 2
		if n := number(t, conn, "SELECT count() FROM d"); n != want {
			t.Errorf("%s: two tokens, one of them repeated, make %d rows, want %d", name, n, want)
		}
	}
}
