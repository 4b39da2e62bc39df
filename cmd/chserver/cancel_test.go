package main

import (
	"bufio"
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
)

// Statements that would run for hours: one that answers all the time, one that
// answers at its end, and one that is not streamed.
const (
	talkative = "SELECT number, sleepEachRow(0.01) AS talkative FROM numbers(1000000) SETTINGS max_block_size = 10, function_sleep_max_microseconds_per_block = 0"
	silent    = "SELECT sum(sipHash64(number)) AS silent FROM numbers(1000000000000)"
	written   = "INSERT INTO FUNCTION null('n UInt64') SELECT sipHash64(number) AS written FROM numbers(1000000000000)"
)

// running is how many statements with a word run on the server.
func running(t *testing.T, conn driver.Conn, word string) uint64 {
	t.Helper()
	return number(t, conn, "SELECT count() FROM system.processes WHERE query LIKE '%"+word+"%' AND query NOT LIKE '%system.processes%'")
}

// await waits until something is so.
func await(t *testing.T, what string, so func() bool) {
	t.Helper()
	deadline, tick := time.After(patience), time.NewTicker(20*time.Millisecond)
	defer tick.Stop()
	for !so() {
		select {
		case <-deadline:
			t.Fatalf("waited in vain until %s", what)
		case <-tick.C:
		}
	}
}

// A statement whose context ends is stopped, and the next one is served.
func TestCancelledContext(t *testing.T) {
	server := start(t, t.TempDir(), "")
	conn, observer := connect(t, server, ""), connect(t, server, "")
	for word, sql := range map[string]string{"talkative": talkative, "silent": silent, "written": written} {
		ctx, cancel := context.WithCancel(within(t))
		ended := make(chan error, 1)
		go func() { ended <- conn.Exec(ctx, sql) }()
		await(t, word+" runs", func() bool { return running(t, observer, word) == 1 })
		cancel()
		if err := <-ended; err == nil {
			t.Errorf("%s: a cancelled statement succeeded", word)
		}
		if n := number(t, conn, "SELECT 7"); n != 7 {
			t.Errorf("after %s: %d", word, n)
		}
		await(t, word+" has ended", func() bool { return running(t, observer, word) == 0 })
	}
}

// A cancel that comes with the statement, before the engine knows of it, is not
// lost; it is told, and the connection goes on.
func TestCancelAtOnce(t *testing.T) {
	r := greet(t, start(t, t.TempDir(), ""))
	for range 20 {
		r.send(append(queryPacket(silent), 3))
		if got := r.reply(); got.code != 394 || !strings.Contains(got.message, "QUERY_WAS_CANCELLED") {
			t.Fatalf("a cancelled statement ended with %+v", got)
		}
		r.send(queryPacket("SELECT 7"))
		if got := r.reply(); got.code != 0 || got.rows != 1 {
			t.Fatalf("the next statement gave %+v", got)
		}
	}
}

// A client that hangs up needs no answer: what it asked for is stopped.
func TestClientGoesAway(t *testing.T) {
	server := start(t, t.TempDir(), "")
	observer := connect(t, server, "")
	for word, sql := range map[string]string{"talkative": talkative, "silent": silent, "written": written} {
		r := greet(t, server)
		r.send(queryPacket(sql))
		await(t, word+" runs", func() bool { return running(t, observer, word) == 1 })
		must(t, r.conn.Close())
		await(t, word+" has ended", func() bool { return running(t, observer, word) == 0 })

		ctx, cancel := context.WithCancel(within(t))
		request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+server.HTTP(), strings.NewReader(sql))
		must(t, err)
		ended := make(chan error, 1)
		go func() {
			response, err := http.DefaultClient.Do(request)
			if err == nil {
				_, err = bufio.NewReader(response.Body).WriteTo(discard{})
				_ = response.Body.Close() // It ends with the request.
			}
			ended <- err
		}()
		await(t, word+" runs over HTTP", func() bool { return running(t, observer, word) == 1 })
		cancel()
		if err := <-ended; err == nil {
			t.Errorf("%s: a cancelled request succeeded", word)
		}
		await(t, word+" has ended over HTTP", func() bool { return running(t, observer, word) == 0 })
	}
}

// discard is io.Discard without its ReadFrom.
type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }
