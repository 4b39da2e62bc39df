// Package httpface speaks ClickHouse's HTTP interface in front of the engine:
// GET and POST /, /ping, statements in the query parameter, the body or both,
// users by basic authentication, headers or parameters.
package httpface

import (
	"cmp"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"

	"github.com/tintype/tintype/cmd/chserver/internal/engine"
	"github.com/tintype/tintype/cmd/chserver/internal/statement"
)

// maxStatementBytes bounds a statement in a body; the data of an INSERT is not
// bounded, and streamed where it is longer than headBytes.
const (
	maxStatementBytes = 64 << 20
	headBytes         = 1 << 20
)

// codeTooLarge is ClickHouse's code for a statement that is too large.
const codeTooLarge = 229

// New returns the handler.
func New(server *statement.Server) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/ping", ok)
	mux.HandleFunc("/replicas_status", ok)
	for _, path := range []string{"/{$}", "/query"} {
		mux.Handle(path, &face{server})
	}
	return mux
}

// ok answers that the server is there; a client that hung up has lost nothing.
func ok(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "Ok.\n") }

type face struct{ server *statement.Server }

// ServeHTTP runs one statement.
func (f *face) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-ClickHouse-Server-Display-Name", "chserver")
	w.Header().Set("X-ClickHouse-Timezone", f.server.TimeZone)
	if r.Method == http.MethodGet && r.URL.Path == "/" && r.URL.RawQuery == "" {
		ok(w, r)
		return
	}
	a := &answer{ResponseWriter: w}
	switch err := f.serve(a, r); {
	case err != nil && a.sent:
		a.fail(err)
	case err != nil:
		refuse(w, err)
	}
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
	sql, s, data, err := read(query.Get("query"), body)
	if err != nil {
		return err
	}
	if err := statement.Check(s); err != nil {
		return err
	}
	session, err := f.server.Open(cmp.Or(query.Get("database"), r.Header.Get("X-ClickHouse-Database")))
	if err != nil {
		return err
	}
	defer session.Close()
	settings, params := options(query)
	if r.Method != http.MethodPost && cmp.Or(settings["readonly"], "0") == "0" {
		settings["readonly"] = "2" // As ClickHouse does: a GET changes nothing.
	}
	id := cmp.Or(query.Get("query_id"), r.Header.Get("X-ClickHouse-Query-Id"), rand.Text())
	if err := session.Apply(id, settings); err != nil {
		return err
	}
	w.Header().Set("X-ClickHouse-Query-Id", id)
	defer watch(r, session)()
	if s.Insert != nil && data != nil {
		return insert(w, session, s, data, params)
	}
	if s.Insert != nil {
		s.Text = sql // Its data stands in it.
	}
	format := cmp.Or(s.Format, query.Get("default_format"), r.Header.Get("X-ClickHouse-Format"), "TabSeparated")
	if format == "Native" {
		// At revision 0, the engine's own, nothing is to be done.
		w.revision, _ = strconv.Atoi(query.Get("client_protocol_version"))
	}
	return run(w, session, s, format, params, query.Get("wait_end_of_query") == "1")
}

// read takes the statement from the parameter and the body behind it. The data
// of an INSERT is returned apart where it is not in the statement.
func read(parameter string, body io.Reader) (sql string, s statement.Statement, data io.Reader, err error) {
	if s = statement.Parse(parameter); s.Insert != nil && s.Format != "" {
		return parameter, s, body, nil
	}
	text, err := io.ReadAll(io.LimitReader(body, headBytes))
	if err == nil && len(text) == headBytes {
		if s = statement.Parse(string(text)); parameter == "" && s.Insert != nil && s.Format != "" {
			return "", s, body, nil
		}
		var rest []byte
		rest, err = io.ReadAll(io.LimitReader(body, maxStatementBytes))
		text = append(text, rest...)
	}
	if err != nil {
		return "", s, nil, fmt.Errorf("httpface: read the statement: %w", err)
	}
	if len(text) > maxStatementBytes {
		return "", s, nil, &engine.Error{Code: codeTooLarge, Message: fmt.Sprintf("a statement of over %d bytes. (QUERY_IS_TOO_LARGE)", maxStatementBytes)}
	}
	sql = string(text)
	if parameter != "" {
		sql = parameter + "\n" + sql
	}
	if s = statement.Parse(sql); s.Text == "" {
		return "", s, nil, &engine.Error{Code: 62, Message: "Syntax error: Empty query. (SYNTAX_ERROR)"}
	}
	return sql, s, nil, nil
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

// watch stops what the session runs when the client goes.
func watch(r *http.Request, session *statement.Session) (stop func()) {
	done := make(chan struct{})
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		select {
		case <-r.Context().Done():
			defer session.Kill()()
			<-done
		case <-done:
		}
	}()
	return func() { close(done); <-ended }
}

// run sends a statement's answer in a format, at once or once all of it is
// there.
func run(w *answer, session *statement.Session, s statement.Statement, format string, params []engine.Param, waitForEnd bool) error {
	w.Header().Set("X-ClickHouse-Format", format)
	w.Header().Set("Content-Type", contentType(format))
	if waitForEnd || !s.Streams() {
		return whole(w, session, s, format, params)
	}
	stream, err := session.Stream(s.Text, format, params...)
	if err != nil {
		return err
	}
	defer stream.Free()
	w.Header().Set("X-ClickHouse-Exception-Tag", w.tag())
	for {
		r, err := stream.Next()
		switch {
		case err != nil:
			return err
		case r == nil && !w.sent:
			return whole(w, session, s, format, params)
		case r == nil:
			return nil
		}
		if !w.sent {
			w.summary(r.Progress())
		}
		err = w.piece(r.Bytes())
		r.Free()
		if err != nil {
			stream.Cancel()
			return err
		}
	}
}

// whole runs a statement and sends its answer in one piece: also that of a
// SELECT which streamed nothing, for the frame that its format puts around no
// rows.
func whole(w *answer, session *statement.Session, s statement.Statement, format string, params []engine.Param) error {
	r, err := session.Query(s.Text, format, params...)
	if err != nil {
		return err
	}
	defer r.Free()
	w.summary(r.Progress())
	return w.piece(r.Bytes())
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
		n, err := fill(data, chunk)
		if err != nil && !errors.Is(err, io.EOF) { // Half a body is no INSERT.
			target.Cancel()
			return fmt.Errorf("httpface: read the data: %w", err)
		}
		failed = target.Append(chunk[:n])
		if err != nil {
			break
		}
	}
	progress, err := target.Done()
	if err == nil {
		err = failed
	}
	if err != nil {
		return err
	}
	w.summary(progress)
	return nil
}

// fill reads until p is full. Unlike io.ReadFull it leaves io.ErrUnexpectedEOF
// for a body that was cut off.
func fill(r io.Reader, p []byte) (n int, err error) {
	for n < len(p) && err == nil {
		var read int
		read, err = r.Read(p[n:])
		n += read
	}
	return n, err
}
