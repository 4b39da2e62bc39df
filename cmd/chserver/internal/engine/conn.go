package engine

import (
	"errors"
	"fmt"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"unsafe"
)

// An Error is an exception of the engine.
type Error struct {
	Code int32
	// Message is the text behind "DB::Exception: ", its name included.
	Message string
}

// Error implements error in ClickHouse's own form.
func (e *Error) Error() string { return fmt.Sprintf("Code: %d. DB::Exception: %s", e.Code, e.Message) }

var exception = regexp.MustCompile(`(?s)Code: (\d+)\. DB::Exception: (.*)`)

// unknownException is ClickHouse's code for an error without one.
const unknownException = 1002

func parseError(s string) *Error {
	match := exception.FindStringSubmatch(s)
	if match == nil {
		return &Error{Code: unknownException, Message: s}
	}
	code, err := strconv.ParseInt(match[1], 10, 32)
	if err != nil {
		code = unknownException
	}
	return &Error{Code: int32(code), Message: strings.TrimSpace(match[2])}
}

// errNull is an answer that the library owes and does not give.
var errNull = errors.New("engine: the library returned nothing")

// A Conn runs one statement at a time.
type Conn struct {
	holder unsafe.Pointer // What close takes.
	conn   unsafe.Pointer // What everything else takes.
}

// Connect opens a connection; all connections of a process give the same
// arguments.
func Connect(args ...string) (*Conn, error) {
	var pinner runtime.Pinner
	defer pinner.Unpin()
	argv := make([]unsafe.Pointer, 0, len(args)+2)
	for _, arg := range append([]string{"clickhouse"}, args...) {
		b := append([]byte(arg), 0)
		pinner.Pin(&b[0])
		argv = append(argv, unsafe.Pointer(&b[0]))
	}
	argv = append(argv, nil)
	pinner.Pin(&argv[0])
	holder := lib.connect(int32(len(argv)-1), unsafe.Pointer(&argv[0]))
	if holder == nil {
		return nil, errors.New("engine: the data directory cannot be opened")
	}
	return &Conn{holder: holder, conn: *(*unsafe.Pointer)(holder)}, nil
}

// Close ends the connection.
func (c *Conn) Close() {
	if c.holder != nil {
		lib.closeConn(c.holder)
		c.holder, c.conn = nil, nil
	}
}

// A Result is a whole answer, or a piece of a streamed one. Free it.
type Result struct{ p unsafe.Pointer }

func newResult(p unsafe.Pointer) (*Result, error) {
	if p == nil {
		return nil, errNull
	}
	if message := text(lib.errorText(p)); message != "" {
		lib.destroy(p)
		return nil, parseError(message)
	}
	return &Result{p}, nil
}

// Bytes is the answer in the asked-for format; valid until Free.
func (r *Result) Bytes() []byte {
	n := lib.length(r.p)
	if n == 0 {
		return nil
	}
	return unsafe.Slice((*byte)(lib.buffer(r.p)), n)
}

// Progress is what a statement read and wrote.
type Progress struct{ Rows, Bytes, WrittenRows, WrittenBytes uint64 }

// Progress tells what the statement read and wrote for this result.
func (r *Result) Progress() Progress {
	return Progress{lib.rowsRead(r.p), lib.bytesRead(r.p), lib.rowsWritten(r.p), lib.bytesWritten(r.p)}
}

// Free gives the result's memory back.
func (r *Result) Free() {
	if r.p != nil {
		lib.destroy(r.p)
		r.p = nil
	}
}

// Query runs a statement and holds its whole answer.
func (c *Conn) Query(sql, format string, params ...Param) (*Result, error) {
	a := newArguments(sql, format, params)
	defer a.release()
	return newResult(lib.query(c.conn, a.sql, a.sqlLen, a.format, a.formatLen, first(a.names), first(a.nameLens), first(a.values), first(a.lens), uintptr(len(params))))
}

// Exec runs a statement whose answer does not matter.
func (c *Conn) Exec(sql string, params ...Param) error {
	r, err := c.Query(sql, "Null", params...)
	if err == nil {
		r.Free()
	}
	return err
}

// A Stream is an answer that comes piece by piece. Free it.
type Stream struct {
	c *Conn
	p unsafe.Pointer
}

// Stream begins to run a SELECT; the engine streams nothing else.
func (c *Conn) Stream(sql, format string, params ...Param) (*Stream, error) {
	a := newArguments(sql, format, params)
	defer a.release()
	r, err := newResult(lib.stream(c.conn, a.sql, a.sqlLen, a.format, a.formatLen, first(a.names), first(a.nameLens), first(a.values), first(a.lens), uintptr(len(params))))
	if err != nil {
		return nil, err
	}
	return &Stream{c: c, p: r.p}, nil
}

// Next returns the next piece, nil at the end.
func (s *Stream) Next() (*Result, error) {
	r, err := newResult(lib.fetch(s.c.conn, s.p))
	if err != nil {
		return nil, err
	}
	if lib.length(r.p) == 0 {
		r.Free()
		return nil, nil
	}
	return r, nil
}

// Cancel stops the statement.
func (s *Stream) Cancel() { lib.cancel(s.c.conn, s.p) }

// Free gives the stream's memory back.
func (s *Stream) Free() {
	if s.p != nil {
		lib.destroy(s.p)
		s.p = nil
	}
}

// An Insert takes data until Done or Cancel. Free it.
type Insert struct{ p unsafe.Pointer }

// Insert begins an INSERT; the statement has no FORMAT clause.
func (c *Conn) Insert(sql, format string, params ...Param) (*Insert, error) {
	a := newArguments(sql, format, params)
	defer a.release()
	p := lib.insert(c.conn, a.sql, a.sqlLen, a.format, a.formatLen, first(a.names), first(a.nameLens), first(a.values), first(a.lens), uintptr(len(params)))
	if p == nil {
		return nil, errNull
	}
	if message := text(lib.insertError(p)); message != "" {
		lib.insertFree(p)
		return nil, parseError(message)
	}
	return &Insert{p}, nil
}

// Append hands data over; the engine copies it.
func (i *Insert) Append(data []byte) error {
	if len(data) == 0 || lib.appendData(i.p, unsafe.Pointer(&data[0]), uintptr(len(data))) == 0 {
		return nil
	}
	if message := text(lib.insertError(i.p)); message != "" {
		return parseError(message)
	}
	return errNull
}

// Done inserts what was appended.
func (i *Insert) Done() (Progress, error) {
	r, err := newResult(lib.insertDone(i.p))
	if err != nil {
		return Progress{}, err
	}
	defer r.Free()
	return r.Progress(), nil
}

// Cancel drops what was appended.
func (i *Insert) Cancel() { lib.insertCancel(i.p) }

// Free gives the insert's memory back.
func (i *Insert) Free() {
	if i.p != nil {
		lib.insertFree(i.p)
		i.p = nil
	}
}
