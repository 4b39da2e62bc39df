package statement

import (
	"slices"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	for sql, want := range map[string]Statement{
		"":                    {},
		" ;\n-- nothing":      {Text: ";\n-- nothing", Verb: ";"},
		"SELECT 1":            {Verb: "SELECT", Text: "SELECT 1"},
		"select 1 format CSV": {Verb: "SELECT", Text: "select 1", Format: "CSV"},
		"SELECT 1 FORMAT CSV SETTINGS max_threads = 1;": {Verb: "SELECT", Text: "SELECT 1  SETTINGS max_threads = 1", Format: "CSV"},
		"SELECT 1 SETTINGS a = 1 FORMAT CSV -- FORMAT":  {Verb: "SELECT", Text: "SELECT 1 SETTINGS a = 1", Format: "CSV"},
		"SELECT * FORMAT CSV":                           {Verb: "SELECT", Text: "SELECT *", Format: "CSV"},
		"SELECT (1) FORMAT CSV":                         {Verb: "SELECT", Text: "SELECT (1)", Format: "CSV"},
		"SELECT 'FORMAT CSV'":                           {Verb: "SELECT", Text: "SELECT 'FORMAT CSV'"},
		"SELECT format FROM t":                          {Verb: "SELECT", Text: "SELECT format FROM t"},
		"SELECT format f":                               {Verb: "SELECT", Text: "SELECT format f"},
		"SELECT a FROM t ORDER BY format DESC":          {Verb: "SELECT", Text: "SELECT a FROM t ORDER BY format DESC"},
		"SELECT a FROM t ORDER BY a, t.format DESC":     {Verb: "SELECT", Text: "SELECT a FROM t ORDER BY a, t.format DESC"},
		"SELECT 1 AS format FORMAT CSV":                 {Verb: "SELECT", Text: "SELECT 1 AS format", Format: "CSV"},
		"SELECT a FROM t GROUP BY ALL FORMAT CSV":       {Verb: "SELECT", Text: "SELECT a FROM t GROUP BY ALL", Format: "CSV"},
		"(SELECT 1) FORMAT CSV":                         {Verb: "(", Text: "(SELECT 1)", Format: "CSV"},
		"SHOW TABLES FORMAT CSV":                        {Verb: "SHOW", Text: "SHOW TABLES", Format: "CSV"},
		"DESCRIBE TABLE format FORMAT CSV":              {Verb: "DESCRIBE", Text: "DESCRIBE TABLE format", Format: "CSV"},
		"ALTER TABLE t ADD COLUMN format String":        {Verb: "ALTER", Text: "ALTER TABLE t ADD COLUMN format String"},
		"CREATE TABLE t (format String)":                {Verb: "CREATE", Text: "CREATE TABLE t (format String)"},
		"/* a */ with 1 as x select x;":                 {Verb: "WITH", Text: "/* a */ with 1 as x select x"},
		"# a\nSELECT 1":                                 {Verb: "SELECT", Text: "# a\nSELECT 1"},
		"WITH x AS (SELECT 1) INSERT INTO t SELECT 1":   {Verb: "INSERT", Text: "WITH x AS (SELECT 1) INSERT INTO t SELECT 1"},
	} {
		if got := Parse(sql); got != want {
			t.Errorf("%q: %+v, want %+v", sql, got, want)
		}
	}
}

