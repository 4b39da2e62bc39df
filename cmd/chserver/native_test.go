package main

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/google/uuid"
)

func TestPassword(t *testing.T) {
	server := start(t, t.TempDir(), "secret")
	if n := number(t, connect(t, server, "secret"), "SELECT 42"); n != 42 {
		t.Errorf("got %d", n)
	}
	for _, wrong := range []string{"", "Secret", "secret "} {
		err := connect(t, server, wrong).Ping(within(t))
		if code(err) != 516 || !strings.Contains(err.Error(), "Authentication failed") {
			t.Errorf("password %q: %v", wrong, err)
		}
	}
	other := connect(t, server, "secret", func(o *clickhouse.Options) { o.Auth.Username = "somebody" })
	if err := other.Ping(within(t)); code(err) != 516 {
		t.Errorf("an unknown user: %v", err)
	}
}

// What is wrong with a statement is told by ClickHouse's own codes, and the
// connection goes on.
func TestServerSideErrors(t *testing.T) {
	conn := connect(t, start(t, t.TempDir(), ""), "", func(o *clickhouse.Options) { o.MaxOpenConns = 1 })
	must(t, conn.Exec(within(t), "CREATE TABLE kept (n UInt8, CONSTRAINT small CHECK n < 10) ENGINE = MergeTree ORDER BY n"))
	for statement, want := range map[string]int32{
		"SELEC 1":                        62,  // SYNTAX_ERROR
		"SELECT * FROM nowhere":          60,  // UNKNOWN_TABLE
		"SELECT m FROM kept":             47,  // UNKNOWN_IDENTIFIER
		"SELECT nonsense(1)":             46,  // UNKNOWN_FUNCTION
		"SELECT toUInt8('x')":            6,   // CANNOT_PARSE_TEXT
		"SELECT intDiv(1, 0)":            153, // ILLEGAL_DIVISION
		"INSERT INTO kept VALUES (10)":   469, // VIOLATED_CONSTRAINT
		"INSERT INTO nowhere VALUES (1)": 60,
		"SELECT throwIf(number = 3, 'stop it') FROM numbers(10)": 395, // FUNCTION_THROW_IF_VALUE_IS_NON_ZERO
		"DROP DATABASE default":                                  392,
	} {
		if err := conn.Exec(within(t), statement); code(err) != want {
			t.Errorf("%s: %v, want code %d", statement, err, want)
		}
		if n := number(t, conn, "SELECT 7"); n != 7 {
			t.Fatalf("after %s: %d", statement, n)
		}
	}
	if n := number(t, conn, "SELECT count() FROM kept"); n != 0 {
		t.Errorf("%d refused rows were kept", n)
	}
}

// An error behind the first rows is not taken for the end.
func TestErrorInMidStream(t *testing.T) {
	conn := connect(t, start(t, t.TempDir(), ""), "")
	rows, err := conn.Query(within(t), "SELECT throwIf(number = 3000000, 'too far') FROM numbers(10000000) SETTINGS max_block_size = 1000")
	must(t, err)
	read := 0
	for rows.Next() {
		read++
	}
	if err := errors.Join(rows.Err(), rows.Close()); code(err) != 395 || !strings.Contains(err.Error(), "too far") {
		t.Errorf("after %d rows: %v", read, err)
	}
	if n := number(t, conn, "SELECT 7"); n != 7 {
		t.Errorf("the next statement gave %d", n)
	}
}

// A million rows come whole and in order, on several connections at once, with
// each compression.
func TestScanOfAMillionRows(t *testing.T) {
	server := start(t, t.TempDir(), "")
	const n = 1_000_000
	var scans sync.WaitGroup
	for _, method := range []clickhouse.CompressionMethod{clickhouse.CompressionNone, clickhouse.CompressionLZ4, clickhouse.CompressionZSTD} {
		conn := connect(t, server, "", func(o *clickhouse.Options) { o.Compression = &clickhouse.Compression{Method: method} })
		scans.Go(func() {
			rows, err := conn.Query(within(t), fmt.Sprintf("SELECT number, toString(number) FROM numbers(%d)", n))
			if err != nil {
				t.Error(err)
				return
			}
			var want uint64
			for rows.Next() {
				var i uint64
				var text string
				if err := rows.Scan(&i, &text); err != nil || i != want || text != fmt.Sprint(want) {
					t.Errorf("compression %d, row %d: %d, %q, %v", method, want, i, text, err)
					break
				}
				want++
			}
			if err := errors.Join(rows.Err(), rows.Close()); err != nil || want != n {
				t.Errorf("compression %d: %d rows, %v", method, want, err)
			}
		})
	}
	scans.Wait()
}

// everything has a column of each kind that the project's tables use, and a few
// more.
type everything struct {
	ID       uuid.UUID         `ch:"id"`
	Text     string            `ch:"text"`
	Low      string            `ch:"low"`
	Maybe    *string           `ch:"maybe"`
	Kind     string            `ch:"kind"`
	At       time.Time         `ch:"at"`
	MaybeAt  *time.Time        `ch:"maybe_at"`
	F32      float32           `ch:"f32"`
	F64      *float64          `ch:"f64"`
	Yes      *bool             `ch:"yes"`
	U8       uint8             `ch:"u8"`
	U64      uint64            `ch:"u64"`
	I16      *int16            `ch:"i16"`
	I64      int64             `ch:"i64"`
	List     []string          `ch:"list"`
	Mapping  map[string]uint32 `ch:"mapping"`
	MaybeLow *string           `ch:"maybe_low"`
}

