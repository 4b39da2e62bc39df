package main

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/tintype/tintype/internal/devstack"
)

// table makes a table over HTTP.
func table(t *testing.T, server *devstack.ClickHouse, sql string) {
	t.Helper()
	if response, body := ask(t, server, "POST", "/", strings.NewReader(sql)); response.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s", sql, body)
	}
}

// The data of an INSERT may stand in the parameter, in the body, or in both, and
// keeps its blanks.
func TestHTTPInsertForms(t *testing.T) {
	server := start(t, t.TempDir(), "")
	for name, c := range map[string]struct{ parameter, body, want string }{
		"Values in the body":           {"", "INSERT INTO t VALUES ('a;', 1), ('b', 2);", "a;\t1\nb\t2\n"},
		"Values behind the parameter":  {"INSERT INTO t VALUES", "('a', 1)", "a\t1\n"},
		"Values in both":               {"INSERT INTO t (n, s) VALUES (1, 'a'),", "(2, 'b')", "a\t1\nb\t2\n"},
		"lines in the body":            {"", "INSERT INTO t FORMAT TabSeparated\na\t1\n\t2\n", "\t2\na\t1\n"},
		"a first column that is empty": {"", "INSERT INTO t FORMAT TabSeparated\n\t2\n", "\t2\n"},
		"lines behind the parameter":   {"INSERT INTO t FORMAT TabSeparated", "a\t1\nb;\t2\n", "a\t1\nb;\t2\n"},
		"JSON with a setting":          {"INSERT INTO t SETTINGS input_format_skip_unknown_fields = 1 FORMAT JSONEachRow", `{"s":"a","n":1,"x":[]}`, "a\t1\n"},
		"CSV":                          {"INSERT INTO t FORMAT CSV", "\"a \"\"b\"\"\",1\n", "a \"b\"\t1\n"},
		"a SELECT in the body":         {"", "INSERT INTO t SELECT 'a', 1", "a\t1\n"},
		"a SELECT in two parts":        {"INSERT INTO t", "SELECT 'a', 1", "a\t1\n"},
	} {
		t.Run(name, func(t *testing.T) {
			table(t, server, "CREATE OR REPLACE TABLE t (s String, n UInt32) ENGINE = MergeTree ORDER BY s")
			path := "/"
			if c.parameter != "" {
				path = query(c.parameter)
			}
			if response, body := ask(t, server, "POST", path, strings.NewReader(c.body)); response.StatusCode != http.StatusOK || body != "" {
				t.Errorf("%d %s", response.StatusCode, body)
			}
			if _, got := ask(t, server, "GET", query("SELECT * FROM t ORDER BY s"), nil); got != c.want {
				t.Errorf("the table holds %q, want %q", got, c.want)
			}
		})
	}
}

// A body that ends before its end is no INSERT, however much of it came.
func TestHTTPHalfABody(t *testing.T) {
	server := start(t, t.TempDir(), "")
	table(t, server, "CREATE TABLE t (n UInt32) ENGINE = MergeTree ORDER BY n")
	var lines strings.Builder
	for n := range 100_000 {
		fmt.Fprintln(&lines, n)
	}
	const insert = "INSERT INTO t FORMAT TabSeparated"
	var zipped bytes.Buffer
	zip := gzip.NewWriter(&zipped)
	_, err := io.WriteString(zip, lines.String())
	must(t, err)
	must(t, zip.Close())
	half := zipped.Bytes()[:zipped.Len()/2]
	if response, body := ask(t, server, "POST", query(insert), bytes.NewReader(half), func(r *http.Request) { r.Header.Set("Content-Encoding", "gzip") }); response.StatusCode == http.StatusOK {
		t.Errorf("half a gzip was taken: %s", body)
	}
	for _, c := range []struct{ path, body string }{{query(insert), lines.String()}, {"/", insert + "\n" + lines.String()}} {
		client := dial(t, server.HTTP())
		client.send(fmt.Appendf(nil, "POST %s HTTP/1.1\r\nHost: chserver\r\nContent-Length: %d\r\n\r\n%s", c.path, 2*len(c.body), c.body))
		must(t, client.conn.(interface{ CloseWrite() error }).CloseWrite())
		answer, err := io.ReadAll(client.conn)
		if err != nil || bytes.Contains(answer, []byte(" 200 OK")) {
			t.Errorf("half a body was answered by %q, %v", answer, err)
		}
	}
	if _, got := ask(t, server, "GET", query("SELECT count() FROM t"), nil); got != "0\n" {
		t.Errorf("there are %q rows, want none", got)
	}
}

