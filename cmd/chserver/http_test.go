package main

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/tintype/tintype/internal/devstack"
)

// ask sends one request and returns its answer.
func ask(t *testing.T, server *devstack.ClickHouse, method, path string, body io.Reader, change ...func(*http.Request)) (*http.Response, string) {
	t.Helper()
	request, err := http.NewRequestWithContext(within(t), method, "http://"+server.HTTP()+path, body)
	must(t, err)
	for _, c := range change {
		c(request)
	}
	response, err := http.DefaultClient.Do(request)
	must(t, err)
	data, err := io.ReadAll(response.Body)
	must(t, err)
	must(t, response.Body.Close())
	return response, string(data)
}

func query(sql string, more ...string) string {
	values := url.Values{"query": {sql}}
	for i := 0; i+1 < len(more); i += 2 {
		values.Set(more[i], more[i+1])
	}
	return "/?" + values.Encode()
}

func TestHTTPAnswers(t *testing.T) {
	server := start(t, t.TempDir(), "")
	const rows = "SELECT number AS n, toString(number) AS s FROM numbers(2)"
	for _, c := range []struct{ method, path, body, want string }{
		{"GET", "/ping", "", "Ok.\n"},
		{"GET", "/", "", "Ok.\n"},
		{"GET", query(rows), "", "0\t0\n1\t1\n"},
		{"POST", "/", rows, "0\t0\n1\t1\n"},
		{"GET", query(rows + " FORMAT CSV"), "", "0,\"0\"\n1,\"1\"\n"},
		{"GET", query(rows, "default_format", "JSONEachRow"), "", "{\"n\":0,\"s\":\"0\"}\n{\"n\":1,\"s\":\"1\"}\n"},
		{"GET", query("SELECT {x:UInt8} + 1, {s:String}", "param_x", "4", "param_s", "it's"), "", "5\tit\\'s\n"},
		{"GET", query("SELECT getSetting('max_threads')", "max_threads", "1"), "", "1\n"},
		{"GET", query("SELECT NULL, 'tab\t', today() > '2020-01-01'"), "", "\\N\ttab\\t\t1\n"},
		{"GET", query("SELECT 1 WHERE 0"), "", ""},
	} {
		response, got := ask(t, server, c.method, c.path, strings.NewReader(c.body))
		if response.StatusCode != http.StatusOK || got != c.want {
			t.Errorf("%s %s %q: %d %q, want %q", c.method, c.path, c.body, response.StatusCode, got, c.want)
		}
	}
	response, got := ask(t, server, "GET", query("SELECT 1 AS one FORMAT JSON"), nil)
	if !strings.Contains(got, `"rows": 1`) || !strings.HasPrefix(response.Header.Get("Content-Type"), "application/json") {
		t.Errorf("JSON came as %s: %s", response.Header.Get("Content-Type"), got)
	}
}

func TestHTTPErrors(t *testing.T) {
	server := start(t, t.TempDir(), "")
	for sql, want := range map[string]struct {
		status int
		code   string
	}{
		"SELEC 1":                 {http.StatusBadRequest, "62"},
		"SELECT * FROM nowhere":   {http.StatusNotFound, "60"},
		"SELECT throwIf(1, 'no')": {http.StatusInternalServerError, "395"},
	} {
		response, body := ask(t, server, "GET", query(sql), nil)
		if response.StatusCode != want.status || response.Header.Get("X-ClickHouse-Exception-Code") != want.code || !strings.Contains(body, "DB::Exception") {
			t.Errorf("%s: %d, code %s, %q", sql, response.StatusCode, response.Header.Get("X-ClickHouse-Exception-Code"), body)
		}
	}
}