func TestParseInsert(t *testing.T) {
	for sql, want := range map[string]struct{ target, columns, format, text, inline string }{
		"INSERT INTO t":                                     {target: "TABLE t", text: "INSERT INTO t"},
		"INSERT t VALUES":                                   {target: "TABLE t", format: "Values", text: "INSERT t"},
		"INSERT INTO db.`t 1` (a, `b c`) VALUES":            {"TABLE db.`t 1`", "a, `b c`", "Values", "INSERT INTO db.`t 1` (a, `b c`)", ""},
		"insert into t values (1), (2);":                    {"TABLE t", "", "Values", "insert into t", "(1), (2)"},
		"INSERT INTO values VALUES (1)":                     {"TABLE values", "", "Values", "INSERT INTO values", "(1)"},
		"INSERT INTO TABLE db.values (a) VALUES (1)":        {"TABLE db.values", "a", "Values", "INSERT INTO TABLE db.values (a)", "(1)"},
		"INSERT INTO db.format FORMAT CSV 1":                {"TABLE db.format", "", "CSV", "INSERT INTO db.format", "1"},
		"INSERT INTO format FORMAT CSV":                     {"TABLE format", "", "CSV", "INSERT INTO format", ""},
		"INSERT INTO t FORMAT JSONEachRow {\"a\":1}":        {"TABLE t", "", "JSONEachRow", "INSERT INTO t", "{\"a\":1}"},
		"INSERT INTO t FORMAT TSV\n\ta;\n'":                 {"TABLE t", "", "TSV", "INSERT INTO t", "\ta;\n'"},
		"INSERT INTO t FORMAT TSV \r\n VALUES (":            {"TABLE t", "", "TSV", "INSERT INTO t", " VALUES ("},
		"INSERT INTO t SETTINGS a = 'VALUES' FORMAT CSV;":   {"TABLE t", "", "CSV", "INSERT INTO t SETTINGS a = 'VALUES'", ""},
		"INSERT INTO FUNCTION null('a Int8') FORMAT CSV":    {"null('a Int8')", "", "CSV", "INSERT INTO FUNCTION null('a Int8')", ""},
		"INSERT INTO t /* (b) */ (a -- ,)\n, b) FORMAT CSV": {"TABLE t", "a -- ,)\n, b", "CSV", "INSERT INTO t /* (b) */ (a -- ,)\n, b)", ""},
	} {
		got := Parse(sql)
		if got.Insert == nil {
			t.Errorf("%q is no INSERT: %+v", sql, got)
			continue
		}
		if got.Insert.Target != want.target || got.Insert.Columns != want.columns || got.Format != want.format || got.Text != want.text || got.Inline != want.inline {
			t.Errorf("%q: %+v, %+v, want %+v", sql, got, *got.Insert, want)
		}
	}
	for _, sql := range []string{
		"INSERT INTO t SELECT 1", "INSERT INTO t (a) WITH 1 AS x SELECT x", "INSERT INTO t (a) (SELECT 1)", "INSERT INTO t (SELECT 1)",
		"INSERT", "INSERT INTO", "INSERT INTO t (", "INSERT INTO t (a", "INSERT INTO FUNCTION null(", "INSERT INTO t nonsense",
	} {
		if got := Parse(sql); got.Verb != "INSERT" || got.Insert != nil || got.Text != sql {
			t.Errorf("%q takes data: %+v", sql, got)
		}
	}
}

// What is behind the beginning of an INSERT's data is not looked at.
func TestParseLongInsert(t *testing.T) {
	data := strings.Repeat("(1, 'a'),\n", 100_000)
	var got Statement
	if allocs := testing.AllocsPerRun(1, func() { got = Parse("INSERT INTO t VALUES " + data) }); allocs > 20 || len(got.Inline) < len(data)-1 {
		t.Errorf("%v allocations, %d bytes of data, want %d", allocs, len(got.Inline), len(data)-1)
	}
}

func TestAnswers(t *testing.T) {
	for sql, want := range map[string]struct{ rows, streams bool }{
		"SELECT 1": {true, true}, "WITH 1 AS x SELECT x": {true, true}, "SHOW TABLES": {true, false}, "desc t": {true, false}, "(SELECT 1)": {true, false},
		"DROP TABLE t": {false, false}, "INSERT INTO t SELECT 1": {false, false}, "WITH 1 AS x INSERT INTO t SELECT x": {false, false}, "": {false, false},
	} {
		if s := Parse(sql); s.ReturnsRows() != want.rows || s.Streams() != want.streams {
			t.Errorf("%q: returns rows %v, streams %v, want %+v", sql, s.ReturnsRows(), s.Streams(), want)
		}
	}
}