// Long data is streamed, behind the parameter and in the statement's own body.
func TestHTTPLongInsert(t *testing.T) {
	server := start(t, t.TempDir(), "")
	table(t, server, "CREATE TABLE t (n UInt64, s String) ENGINE = MergeTree ORDER BY n")
	const rows = 100_000
	var lines bytes.Buffer
	for n := range rows {
		fmt.Fprintf(&lines, "%d\t%s;\n", n, strings.Repeat("(", n%20))
	}
	var zipped bytes.Buffer
	zip := gzip.NewWriter(&zipped)
	_, err := zip.Write(lines.Bytes())
	must(t, err)
	must(t, zip.Close())
	const insert = "INSERT INTO t FORMAT TabSeparated"
	for i, c := range []struct {
		path   string
		body   io.Reader
		change func(*http.Request)
	}{
		{query(insert), bytes.NewReader(lines.Bytes()), func(*http.Request) {}},
		{"/", io.MultiReader(strings.NewReader(insert+"\n"), bytes.NewReader(lines.Bytes())), func(*http.Request) {}},
		{query(insert), &zipped, func(r *http.Request) { r.Header.Set("Content-Encoding", "gzip") }},
	} {
		response, body := ask(t, server, "POST", c.path, c.body, c.change)
		if summary := response.Header.Get("X-ClickHouse-Summary"); response.StatusCode != http.StatusOK || !strings.Contains(summary, fmt.Sprintf(`"written_rows":"%d"`, rows)) {
			t.Fatalf("insert %d: %d %s, summary %s", i, response.StatusCode, body, summary)
		}
		want := fmt.Sprintf("%d\t%d\t%d\n", (i+1)*rows, (i+1)*rows*(rows-1)/2, (i+1)*rows*(1+19)/2+(i+1)*rows/2)
		if _, got := ask(t, server, "GET", query("SELECT count(), sum(n), sum(length(s)) FROM t"), nil); got != want {
			t.Errorf("after insert %d the table holds %q, want %q", i, got, want)
		}
	}
}

// What is wrong with the data is told, and nothing of it is kept.
func TestHTTPInsertErrors(t *testing.T) {
	server := start(t, t.TempDir(), "")
	table(t, server, "CREATE TABLE t (n UInt8, CONSTRAINT small CHECK n < 10) ENGINE = MergeTree ORDER BY n")
	for _, c := range []struct{ parameter, body, code string }{
		{"INSERT INTO t FORMAT JSONEachRow", `{"n":1}{"n":"x"}`, "27"},
		{"INSERT INTO t FORMAT TabSeparated", "1\n10\n", "469"},
		{"INSERT INTO t FORMAT Nonsense", "1", "73"},
		{"INSERT INTO nowhere FORMAT TabSeparated", "1", "60"},
		{"INSERT INTO t (m) FORMAT TabSeparated", "1", "16"},
		{"", "INSERT INTO t VALUES (1), (", "32"},
	} {
		path := "/?" + url.Values{"query": {c.parameter}}.Encode()
		response, body := ask(t, server, "POST", path, strings.NewReader(c.body))
		if got := response.Header.Get("X-ClickHouse-Exception-Code"); got != c.code || !strings.HasPrefix(body, "Code: "+c.code+". DB::Exception: ") {
			t.Errorf("%s %q: %d, code %s, %s", c.parameter, c.body, response.StatusCode, got, body)
		}
	}
	if _, got := ask(t, server, "GET", query("SELECT count() FROM t"), nil); got != "0\n" {
		t.Errorf("%q refused rows were kept", got)
	}
}
