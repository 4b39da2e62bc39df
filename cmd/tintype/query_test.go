package main

import (
	"encoding/csv"
	"encoding/json"
	"strings"
	"testing"

	"github.com/tintype/tintype/internal/devstack/devtest"
	"github.com/tintype/tintype/load"
)

// Every kind of value, in each format: what a program reads back is what was
// stored.
func TestSQLValues(t *testing.T) {
	t.Parallel()
	address := devtest.ClickHouse(t).URL()
	for _, c := range []struct{ expression, table, json, csv string }{
		{"NULL", "NULL", `null`, `\N`},
		{"toNullable(7)", "7", `7`, `7`},
		{"toUInt64(18446744073709551615)", "18446744073709551615", `18446744073709551615`, `18446744073709551615`},
		{"toInt128('-170141183460469231731687303715884105728')", "-170141183460469231731687303715884105728", `"-170141183460469231731687303715884105728"`, `-170141183460469231731687303715884105728`},
		{"toNullable(toUInt256(5))", "5", `"5"`, `5`},
		{"toDecimal64('12.3400', 4)", "12.34", `"12.34"`, `12.34`},
		{"toFloat32(0.1)", "0.1", `0.1`, `0.1`},
		{"1000000.", "1000000", `1000000`, `1000000`},
		{"nan", "NaN", `"NaN"`, `NaN`},
		{"[-inf]", `["-Inf"]`, `["-Inf"]`, `["-Inf"]`},
		{"true", "true", `true`, `true`},
		{"toDate('2024-02-29')", "2024-02-29", `"2024-02-29"`, `2024-02-29`},
		{"toNullable(toDate32('1900-01-01'))", "1900-01-01", `"1900-01-01"`, `1900-01-01`},
		{"toDateTime('2024-02-29 12:00:00', 'UTC')", "2024-02-29T12:00:00Z", `"2024-02-29T12:00:00Z"`, `2024-02-29T12:00:00Z`},
		{"toDateTime64('2024-02-29 12:34:56.789', 3, 'Europe/Berlin')", "2024-02-29T11:34:56.789Z", `"2024-02-29T11:34:56.789Z"`, `2024-02-29T11:34:56.789Z`},
		{"toUUID('0191f0c4-5b6a-7000-8000-000000000001')", "0191f0c4-5b6a-7000-8000-000000000001", `"0191f0c4-5b6a-7000-8000-000000000001"`, `0191f0c4-5b6a-7000-8000-000000000001`},
		{"toIPv6('::1')", "::1", `"::1"`, `::1`},
		{"[1, NULL, 3]", "[1,null,3]", `[1,null,3]`, `[1,null,3]`},
		{"[toDate('2024-02-29')]", `["2024-02-29"]`, `["2024-02-29"]`, `["2024-02-29"]`},
		{"[[toUUID('0191f0c4-5b6a-7000-8000-000000000001')], []]", `[["0191f0c4-5b6a-7000-8000-000000000001"],[]]`, `[["0191f0c4-5b6a-7000-8000-000000000001"],[]]`, `[["0191f0c4-5b6a-7000-8000-000000000001"],[]]`},
		{"[toInt256(-1)]", `["-1"]`, `["-1"]`, `["-1"]`},
		{"map('b', NULL, 'a', 1)", `{"a":1,"b":null}`, `{"a":1,"b":null}`, `{"a":1,"b":null}`},
		{"tuple(1, 'b')", `[1,"b"]`, `[1,"b"]`, `[1,"b"]`},
		{"CAST('low' AS Enum8('low' = 1))", "low", `"low"`, `low`},
		{"toLowCardinality('x')", "x", `"x"`, `x`},
		{"'tab\\there, <\"line\\n>'", `tab\there, <"line\n>`, `"tab\there, <\"line\n>"`, "tab\there, <\"line\n>"},
		{"''", "", `""`, ``},
	} {
		query := "SELECT " + c.expression + " AS value, 'end' AS last"
		if got := want(t, exitOK, "sql", "--clickhouse", address, query).stdout; got != column("value", c.table) {
			t.Errorf("%s in a table:\n%s", c.expression, got)
		}
		if got := want(t, exitOK, "sql", "--clickhouse", address, "-o", "json", query).stdout; got != `{"value":`+c.json+`,"last":"end"}`+"\n" || !json.Valid([]byte(got)) {
			t.Errorf("%s in JSON: %s", c.expression, got)
		}
		got := want(t, exitOK, "sql", "--clickhouse", address, "-o", "csv", query).stdout
		records, err := csv.NewReader(strings.NewReader(got)).ReadAll()
		if err != nil || len(records) != 2 || records[1][0] != c.csv || records[1][1] != "end" {
			t.Errorf("%s in CSV: %q, %v", c.expression, records, err)
		}
	}
}

