// Package httpface speaks ClickHouse's HTTP interface in front of the engine:
// GET and POST /, /ping, statements in the query parameter or the body, users by
// basic authentication, headers or parameters.
package httpface

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/tintype/tintype/cmd/chserver/internal/engine"
	"github.com/tintype/tintype/cmd/chserver/internal/statement"
)

// maxStatementBytes bounds a statement in a body; the data of an INSERT whose
// statement is in the URL is not bounded.
const maxStatementBytes = 64 << 20

// New returns the handler.
func New(server *statement.Server) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/ping", ok)
	mux.HandleFunc("/replicas_status", ok)
	mux.Handle("/", &face{server})
	return mux
}

// ok answers that the server is there; a client that hung up has lost nothing.
func ok(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "Ok.\n") }

type face struct{ server *statement.Server }

// ServeHTTP runs one statement.
func (f *face) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-ClickHouse-Server-Display-Name", "chserver")
	if r.Method == http.MethodGet && r.URL.Path == "/" && r.URL.RawQuery == "" {
		ok(w, r)
		return
	}
	if err := f.serve(&answer{ResponseWriter: w}, r); err != nil {
		refuse(w, err)
	}
}

// answer notices whether something was sent already.
type answer struct {
	http.ResponseWriter
	sent bool
}

// Write implements io.Writer.
func (a *answer) Write(p []byte) (int, error) {
	a.sent = true
	return a.ResponseWriter.Write(p)
}

// refuse tells of an error by status, header and text.
func refuse(w http.ResponseWriter, err error) {
	var e *engine.Error
	if !errors.As(err, &e) {
		e = &engine.Error{Code: 1002, Message: err.Error()}
	}
	w.Header().Set("X-ClickHouse-Exception-Code", strconv.Itoa(int(e.Code)))
	w.Header().Set("Content-Type", "text/plain; charset=UTF-8")
	w.WriteHeader(status(e.Code))
	_, _ = fmt.Fprintln(w, e.Error()) // A client that hung up has lost nothing.
}

// status is what ClickHouse answers for the codes that clients tell apart.
func status(code int32) int {
	switch code {
	case 516, 192, 193, 194:
		return http.StatusForbidden
	case 60, 81, 46, 47:
		return http.StatusNotFound
	case 62, 36, 27, 53, 6, 26, 38, 41, 70, 386:
		return http.StatusBadRequest
	case 48:
		return http.StatusNotImplemented
	case 159:
		return http.StatusRequestTimeout
	}
	return http.StatusInternalServerError
}

// reserved are the parameters that are no settings.
var reserved = map[string]bool{
	"query": true, "database": true, "user": true, "password": true, "default_format": true, "query_id": true, "session_id": true,
	"session_timeout": true, "session_check": true, "compress": true, "decompress": true, "buffer_size": true, "wait_end_of_query": true,
	"quota_key": true, "enable_http_compression": true, "client_protocol_version": true, "http_write_exception_in_output_format": true,
	"role": true, "send_progress_in_http_headers": true,
}

func (f *face) serve(w *answer, r *http.Request) error {
	query := r.URL.Query()
	if err := f.authenticate(r, query); err != nil {
		return err
	}
	if query.Get("compress") == "1" || query.Get("decompress") == "1" {
		return statement.NotImplemented("ClickHouse's own compression over HTTP; use gzip")
	}
	body, err := bodyOf(r)
	if err != nil {
		return err
	}
	sql, data := query.Get("query"), body
	if sql == "" {
		text, err := io.ReadAll(io.LimitReader(body, maxStatementBytes))
		if err != nil {
			return fmt.Errorf("httpface: read the statement: %w", err)
		}
		sql, data = string(text), nil
	}
	s := statement.Parse(sql)
	if err := statement.Check(s); err != nil {
		return err
	}
	session, err := f.server.Open(cmp.Or(query.Get("database"), r.Header.Get("X-ClickHouse-Database")))
	if err != nil {
		return err
	}
	defer session.Close()
	settings, params := options(query)
	if r.Method == http.MethodGet { // A link must not change anything.
		settings["readonly"] = "2"
	}
	id := cmp.Or(query.Get("query_id"), r.Header.Get("X-ClickHouse-Query-Id"))
	if err := session.Apply(id, settings); err != nil {
		return err
	}
	defer watch(r, session)()
	if id != "" {
		w.Header().Set("X-ClickHouse-Query-Id", id)
	}
	if s.Insert != nil && data != nil {
		return insert(w, session, s, data, params)
	}
	if s.Insert != nil {
		s.Text = sql // Its data stands in it.
	}
	format := cmp.Or(s.Format, query.Get("default_format"), r.Header.Get("X-ClickHouse-Format"), "TabSeparated")
	return run(w, session, s, format, params)
}