func TestColumns(t *testing.T) {
	for list, want := range map[string][]string{
		"":                    nil,
		"a, b":                {"a", "b"},
		"`b c`, \"d\"":        {"b c", "d"},
		"nested.x, `odd``n`":  {"nested.x", "odd`n"},
		"nested . `y z`, n1.": {"nested.y z", "n1."},
	} {
		if got := Columns(list); !slices.Equal(got, want) {
			t.Errorf("%q: %q, want %q", list, got, want)
		}
	}
}

func TestQuotesRoundTrip(t *testing.T) {
	for doubled, want := range map[string]string{"'it''s'": "it's", "''''": "'", "''": "", "`a``b`": "a`b", `'\\n\n'`: "\\n\n", "'": "'", "plain": "plain"} {
		if got := Unquote(doubled); got != want || len(slices.Collect(words(doubled))) != 1 {
			t.Errorf("%s is %q in %d words, want %q", doubled, got, len(slices.Collect(words(doubled))), want)
		}
	}
	for _, s := range []string{"", "plain", "it's", `back\slash`, "new\nline", "nul\x00", "`"} {
		if got := Unquote(Quote(s)); got != s {
			t.Errorf("%q became %q", s, got)
		}
		if got := Unquote(QuoteName(s)); got != s {
			t.Errorf("the name %q became %q", s, got)
		}
	}
}

func TestDropsDefault(t *testing.T) {
	for sql, want := range map[string]bool{
		"DROP DATABASE default": true, "drop database if exists `default` sync": true, "DETACH DATABASE \"default\" PERMANENTLY": true,
		"DROP /* a */ DATABASE IF EMPTY default": true, "RENAME DATABASE default TO other": true,
		"DROP DATABASE defaults": false, "DROP TABLE default": false, "DROP TABLE IF EXISTS default": false, "DROP DATABASE": false,
		"SELECT 'DROP DATABASE default'": false, "DROP DATABASE exists": false,
	} {
		if got := Parse(sql).DropsDefault(); got != want {
			t.Errorf("%q: %v, want %v", sql, got, want)
		}
	}
}

// Any text is some statement, whose parts are parts of it.
func FuzzParse(f *testing.F) {
	for _, sql := range []string{
		"SELECT 1 FORMAT CSV SETTINGS a = 1", "INSERT INTO t (a) VALUES (1)", "INSERT INTO FUNCTION f('x') FORMAT CSV\n1", "INSERT INTO a.b (c.d) SELECT 1",
		"INSERT INTO t (", "INSERT INTO", "'", "`", "--", "/*", "\\", "'\\", ")(", "DROP DATABASE IF EXISTS", "INSERT a.", "SELECT 1 FORMAT a;;",
	} {
		f.Add(sql)
	}
	f.Fuzz(func(t *testing.T, sql string) {
		s := Parse(sql)
		_, _, _ = s.ReturnsRows(), s.Streams(), s.DropsDefault()
		if !strings.Contains(sql, s.Inline) || !strings.Contains(sql, s.Format) && s.Format != "Values" || len(s.Text) > len(sql) {
			t.Errorf("%q became %+v", sql, s)
		}
		if s.Insert != nil {
			if target := strings.TrimPrefix(s.Insert.Target, "TABLE "); target == "" || !strings.Contains(sql, target) {
				t.Errorf("%q writes %q", sql, s.Insert.Target)
			}
			if columns := Columns(s.Insert.Columns); len(columns) > len(s.Insert.Columns) {
				t.Errorf("%q has %d columns", s.Insert.Columns, len(columns))
			}
		}
		if got := Unquote(Quote(sql)); got != sql {
			t.Errorf("%q, quoted, became %q", sql, got)
		}
	})
}