const everythingTable = `CREATE TABLE everything (id UUID, text String, low LowCardinality(String), maybe Nullable(String),
	kind Enum8('one' = 1, 'two' = 2), at DateTime64(3, 'UTC'), maybe_at Nullable(DateTime64(3, 'UTC')), f32 Float32, f64 Nullable(Float64),
	yes Nullable(Bool), u8 UInt8, u64 UInt64, i16 Nullable(Int16), i64 Int64, list Array(String), mapping Map(String, UInt32),
	maybe_low LowCardinality(Nullable(String))) ENGINE = MergeTree ORDER BY i64`

func TestTypesRoundTrip(t *testing.T) {
	conn := connect(t, start(t, t.TempDir(), ""), "")
	must(t, conn.Exec(within(t), everythingTable))
	at := time.Date(2026, 3, 29, 1, 30, 0, 123e6, time.UTC)
	rows := []everything{
		{
			ID: uuid.New(), Text: "é\x00\"'\\", Low: "low", Maybe: new("some"), Kind: "two", At: at, MaybeAt: &at, F32: 1.5, F64: new(-2.5),
			Yes: new(false), U8: 255, U64: 1<<64 - 1, I16: new(int16(-330)), I64: -1 << 63, List: []string{"a", ""}, Mapping: map[string]uint32{"k": 1}, MaybeLow: new(""),
		},
		{ID: uuid.New(), Kind: "one", At: time.Date(1900, 1, 1, 0, 0, 0, 0, time.UTC), I64: 1, List: []string{}, Mapping: map[string]uint32{}},
	}
	batch, err := conn.PrepareBatch(within(t), "INSERT INTO everything")
	must(t, err)
	for i := range rows {
		must(t, batch.AppendStruct(&rows[i]))
	}
	must(t, batch.Send())
	var got []everything
	must(t, conn.Select(within(t), &got, "SELECT * FROM everything ORDER BY i64"))
	if !reflect.DeepEqual(got, rows) {
		t.Errorf("got\n%+v\nwant\n%+v", got, rows)
	}
}

// An INSERT is whole or nothing: one that its client leaves half way is nothing.
func TestInserts(t *testing.T) {
	conn := connect(t, start(t, t.TempDir(), ""), "")
	must(t, conn.Exec(within(t), "CREATE TABLE t (n UInt64, s String DEFAULT 'd') ENGINE = MergeTree ORDER BY n"))
	insert := func(ctx context.Context, first, count uint64) (driver.Batch, error) {
		batch, err := conn.PrepareBatch(ctx, "INSERT INTO t (n)")
		for i := range count {
			if err == nil {
				err = batch.Append(first + i)
			}
		}
		return batch, err
	}
	const large = 100_000
	batch, err := insert(within(t), 0, large)
	must(t, err)
	must(t, batch.Send())
	ctx, cancel := context.WithCancel(within(t))
	left, err := insert(ctx, large, 1000)
	must(t, err)
	must(t, left.Flush()) // The rows are with the server, and the INSERT is open.
	cancel()
	_ = left.Abort() // It tells of the cancel.
	must(t, conn.Exec(within(t), "INSERT INTO t SELECT number + 1000000, 's' FROM numbers(10)"))
	must(t, conn.Exec(within(t), "INSERT INTO t VALUES (2000000, 'v'), (2000001, 'w')"))
	for query, want := range map[string]uint64{
		"SELECT count() FROM t":                  large + 10 + 2,
		"SELECT sum(n) FROM t WHERE n < 1000000": large * (large - 1) / 2,
		"SELECT countIf(s = 'd') FROM t":         large,
		"SELECT countIf(s IN ('v', 'w')) FROM t": 2,
		"SELECT toUInt64(max(n)) FROM t":         2000001,
	} {
		if n := number(t, conn, query); n != want {
			t.Errorf("%s: %d, want %d", query, n, want)
		}
	}
}

// Parameters and settings reach the engine, and a setting is the statement's own.
func TestParametersAndSettings(t *testing.T) {
	conn := connect(t, start(t, t.TempDir(), ""), "", func(o *clickhouse.Options) { o.MaxOpenConns = 1 })
	ctx := clickhouse.Context(within(t), clickhouse.WithParameters(clickhouse.Parameters{"n": "41", "s": "it's"}))
	var n uint64
	var s string
	must(t, conn.QueryRow(ctx, "SELECT {n:UInt64} + 1, {s:String}").Scan(&n, &s))
	if n != 42 || s != "it's" {
		t.Errorf("got %d, %q", n, s)
	}
	limited := clickhouse.Context(within(t), clickhouse.WithSettings(clickhouse.Settings{"max_rows_to_read": 10, "max_execution_time": 7}))
	if err := conn.Exec(limited, "SELECT sum(number) FROM numbers(1000)"); code(err) != 158 {
		t.Errorf("beyond max_rows_to_read: %v", err)
	}
	if n := number(t, conn, "SELECT sum(number) FROM numbers(1000)"); n != 499500 {
		t.Errorf("the next statement gave %d", n)
	}
	must(t, conn.Exec(within(t), "CREATE TABLE d (n UInt64) ENGINE = MergeTree ORDER BY n SETTINGS non_replicated_deduplication_window = 100"))
	for range 2 {
		once := clickhouse.Context(within(t), clickhouse.WithSettings(clickhouse.Settings{"async_insert": 0, "insert_deduplication_token": "same"}))
		batch, err := conn.PrepareBatch(once, "INSERT INTO d")
		must(t, err)
		must(t, batch.Append(uint64(1)))
		must(t, batch.Send())
	}
	if n := number(t, conn, "SELECT count() FROM d"); n != 1 {
		t.Errorf("a repeated deduplication token left %d rows, want 1", n)
	}
}
