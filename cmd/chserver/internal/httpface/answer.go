package httpface

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/tintype/tintype/cmd/chserver/internal/engine"
	"github.com/tintype/tintype/cmd/chserver/internal/statement"
	"github.com/tintype/tintype/cmd/chserver/internal/wire"
)

// answer notices whether something was sent already.
type answer struct {
	http.ResponseWriter
	sent bool
	mark string
	// revision is the protocol's that the client wants Native blocks in.
	revision int
}

// piece sends a part of the answer, as the engine wrote it.
func (a *answer) piece(data []byte) error {
	if a.revision > 0 {
		var out []byte
		for block, err := range wire.Blocks(data) {
			if err != nil {
				return statement.NotImplemented(err.Error())
			}
			out = block.Append(out, min(a.revision, wire.Revision))
		}
		data = out
	}
	_, err := a.Write(data)
	return err
}

// Write implements io.Writer.
func (a *answer) Write(p []byte) (int, error) {
	a.sent = true
	return a.ResponseWriter.Write(p)
}

// summary tells what the statement read and wrote so far.
func (a *answer) summary(p engine.Progress) {
	a.Header().Set("X-ClickHouse-Summary", fmt.Sprintf(`{"read_rows":"%d","read_bytes":"%d","written_rows":"%d","written_bytes":"%d"}`, p.Rows, p.Bytes, p.WrittenRows, p.WrittenBytes))
}

// tag is the word of 16 letters by which a client tells an error within the
// answer from data.
func (a *answer) tag() string {
	if a.mark == "" {
		a.mark = strings.ToLower(rand.Text()[:16])
	}
	return a.mark
}

// fail ends an answer whose status is out: the error is the last that is sent,
// in ClickHouse's frame, and the connection breaks, so that a client which does
// not look for it knows too.
func (a *answer) fail(err error) {
	text := asException(err).Error()
	_, _ = fmt.Fprintf(a, "\r\n__exception__\r\n%s\r\n%s\r\n%d %s\r\n__exception__\r\n", a.tag(), text, len(text), a.tag())
	_ = http.NewResponseController(a.ResponseWriter).Flush() // To a client that hung up there is nothing to tell.
	panic(http.ErrAbortHandler)
}

func asException(err error) *engine.Error {
	var e *engine.Error
	if !errors.As(err, &e) {
		e = &engine.Error{Code: 1002, Message: err.Error()}
	}
	return e
}

// refuse tells of an error by status, header and text.
func refuse(w http.ResponseWriter, err error) {
	e := asException(err)
	w.Header().Set("X-ClickHouse-Exception-Code", strconv.Itoa(int(e.Code)))
	w.Header().Set("Content-Type", "text/plain; charset=UTF-8")
	w.WriteHeader(status(e.Code))
	_, _ = fmt.Fprintln(w, e.Error()) // A client that hung up has lost nothing.
}

// status is what ClickHouse answers, by its exceptionCodeToHTTPStatus.cpp.
func status(code int32) int {
	switch code {
	case 194: // REQUIRED_PASSWORD
		return http.StatusUnauthorized
	case 192, 193, 497, 512, 516:
		return http.StatusForbidden
	case 46, 47, 50, 56, 60, 63, 73, 78, 81, 115, 152, 336, 511:
		return http.StatusNotFound
	case 6, 8, 15, 25, 26, 27, 36, 37, 38, 41, 44, 53, 62, 72, 117, 123, 167, 168, 223, 321, 376, 427, 441, 675, 676:
		return http.StatusBadRequest
	case codeTooLarge:
		return http.StatusRequestEntityTooLarge
	case 48:
		return http.StatusNotImplemented
	case 159:
		return http.StatusRequestTimeout
	}
	return http.StatusInternalServerError
}

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
