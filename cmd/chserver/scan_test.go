package main

import (
	"errors"
	"runtime"
	"strconv"
	"sync"
	"testing"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
)

const million = 1_000_000

// scan reads a million numbered rows and calls visit with each one's text.
func scan(t *testing.T, conn driver.Conn, text string, visit func(n uint64, text string) bool) (progress uint64) {
	t.Helper()
	ctx := clickhouse.Context(within(t), clickhouse.WithProgress(func(p *clickhouse.Progress) { progress += p.Rows }))
	rows, err := conn.Query(ctx, "SELECT number, "+text+" FROM numbers("+strconv.Itoa(million)+")")
	if err != nil {
		t.Error(err)
		return 0
	}
	var want, got uint64
	for ; rows.Next(); want++ {
		var value string
		if err := rows.Scan(&got, &value); err != nil || got != want || !visit(got, value) {
			t.Errorf("row %d: %d, %q, %v", want, got, value, err)
			break
		}
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil || want != million {
		t.Errorf("%d rows, %v", want, err)
	}
	return progress
}

// A million rows come whole and in order, over each way at once; over the native
// protocol progress is told too. The engine loses some of it when it streams, so
// that it is a lower bound.
func TestScanOfAMillionRows(t *testing.T) {
	server := start(t, t.TempDir(), "")
	var scans sync.WaitGroup
	for name, way := range ways(server) {
		var protocol clickhouse.Protocol
		conn := connect(t, server, "", way, func(o *clickhouse.Options) { protocol = o.Protocol })
		scans.Go(func() {
			progress := scan(t, conn, "toString(number)", func(n uint64, text string) bool { return text == strconv.FormatUint(n, 10) })
			if protocol == clickhouse.Native && (progress == 0 || progress > million) {
				t.Errorf("%s: the progress is %d rows", name, progress)
			}
		})
	}
	scans.Wait()
}

// A client holds some blocks of an answer, never all of it.
func TestScanIsStreamed(t *testing.T) {
	conn := connect(t, start(t, t.TempDir(), ""), "")
	const width, bound = 200, 64 << 20 // 200 MB come.
	scan(t, conn, "repeat('x', "+strconv.Itoa(width)+")", func(n uint64, text string) bool {
		if n%200_000 == 0 {
			var memory runtime.MemStats
			runtime.GC()
			if runtime.ReadMemStats(&memory); memory.HeapAlloc > bound {
				t.Errorf("at row %d the client holds %d bytes", n, memory.HeapAlloc)
			}
		}
		return len(text) == width
	})
}

// An answer of one row that is larger than the compressed frames is whole.
func TestLargeValue(t *testing.T) {
	server := start(t, t.TempDir(), "")
	const size = 5_000_000
	for name, way := range ways(server) {
		var value string
		var sum uint64
		err := connect(t, server, "", way).QueryRow(within(t), "SELECT repeat('0123456789', {n:UInt64}) AS v, length(v)", clickhouse.Named("n", size/10)).Scan(&value, &sum)
		if err != nil || len(value) != size || sum != size || value[size-10:] != "0123456789" {
			t.Errorf("%s: %d bytes, %d, %v", name, len(value), sum, err)
		}
	}
}
