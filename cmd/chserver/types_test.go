package main

import (
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/google/uuid"

	"github.com/tintype/tintype/internal/devstack"
)

// everything has a column of each kind that the project's tables use, and a few
// more.
type everything struct {
	ID       uuid.UUID           `ch:"id"`
	Text     string              `ch:"text"`
	Low      string              `ch:"low"`
	Maybe    *string             `ch:"maybe"`
	MaybeLow *string             `ch:"maybe_low"`
	Kind     string              `ch:"kind"`
	At       time.Time           `ch:"at"`
	MaybeAt  *time.Time          `ch:"maybe_at"`
	Second   time.Time           `ch:"second"`
	F32      float32             `ch:"f32"`
	F64      *float64            `ch:"f64"`
	Yes      *bool               `ch:"yes"`
	U8       uint8               `ch:"u8"`
	U16      uint16              `ch:"u16"`
	U32      uint32              `ch:"u32"`
	U64      uint64              `ch:"u64"`
	I16      *int16              `ch:"i16"`
	I32      int32               `ch:"i32"`
	I64      int64               `ch:"i64"`
	List     []string            `ch:"list"`
	LowList  []string            `ch:"low_list"`
	Deep     [][]*int64          `ch:"deep"`
	Mapping  map[string]uint32   `ch:"mapping"`
	LowMap   map[string][]string `ch:"low_map"`
}

const everythingTable = `CREATE TABLE everything (id UUID, text String, low LowCardinality(String), maybe Nullable(String),
	maybe_low LowCardinality(Nullable(String)), kind Enum8('one' = 1, 'two (,)' = 2), at DateTime64(3, 'UTC'),
	maybe_at Nullable(DateTime64(3, 'UTC')), second DateTime('UTC'), f32 Float32, f64 Nullable(Float64), yes Nullable(Bool),
	u8 UInt8, u16 UInt16, u32 UInt32, u64 UInt64, i16 Nullable(Int16), i32 Int32, i64 Int64,
	list Array(String), low_list Array(LowCardinality(String)), deep Array(Array(Nullable(Int64))), mapping Map(String, UInt32),
	low_map Map(LowCardinality(String), Array(String))) ENGINE = MergeTree ORDER BY i64`

func everythingRows() []everything {
	at := time.Date(2026, 3, 29, 1, 30, 0, 123e6, time.UTC)
	return []everything{
		{
			ID: uuid.MustParse("0198f3a0-1111-7abc-8def-0123456789ab"), Text: "é\x00\"'\\\t\n", Low: "low", Maybe: new("some"), MaybeLow: new(""), Kind: "two (,)",
			At: at, MaybeAt: &at, Second: time.Date(2026, 3, 29, 1, 30, 1, 0, time.UTC), F32: 1.5, F64: new(-2.5), Yes: new(false),
			U8: 255, U16: 1<<16 - 1, U32: 1<<32 - 1, U64: 1<<64 - 1, I16: new(int16(-330)), I32: -1 << 31, I64: -1 << 63,
			List: []string{"a", ""}, LowList: []string{"x", "y", "x"}, Deep: [][]*int64{{new(int64(1)), nil}, {}}, Mapping: map[string]uint32{"k": 1, "": 2},
			LowMap: map[string][]string{"a": {"b", "c"}, "d": {}},
		},
		{
			Kind: "one", At: time.Date(1900, 1, 1, 0, 0, 0, 0, time.UTC), Second: time.Unix(0, 0).UTC(), I64: 1,
			List: []string{}, LowList: []string{}, Deep: [][]*int64{}, Mapping: map[string]uint32{}, LowMap: map[string][]string{},
		},
	}
}