// column is a table of one row: the value, and the end.
func column(name, value string) string {
	width := max(len(name), len(value)) + 2
	pad := func(s string) string { return s + strings.Repeat(" ", width-len(s)) }
	return pad(name) + "last\n" + pad(value) + "end\n"
}

func TestSQL(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	sql := func(code int, format, query string) result {
		t.Helper()
		return want(t, code, "sql", "--clickhouse", p.clickhouse, "-o", format, "--", query)
	}
	// No rows have columns all the same.
	for format, empty := range map[string]string{"table": "a  b\n", "csv": "a,b\n", "json": ""} {
		if got := sql(exitOK, format, "SELECT 1 AS a, 'x' AS b WHERE 0").stdout; got != empty {
			t.Errorf("no rows as %s are %q, want %q", format, got, empty)
		}
	}
	// Statements without rows say nothing and are done once.
	for _, statement := range []string{
		"CREATE TABLE t (a UInt8) ENGINE = MergeTree ORDER BY a", "INSERT INTO t VALUES (1)", "-- why\n/* and\nhow */ insert into t select 2",
		"ALTER TABLE t ADD COLUMN b String", "OPTIMIZE TABLE t",
	} {
		if r := sql(exitOK, "table", statement); r.stdout+r.stderr != "" {
			t.Errorf("%s says %q", statement, r.stdout+r.stderr)
		}
	}
	if got := sql(exitOK, "csv", "SELECT a FROM t ORDER BY a").stdout; got != "a\n1\n2\n" {
		t.Errorf("the table holds %q", got)
	}
	for statement, first := range map[string]string{
		"SHOW TABLES": `{"name":"t"}`, "EXISTS TABLE t": `{"result":1}`, "-- why\nSELECT 1 AS x;": `{"x":1}`, "WITH 2 AS x SELECT x": `{"x":2}`,
	} {
		if got := sql(exitOK, "json", statement).stdout; got != first+"\n" {
			t.Errorf("%s gives %q", statement, got)
		}
	}
	if r := tintype(t, "SELECT\n 1 AS x", "sql", "--clickhouse", p.clickhouse, "-o", "json", "-"); r.code != exitOK || r.stdout != "{\"x\":1}\n" {
		t.Errorf("a statement on stdin: exit code %d, %s%s", r.code, r.stdout, r.stderr)
	}
	// The server's own words, and once.
	for statement, words := range map[string]string{
		"SELEC 1":                                     "Syntax error",
		"SELECT nothing FROM t":                       "UNKNOWN_IDENTIFIER",
		"DROP TABLE nothing":                          "UNKNOWN_TABLE",
		"INSERT INTO t (a) VALUES ('x')":              "CANNOT_PARSE_TEXT",
		"SELECT throwIf(number = 3) FROM numbers(10)": "FUNCTION_THROW_IF_VALUE_IS_NON_ZERO",
	} {
		for _, format := range []string{"table", "json"} {
			if r := sql(exitFailed, format, statement); strings.Count(r.stderr, "tintype:") != 1 || !strings.Contains(r.stderr, words) {
				t.Errorf("%s fails with %q, want %s", statement, r.stderr, words)
			}
		}
	}
}

// Every report runs on an empty deployment, in each format.
func TestReports(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	if r := want(t, exitFailed, "report", "freshness", "--clickhouse", p.clickhouse); !strings.Contains(r.stderr, "UNKNOWN_TABLE") {
		t.Errorf("without tables: %s", r.stderr)
	}
	p.open(t, 1)
	list := want(t, exitOK, "report").stdout
	for _, report := range load.Reports() {
		if !strings.Contains(list, report.Name) || !strings.Contains(list, report.Title) {
			t.Errorf("%s is not listed:\n%s", report.Name, list)
		}
		table := want(t, exitOK, "report", report.Name, "--clickhouse", p.clickhouse).stdout
		header, _, _ := strings.Cut(want(t, exitOK, "report", report.Name, "--clickhouse", p.clickhouse, "-o", "csv").stdout, "\n")
		if header == "" || !strings.HasPrefix(strings.Join(strings.Fields(table), ","), header) {
			t.Errorf("%s has the columns %q in CSV and the table\n%s", report.Name, header, table)
		}
		for line := range strings.Lines(want(t, exitOK, "report", report.Name, "--clickhouse", p.clickhouse, "-o", "json").stdout) {
			if !json.Valid([]byte(line)) {
				t.Errorf("%s gives the line %q", report.Name, line)
			}
		}
	}
}
