package load

import (
	"fmt"
	"testing"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
)

// benchParts is in how many parts the rows of the benchmark lie.
const benchParts = 20

// fillWindows writes 1M rows: 250,000 windows of five aggregates over 200 minutes,
// with four revisions each, in the order in which they are shown.
func fillWindows(b *testing.B, conn driver.Conn) {
	b.Helper()
	exec := func(statement string) {
		if err := conn.Exec(b.Context(), statement); err != nil {
			b.Fatal(err)
		}
	}
	exec("SYSTEM STOP MERGES windows")
	for part := range benchParts {
		exec(fmt.Sprintf(`INSERT INTO windows SELECT
				aggregate, splitByChar('-', aggregate)[1] AS kind, multiIf(aggregate LIKE '%%-10s-%%', 10000, kind = 'tumbling', 60000, kind = 'hopping', 300000, 0) AS size_ms,
				multiIf(kind = 'hopping', 60000, size_ms), if(kind = 'session', 300000, 0), 30000, splitByChar('-', aggregate)[-1] AS dimension,
				if(dimension = 'all', '', concat('user-', toString(n %% 1000))) AS key,
				toDateTime64('2026-05-04 00:00:00', 3, 'UTC') + toIntervalMillisecond(at) AS window_start,
				window_start + toIntervalMillisecond(if(kind = 'session', 60000 + n %% 100000, size_ms)) AS window_end,
				revision, revision = 4, kind = 'session' AND revision = 4 AND n %% 10 = 0, 10 * revision + n %% 7, 1000000 * revision + n %% 1000,
				if(revision = 4, 1000, NULL), 12000000 * revision, 1000, 900000, if(dimension = 'all', 3 * revision, NULL), 10.5 + n %% 13, 50.25 + n %% 17, 99.125 + n %% 19,
				window_end + toIntervalSecond(revision), now64(3), toUUID('%s'), cityHash64(key) %% 4, 4 * n + revision, now64(3) + 3600
			FROM (SELECT number AS n,
				multiIf(n < 200000, 'tumbling-1m-uploader', n < 200200, 'tumbling-1m-all', n < 201400, 'tumbling-10s-all', n < 201600, 'hopping-5m-1m-all', 'session-5m-uploader') AS aggregate,
				multiIf(n < 200000, 60000 * intDiv(n, 1000), n < 200200, 60000 * (n - 200000), n < 201400, 10000 * (n - 200200), n < 201600, 60000 * (n - 201400), 247 * (n - 201600)) AS at,
				arrayJoin([1, 2, 3, 4]) AS revision
				FROM numbers(250000)) WHERE intDiv(at, %d) = %d`, resultsID, 200*60_000/benchParts, part))
	}
	if n := count(b, conn, "SELECT count() FROM windows"); n != 1_000_000 {
		b.Fatalf("%d rows", n)
	}
}

// BenchmarkLatest asks the view what dashboards ask.
func BenchmarkLatest(b *testing.B) {
	conn := fresh(b)
	fillWindows(b, conn)
	const hour = " AND window_start >= '2026-05-04 02:20:00' AND window_start < '2026-05-04 03:20:00'"
	queries := []struct{ name, sql string }{
		{"hour", "SELECT window_start, count, bytes_in, uploaders, latency_ms_p95 FROM windows_latest WHERE aggregate = 'tumbling-1m-all'" + hour + " ORDER BY window_start"},
		{"hour-of-all-keys", "SELECT window_start, sum(count), sum(bytes_in) FROM windows_latest WHERE aggregate = 'tumbling-1m-uploader'" + hour + " GROUP BY window_start ORDER BY window_start"},
		{"key", "SELECT window_start, count, bytes_in FROM windows_latest WHERE aggregate = 'tumbling-1m-uploader' AND key = 'user-77' ORDER BY window_start"},
		{"top-keys", "SELECT key, sum(count) AS n FROM windows_latest WHERE aggregate = 'tumbling-1m-uploader'" + hour + " GROUP BY key ORDER BY n DESC, key LIMIT 10"},
		{"sessions", "SELECT key, window_start, window_end, count FROM windows_latest WHERE aggregate = 'session-5m-uploader' ORDER BY window_end DESC LIMIT 20"},
		{"count", "SELECT count() FROM windows_latest"},
	}
	for _, how := range []string{"parts", "merged"} {
		if how == "merged" {
			for _, statement := range []string{"SYSTEM START MERGES windows", "OPTIMIZE TABLE windows FINAL"} {
				if err := conn.Exec(b.Context(), statement); err != nil {
					b.Fatal(err)
				}
			}
		}
		for _, q := range queries {
			b.Run(q.name+"/"+how, func(b *testing.B) {
				for b.Loop() {
					if n := count(b, conn, "SELECT count() FROM (SELECT ignore(*) AS i FROM ("+q.sql+")) WHERE i = 0"); n == 0 {
						b.Fatal("nothing was found")
					}
				}
			})
		}
	}
}