// ways are the protocols and compressions that clients use.
func ways(server *devstack.ClickHouse) map[string]func(*clickhouse.Options) {
	native := func(m clickhouse.CompressionMethod) func(*clickhouse.Options) {
		return func(o *clickhouse.Options) { o.Compression = &clickhouse.Compression{Method: m} }
	}
	return map[string]func(*clickhouse.Options){
		"native": native(clickhouse.CompressionNone), "LZ4": native(clickhouse.CompressionLZ4), "LZ4HC": native(clickhouse.CompressionLZ4HC), "ZSTD": native(clickhouse.CompressionZSTD),
		"HTTP": func(o *clickhouse.Options) { o.Protocol, o.Addr = clickhouse.HTTP, []string{server.HTTP()} },
		"HTTP, gzip": func(o *clickhouse.Options) {
			o.Protocol, o.Addr, o.Compression = clickhouse.HTTP, []string{server.HTTP()}, &clickhouse.Compression{Method: clickhouse.CompressionGZIP, Level: 3}
		},
	}
}

// What goes in comes out, over each way.
func TestTypesRoundTrip(t *testing.T) {
	server := start(t, t.TempDir(), "")
	must(t, connect(t, server, "").Exec(within(t), everythingTable))
	for name, way := range ways(server) {
		t.Run(name, func(t *testing.T) {
			conn, rows := connect(t, server, "", way), everythingRows()
			must(t, conn.Exec(within(t), "TRUNCATE TABLE everything"))
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
		})
	}
}

// Further types that a statement may answer with; the name that arrives, and the
// value as ClickHouse would print it.
func TestTypesOfAnswers(t *testing.T) {
	conn := connect(t, start(t, t.TempDir(), ""), "")
	for expression, want := range map[string]struct{ kind, value string }{
		"NULL":                                {"Nullable(Nothing)", "<nil>"},
		"toFixedString('ab', 3)":              {"FixedString(3)", "ab\x00"},
		"toDate('2026-01-02')":                {"Date", "2026-01-02 00:00:00 +0000 UTC"},
		"toDate32('1900-01-02')":              {"Date32", "1900-01-02 00:00:00 +0000 UTC"},
		"toDecimal64(1.25, 2)":                {"Decimal(18, 2)", "1.25"},
		"toDecimal256(1.25, 2)":               {"Decimal(76, 2)", "1.25"},
		"toInt256(-1)":                        {"Int256", "-1"},
		"toIPv4('127.0.0.1')":                 {"IPv4", "127.0.0.1"},
		"toIPv6('::1')":                       {"IPv6", "::1"},
		"INTERVAL 2 DAY":                      {"IntervalDay", "2 Days"},
		"(1, 'a')":                            {"Tuple(UInt8, String)", "[1 a]"},
		"[(1, ['a']), (2, [])]":               {"Array(Tuple(UInt8, Array(String)))", "[[1 [a]] [2 []]]"},
		"CAST('a', 'Enum16(\\'a\\' = 1000)')": {"Enum16('a' = 1000)", "a"},
		"CAST(map('a', (1, 2)), 'Map(LowCardinality(String), Tuple(x UInt8, y UInt8))')": {"Map(LowCardinality(String), Tuple(x UInt8, y UInt8))", "map[a:map[x:1 y:2]]"},
		"(1., 2.)::Point": {"Point", "[1 2]"},
	} {
		rows, err := conn.Query(within(t), "SELECT "+expression+" AS v FROM numbers(2)")
		must(t, err)
		count := 0
		for rows.Next() {
			count++
			value := reflect.New(rows.ColumnTypes()[0].ScanType())
			must(t, rows.Scan(value.Interface()))
			if got := fmt.Sprint(reflect.Indirect(value).Interface()); rows.ColumnTypes()[0].DatabaseTypeName() != want.kind || got != want.value {
				t.Errorf("%s: %s of type %s, want %s of %s", expression, got, rows.ColumnTypes()[0].DatabaseTypeName(), want.value, want.kind)
			}
		}
		must(t, rows.Err())
		if must(t, rows.Close()); count != 2 {
			t.Errorf("%s: %d rows, want 2", expression, count)
		}
	}
}
