package main

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/ClickHouse/clickhouse-go/v2"
)

// An answer says what it is, by ClickHouse's headers.
func TestHTTPHeaders(t *testing.T) {
	server := start(t, t.TempDir(), "")
	response, _ := ask(t, server, "GET", query("SELECT number FROM numbers(5) FORMAT CSV", "query_id", "mine"), nil)
	for name, want := range map[string]string{
		"X-ClickHouse-Server-Display-Name": "chserver", "X-ClickHouse-Timezone": "UTC", "X-ClickHouse-Query-Id": "mine",
		"X-ClickHouse-Format": "CSV", "Content-Type": "text/csv; charset=UTF-8", "X-ClickHouse-Exception-Code": "",
	} {
		if got := response.Header.Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if summary := response.Header.Get("X-ClickHouse-Summary"); !strings.Contains(summary, `"read_rows":"5"`) {
		t.Errorf("the summary is %s", summary)
	}
	ids := map[string]bool{}
	for range 2 {
		response, _ := ask(t, server, "POST", "/", strings.NewReader("SELECT 1"))
		ids[response.Header.Get("X-ClickHouse-Query-Id")] = true
	}
	if len(ids) != 2 || ids[""] {
		t.Errorf("statements without an id got %v", ids)
	}
}

// The first of FORMAT, default_format and the header counts; a name that only
// looks like the clause does not.
func TestHTTPFormats(t *testing.T) {
	server := start(t, t.TempDir(), "")
	for _, c := range []struct{ path, body, header, want string }{
		{"/", "SELECT 1 AS a FORMAT JSONEachRow", "CSV", "{\"a\":1}\n"},
		{"/?default_format=CSV", "SELECT 1 AS a FORMAT JSONEachRow SETTINGS max_threads = 1;", "", "{\"a\":1}\n"},
		{"/?default_format=CSV", "SELECT 'x' AS format ORDER BY format DESC", "JSON", "\"x\"\n"},
		{"/", "SELECT 'x'", "CSV", "\"x\"\n"},
		{"/", "SELECT 'x' AS format -- FORMAT CSV", "", "x\n"},
		{"/", "SELECT 1 AS a WHERE 0 FORMAT CSVWithNames", "", "\"a\"\n"},
		{"/", "SELECT 1 AS a FORMAT Null", "", ""},
		{query("SELECT 1 +"), "2 FORMAT CSV", "", "3\n"},
		{"/?database=system", "SELECT currentDatabase()", "", "system\n"},
		{"/query", "SELECT 1", "", "1\n"},
		{query("SELECT length({s:String}), {list:Array(UInt8)}", "param_s", `tab\tand\\`, "param_list", "[1,2]"), "", "", "8\t[1,2]\n"},
	} {
		response, got := ask(t, server, "POST", c.path, strings.NewReader(c.body), func(r *http.Request) { r.Header.Set("X-ClickHouse-Format", c.header) })
		if response.StatusCode != http.StatusOK || got != c.want {
			t.Errorf("%s %q: %d %q, want %q", c.path, c.body, response.StatusCode, got, c.want)
		}
	}
	if _, got := ask(t, server, "GET", query("SELECT currentDatabase()"), nil, func(r *http.Request) { r.Header.Set("X-ClickHouse-Database", "system") }); got != "system\n" {
		t.Errorf("the header's database gave %q", got)
	}
}

// Each refusal has ClickHouse's status and code.
func TestHTTPRefusals(t *testing.T) {
	server := start(t, t.TempDir(), "")
	for _, c := range []struct {
		method, path, body string
		status             int
		code               string
	}{
		{"POST", "/", "", http.StatusBadRequest, "62"},
		{"POST", "/", " ; -- nothing", http.StatusBadRequest, "62"},
		{"POST", "/", "SELECT 1; SELECT 2", http.StatusBadRequest, "62"},
		{"POST", "/", "INSERT INTO t ( ", http.StatusBadRequest, "62"},
		{"POST", "/?nonsense=1", "SELECT 1", http.StatusNotFound, "115"},
		{"POST", "/?database=nowhere", "SELECT 1", http.StatusNotFound, "81"},
		{"POST", "/?max_execution_time=0.1", "SELECT sum(sipHash64(number)) FROM numbers(1000000000000)", http.StatusRequestTimeout, "159"},
		{"POST", "/?compress=1", "SELECT 1", http.StatusNotImplemented, "48"},
		{"POST", "/", "DROP DATABASE IF EXISTS default", http.StatusInternalServerError, "392"},
		{"POST", "/", "SELECT {x:UInt8}", http.StatusInternalServerError, "456"},
		{"GET", "/?query=CREATE+TABLE+t+(n+Int8)+ENGINE+%3D+Memory", "", http.StatusInternalServerError, "164"},
		{"GET", "/?readonly=0&query=CREATE+TABLE+t+(n+Int8)+ENGINE+%3D+Memory", "", http.StatusInternalServerError, "164"},
		{"GET", "/favicon.ico", "", http.StatusNotFound, ""},
	} {
		response, body := ask(t, server, c.method, c.path, strings.NewReader(c.body))
		if code := response.Header.Get("X-ClickHouse-Exception-Code"); response.StatusCode != c.status || code != c.code || c.code != "" && !strings.HasPrefix(body, "Code: "+c.code+". DB::Exception: ") {
			t.Errorf("%s %s %q: %d, code %s, %q; want %d and %s", c.method, c.path, c.body, response.StatusCode, code, body, c.status, c.code)
		}
	}
}

// A statement that is too long is refused; it is not run without its end.
func TestHTTPLongStatement(t *testing.T) {
	server := start(t, t.TempDir(), "")
	body := io.MultiReader(strings.NewReader("SELECT 1 -- "), strings.NewReader(strings.Repeat("x", 64<<20)), strings.NewReader("\n + 1"))
	response, said := ask(t, server, "POST", "/", body)
	if code := response.Header.Get("X-ClickHouse-Exception-Code"); response.StatusCode != http.StatusRequestEntityTooLarge || code != "229" {
		t.Errorf("%d, code %s, %q", response.StatusCode, code, said)
	}
}

// An error behind the first rows is framed, and breaks the connection: it is
// not taken for the end by those who look, nor by those who do not. Who waits
// for the end has it in the status.
func TestHTTPErrorInMidStream(t *testing.T) {
	server := start(t, t.TempDir(), "")
	const sql = "SELECT number, throwIf(number = 3000000, 'too far') FROM numbers(10000000) SETTINGS max_block_size = 1000, max_threads = 1"
	request, err := http.NewRequestWithContext(within(t), http.MethodPost, "http://"+server.HTTP(), strings.NewReader(sql))
	must(t, err)
	response, err := http.DefaultClient.Do(request)
	must(t, err)
	body, err := io.ReadAll(response.Body)
	must(t, response.Body.Close())
	tag := response.Header.Get("X-ClickHouse-Exception-Tag")
	if response.StatusCode != http.StatusOK || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("%d, then %v, want a broken connection", response.StatusCode, err)
	}
	_, told, framed := strings.Cut(string(body), "\r\n__exception__\r\n"+tag+"\r\nCode: 395. DB::Exception: ")
	if len(tag) != 16 || !framed || !strings.Contains(told, "too far") || !strings.HasSuffix(told, " "+tag+"\r\n__exception__\r\n") {
		t.Errorf("tag %q, and at the end %q", tag, body[max(0, len(body)-500):])
	}

	if response, body := ask(t, server, "POST", "/?wait_end_of_query=1", strings.NewReader(sql)); response.StatusCode != http.StatusInternalServerError || !strings.HasPrefix(body, "Code: 395.") {
		t.Errorf("who waits has %d %.200q", response.StatusCode, body)
	}

	conn := connect(t, server, "", func(o *clickhouse.Options) { o.Protocol, o.Addr = clickhouse.HTTP, []string{server.HTTP()} })
	rows, err := conn.Query(within(t), sql)
	must(t, err)
	for rows.Next() { // Up to the error.
	}
	if err := errors.Join(rows.Err(), rows.Close()); code(err) != 395 || !strings.Contains(err.Error(), "too far") {
		t.Errorf("clickhouse-go has %v", err)
	}
}
