package statement

import (
	"slices"
	"testing"
)

func TestParse(t *testing.T) {
	for sql, want := range map[string]Statement{
		"SELECT 1":            {Verb: "SELECT", Text: "SELECT 1"},
		"select 1 format CSV": {Verb: "SELECT", Text: "select 1", Format: "CSV"},
		"-- a comment\n/* another */ with 1 as x select x;": {Verb: "WITH"},
		"CREATE TABLE t (format String)":                    {Verb: "CREATE"},
		"SELECT 'FORMAT CSV'":                               {Verb: "SELECT", Text: "SELECT 'FORMAT CSV'"},
	} {
		got := Parse(sql)
		if got.Verb != want.Verb || got.Format != want.Format || want.Text != "" && got.Text != want.Text {
			t.Errorf("%q: %+v, want %+v", sql, got, want)
		}
		if got.Insert != nil {
			t.Errorf("%q is an INSERT", sql)
		}
	}
}

func TestParseInsert(t *testing.T) {
	for sql, want := range map[string]struct{ target, columns, format, inline string }{
		"INSERT INTO t":                              {target: "TABLE t"},
		"INSERT INTO db.`t 1` (a, `b c`) VALUES":     {target: "TABLE db.`t 1`", columns: "a, `b c`", format: "VALUES"},
		"insert into t values (1), (2)":              {target: "TABLE t", format: "values", inline: " (1), (2)"},
		"INSERT INTO t FORMAT JSONEachRow {\"a\":1}": {target: "TABLE t", format: "JSONEachRow", inline: " {\"a\":1}"},
	} {
		got := Parse(sql)
		if got.Insert == nil {
			t.Errorf("%q is no INSERT: %+v", sql, got)
			continue
		}
		if got.Insert.Target != want.target || got.Insert.Columns != want.columns {
			t.Errorf("%q: target %q of columns %q, want %q of %q", sql, got.Insert.Target, got.Insert.Columns, want.target, want.columns)
		}
	}
	if got := Parse("INSERT INTO t SELECT 1"); got.Insert != nil {
		t.Errorf("INSERT ... SELECT takes no data: %+v", got)
	}
}

func TestColumns(t *testing.T) {
	for list, want := range map[string][]string{
		"":                   nil,
		"a, b":               {"a", "b"},
		"`b c`, \"d\"":       {"b c", "d"},
		"nested.x, `odd``n`": {"nested.x", "odd`n"},
	} {
		if got := Columns(list); !slices.Equal(got, want) {
			t.Errorf("%q: %q, want %q", list, got, want)
		}
	}
}

func TestQuotesRoundTrip(t *testing.T) {
	for doubled, want := range map[string]string{"'it''s'": "it's", "''''": "'", "''": "", "`a``b`": "a`b"} {
		if got := Unquote(doubled); got != want || len(slices.Collect(words(doubled))) != 1 {
			t.Errorf("%s is %q in %d words, want %q", doubled, got, len(slices.Collect(words(doubled))), want)
		}
	}
	for _, s := range []string{"", "plain", "it's", `back\slash`, "new\nline", "nul\x00"} {
		if got := Unquote(Quote(s)); got != s {
			t.Errorf("%q became %q", s, got)
		}
	}
}

func TestDropsDefault(t *testing.T) {
	for sql, want := range map[string]bool{
		"DROP DATABASE default": true, "drop database if exists `default` sync": true, "DROP DATABASE defaults": false, "DROP TABLE default": false,
	} {
		if got := Parse(sql).DropsDefault(); got != want {
			t.Errorf("%q: %v, want %v", sql, got, want)
		}
	}
}

// Any text is some statement.
func FuzzParse(f *testing.F) {
	for _, sql := range []string{"SELECT 1", "INSERT INTO t (a) VALUES (1)", "INSERT INTO FUNCTION f('x') SELECT 1", "'", "`", "--", "/*", "INSERT INTO", "\\"} {
		f.Add(sql)
	}
	f.Fuzz(func(_ *testing.T, sql string) {
		s := Parse(sql)
		_, _, _ = s.ReturnsRows(), s.Streams(), s.DropsDefault()
		if s.Insert != nil {
			Columns(s.Insert.Columns)
		}
		Unquote(sql)
	})
}
