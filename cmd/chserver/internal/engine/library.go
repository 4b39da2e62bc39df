// Package engine binds libchdb, the ClickHouse engine as a library, without
// cgo. It is the only importer of purego.
//
// One process opens one data directory; connections to it are cheap and run in
// parallel, while one connection runs one statement at a time.
package engine

import (
	"fmt"
	"runtime"
	"unsafe"

	"github.com/ebitengine/purego"
)

// The C functions of libchdb 26.7. Strings are passed with their lengths.
var lib struct {
	connect      func(argc int32, argv unsafe.Pointer) unsafe.Pointer
	closeConn    func(conn unsafe.Pointer)
	query        func(conn, sql unsafe.Pointer, sqlLen uintptr, format unsafe.Pointer, formatLen uintptr, names, nameLens, values, valueLens unsafe.Pointer, n uintptr) unsafe.Pointer
	stream       func(conn, sql unsafe.Pointer, sqlLen uintptr, format unsafe.Pointer, formatLen uintptr, names, nameLens, values, valueLens unsafe.Pointer, n uintptr) unsafe.Pointer
	fetch        func(conn, stream unsafe.Pointer) unsafe.Pointer
	cancel       func(conn, stream unsafe.Pointer)
	destroy      func(result unsafe.Pointer)
	buffer       func(result unsafe.Pointer) unsafe.Pointer
	length       func(result unsafe.Pointer) uintptr
	errorText    func(result unsafe.Pointer) unsafe.Pointer
	rowsRead     func(result unsafe.Pointer) uint64
	bytesRead    func(result unsafe.Pointer) uint64
	rowsWritten  func(result unsafe.Pointer) uint64
	bytesWritten func(result unsafe.Pointer) uint64
	insert       func(conn, sql unsafe.Pointer, sqlLen uintptr, format unsafe.Pointer, formatLen uintptr, names, nameLens, values, valueLens unsafe.Pointer, n uintptr) unsafe.Pointer
	appendData   func(insert, data unsafe.Pointer, n uintptr) int32
	insertDone   func(insert unsafe.Pointer) unsafe.Pointer
	insertCancel func(insert unsafe.Pointer)
	insertError  func(insert unsafe.Pointer) unsafe.Pointer
	insertFree   func(insert unsafe.Pointer)
	signals      func(on int32)
}

// Load loads the library. It is called once, before anything else.
func Load(path string) error {
	handle, err := purego.Dlopen(path, purego.RTLD_NOW|purego.RTLD_LOCAL)
	if err != nil {
		return fmt.Errorf("engine: load %s: %w", path, err)
	}
	for name, function := range map[string]any{
		"chdb_connect": &lib.connect, "chdb_close_conn": &lib.closeConn,
		"chdb_query_with_params_n": &lib.query, "chdb_stream_query_with_params_n": &lib.stream,
		"chdb_stream_fetch_result": &lib.fetch, "chdb_stream_cancel_query": &lib.cancel, "chdb_destroy_query_result": &lib.destroy,
		"chdb_result_buffer": &lib.buffer, "chdb_result_length": &lib.length, "chdb_result_error": &lib.errorText,
		"chdb_result_storage_rows_read": &lib.rowsRead, "chdb_result_storage_bytes_read": &lib.bytesRead,
		"chdb_result_rows_written": &lib.rowsWritten, "chdb_result_bytes_written": &lib.bytesWritten,
		"chdb_stream_insert_with_params_n": &lib.insert, "chdb_stream_append": &lib.appendData, "chdb_stream_done": &lib.insertDone,
		"chdb_stream_cancel_insert": &lib.insertCancel, "chdb_stream_insert_error": &lib.insertError, "chdb_destroy_insert_stream": &lib.insertFree,
		"chdb_set_signal_handlers_enabled": &lib.signals,
	} {
		if _, err := purego.Dlsym(handle, name); err != nil {
			return fmt.Errorf("engine: %s is another version: %w", path, err)
		}
		purego.RegisterLibFunc(function, handle, name)
	}
	lib.signals(0) // Signals are this process's.
	return nil
}

// text copies a C string.
func text(p unsafe.Pointer) string {
	if p == nil {
		return ""
	}
	n := 0
	for *(*byte)(unsafe.Add(p, n)) != 0 {
		n++
	}
	return string(unsafe.Slice((*byte)(p), n))
}

// A Param is a query parameter, {name:Type} in the statement.
type Param struct{ Name, Value string }

// arguments hold what a call passes to C, pinned until release.
type arguments struct {
	pinner            runtime.Pinner
	sql, format       unsafe.Pointer
	sqlLen, formatLen uintptr
	names, values     []unsafe.Pointer
	nameLens, lens    []uintptr
}

func newArguments(sql, format string, params []Param) *arguments {
	a := new(arguments)
	a.sql, a.sqlLen = a.pin(sql)
	a.format, a.formatLen = a.pin(format)
	for _, p := range params {
		name, nameLen := a.pin(p.Name)
		value, valueLen := a.pin(p.Value)
		a.names, a.nameLens = append(a.names, name), append(a.nameLens, nameLen)
		a.values, a.lens = append(a.values, value), append(a.lens, valueLen)
	}
	return a
}

// pin gives C a copy of a string with a NUL behind it.
func (a *arguments) pin(s string) (unsafe.Pointer, uintptr) {
	b := append([]byte(s), 0)
	a.pinner.Pin(&b[0])
	return unsafe.Pointer(&b[0]), uintptr(len(s))
}

func (a *arguments) release() { a.pinner.Unpin() }

func first[T any](s []T) unsafe.Pointer { return unsafe.Pointer(unsafe.SliceData(s)) }