// GET changes nothing, as on any ClickHouse: a page in a browser could send it.
func TestHTTPGetIsReadOnly(t *testing.T) {
	server := start(t, t.TempDir(), "")
	const create = "CREATE TABLE t (n UInt8) ENGINE = Memory"
	if response, body := ask(t, server, "GET", query(create), nil); response.Header.Get("X-ClickHouse-Exception-Code") != "164" {
		t.Errorf("GET created a table: %d %q", response.StatusCode, body)
	}
	for _, statement := range []string{create, "INSERT INTO t VALUES (1)"} {
		if response, body := ask(t, server, "POST", "/", strings.NewReader(statement)); response.StatusCode != http.StatusOK {
			t.Fatalf("%s: %s", statement, body)
		}
	}
	for _, statement := range []string{"INSERT INTO t VALUES (2)", "DROP TABLE t", "TRUNCATE TABLE t"} {
		if response, _ := ask(t, server, "GET", query(statement), nil); response.StatusCode == http.StatusOK {
			t.Errorf("GET could %s", statement)
		}
	}
	if _, got := ask(t, server, "GET", query("SELECT sum(n) FROM t"), nil); got != "1\n" {
		t.Errorf("the table holds %q", got)
	}
}

func TestHTTPInserts(t *testing.T) {
	server := start(t, t.TempDir(), "")
	if _, body := ask(t, server, "POST", "/", strings.NewReader("CREATE TABLE t (n UInt32, s String) ENGINE = Memory")); body != "" {
		t.Fatal(body)
	}
	var packed bytes.Buffer
	zip := gzip.NewWriter(&packed)
	_, err := io.WriteString(zip, "3\tc\n4\td\n")
	must(t, err)
	must(t, zip.Close())
	for _, c := range []struct {
		sql    string
		body   io.Reader
		change func(*http.Request)
	}{
		{"INSERT INTO t FORMAT JSONEachRow", strings.NewReader(`{"n":1,"s":"a"}{"n":2,"s":"b"}`), func(*http.Request) {}},
		{"INSERT INTO t FORMAT TabSeparated", &packed, func(r *http.Request) { r.Header.Set("Content-Encoding", "gzip") }},
	} {
		if response, body := ask(t, server, "POST", query(c.sql), c.body, c.change); response.StatusCode != http.StatusOK {
			t.Errorf("%s: %s", c.sql, body)
		}
	}
	if response, _ := ask(t, server, "POST", query("INSERT INTO t FORMAT JSONEachRow"), strings.NewReader(`{"n":9,"s":"whole"}{"n":"no number`)); response.StatusCode == http.StatusOK {
		t.Error("half a row was taken")
	}
	if _, got := ask(t, server, "GET", query("SELECT count(), sum(n), groupArray(s) FROM (SELECT * FROM t ORDER BY n)"), nil); got != "4\t10\t['a','b','c','d']\n" {
		t.Errorf("the table holds %q", got)
	}
}

func TestHTTPPassword(t *testing.T) {
	server := start(t, t.TempDir(), "secret")
	for name, c := range map[string]struct {
		path   string
		change func(*http.Request)
		status int
	}{
		"basic":        {query("SELECT 1"), func(r *http.Request) { r.SetBasicAuth("default", "secret") }, http.StatusOK},
		"headers":      {query("SELECT 1"), func(r *http.Request) { r.Header.Set("X-ClickHouse-Key", "secret") }, http.StatusOK},
		"parameters":   {query("SELECT 1", "user", "default", "password", "secret"), func(*http.Request) {}, http.StatusOK},
		"none":         {query("SELECT 1"), func(*http.Request) {}, http.StatusForbidden},
		"wrong":        {query("SELECT 1", "password", "guess"), func(*http.Request) {}, http.StatusForbidden},
		"another user": {query("SELECT 1"), func(r *http.Request) { r.SetBasicAuth("root", "secret") }, http.StatusForbidden},
		"ping":         {"/ping", func(*http.Request) {}, http.StatusOK},
	} {
		if response, body := ask(t, server, "GET", c.path, nil, c.change); response.StatusCode != c.status || strings.Contains(body, "secret") {
			t.Errorf("%s: %d %q, want %d", name, response.StatusCode, body, c.status)
		}
	}
}