// authenticate takes the user from basic authentication, headers or parameters.
func (f *face) authenticate(r *http.Request, query url.Values) error {
	user, password, basic := r.BasicAuth()
	if !basic {
		user = cmp.Or(r.Header.Get("X-ClickHouse-User"), query.Get("user"), "default")
		password = cmp.Or(r.Header.Get("X-ClickHouse-Key"), query.Get("password"))
	}
	return f.server.Authenticate(cmp.Or(user, "default"), password)
}

func bodyOf(r *http.Request) (io.Reader, error) {
	switch encoding := r.Header.Get("Content-Encoding"); encoding {
	case "", "identity":
		return r.Body, nil
	case "gzip":
		unpacked, err := gzip.NewReader(r.Body)
		if err != nil {
			return nil, fmt.Errorf("httpface: read the body: %w", err)
		}
		return unpacked, nil
	default:
		return nil, statement.NotImplemented("Content-Encoding " + encoding)
	}
}

// options splits the parameters into settings and query parameters.
func options(query url.Values) (map[string]string, []engine.Param) {
	settings := map[string]string{}
	var params []engine.Param
	for name, values := range query {
		if param, ok := strings.CutPrefix(name, "param_"); ok {
			params = append(params, engine.Param{Name: param, Value: values[0]})
		} else if !reserved[name] {
			settings[name] = values[0]
		}
	}
	return settings, params
}

// watch stops what the session runs when the client goes.
func watch(r *http.Request, session *statement.Session) (stop func()) {
	done := make(chan struct{})
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		select {
		case <-r.Context().Done():
			_ = session.Kill() // If nothing runs any more, there is nothing to kill.
		case <-done:
		}
	}()
	return func() { close(done); <-ended }
}

// run sends a statement's answer in a format.
func run(w *answer, session *statement.Session, s statement.Statement, format string, params []engine.Param) error {
	w.Header().Set("X-ClickHouse-Format", format)
	w.Header().Set("Content-Type", contentType(format))
	if !s.Streams() {
		r, err := session.Query(s.Text, format, params...)
		if err != nil {
			return err
		}
		defer r.Free()
		_, err = w.Write(r.Bytes())
		return gone(err)
	}
	stream, err := session.Stream(s.Text, format, params...)
	if err != nil {
		return err
	}
	defer stream.Free()
	for {
		r, err := stream.Next()
		switch {
		case err != nil && w.sent: // The status is out: the text is all there is.
			_, writeErr := fmt.Fprintf(w, "\n%v\n", err)
			return gone(writeErr)
		case err != nil:
			return err
		case r == nil && !w.sent:
			return whole(w, session, s, format, params)
		case r == nil:
			return nil
		}
		_, err = io.Copy(w, bytes.NewReader(r.Bytes()))
		r.Free()
		if err != nil {
			stream.Cancel()
			return nil // The client is gone; there is nobody to tell.
		}
	}
}

// whole runs a statement that streamed nothing again, for the frame that its
// format puts around no rows.
func whole(w *answer, session *statement.Session, s statement.Statement, format string, params []engine.Param) error {
	r, err := session.Query(s.Text, format, params...)
	if err != nil {
		return err
	}
	defer r.Free()
	_, err = w.Write(r.Bytes())
	return gone(err)
}

// gone drops the error of a client that has hung up: nobody is there to be told.
func gone(error) error { return nil }

func contentType(format string) string {
	switch {
	case strings.HasPrefix(format, "JSON") && strings.HasSuffix(format, "EachRow"):
		return "application/x-ndjson; charset=UTF-8"
	case strings.HasPrefix(format, "JSON"):
		return "application/json; charset=UTF-8"
	case strings.HasPrefix(format, "CSV"):
		return "text/csv; charset=UTF-8"
	case strings.HasPrefix(format, "TabSeparated"), strings.HasPrefix(format, "TSV"):
		return "text/tab-separated-values; charset=UTF-8"
	case format == "Native", format == "RowBinary", format == "Parquet", format == "Arrow":
		return "application/octet-stream"
	}
	return "text/plain; charset=UTF-8"
}

// insertChunk is how much of a body is handed to the engine at once.
const insertChunk = 1 << 20

// insert streams a body into an INSERT.
func insert(w *answer, session *statement.Session, s statement.Statement, data io.Reader, params []engine.Param) error {
	target, err := session.Insert(s.Text, cmp.Or(s.Format, "Values"), params...)
	if err != nil {
		return err
	}
	defer target.Free()
	failed := target.Append([]byte(s.Inline))
	chunk := make([]byte, insertChunk)
	for failed == nil {
		n, err := io.ReadFull(data, chunk)
		failed = target.Append(chunk[:n])
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			break
		}
		if err != nil { // Half a body is no INSERT.
			target.Cancel()
			return fmt.Errorf("httpface: read the data: %w", err)
		}
	}
	progress, err := target.Done()
	if err == nil {
		err = failed
	}
	if err != nil {
		return err
	}
	w.Header().Set("X-ClickHouse-Summary", fmt.Sprintf(`{"written_rows":"%d","written_bytes":"%d"}`, progress.WrittenRows, progress.WrittenBytes))
	return nil
}
