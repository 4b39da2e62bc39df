package chaos

import (
	"strings"
	"testing"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/google/uuid"

	"github.com/tintype/tintype/internal/chaos/windowcount"
	"github.com/tintype/tintype/internal/devstack/devtest"
)

// windowTables is what the count asks of the tables, a row each.
const windowTables = `
CREATE TABLE windows (aggregate String, key String, window_start DateTime64(3, 'UTC'), window_end DateTime64(3, 'UTC'), revision UInt64, final Bool, count UInt64, uploaders Nullable(UInt64)) ENGINE = MergeTree ORDER BY aggregate;
CREATE VIEW windows_latest AS SELECT * FROM windows ORDER BY revision DESC LIMIT 1 BY aggregate, key, window_start, window_end;
CREATE TABLE late_uploads (aggregate String, key String, window_start DateTime64(3, 'UTC'), cause String, event_time DateTime64(3, 'UTC'), stream_time DateTime64(3, 'UTC'),
	src_topic_id UUID, src_partition Int32, src_offset Int64) ENGINE = MergeTree ORDER BY aggregate;
CREATE TABLE ticks (src_topic_id UUID, src_partition Int32, src_offset Int64) ENGINE = MergeTree ORDER BY src_offset`

// Each difference between the tables and the count by hand is counted as what it is.
func TestWindowsThatDiffer(t *testing.T) {
	topic := uuid.New()
	var log []windowcount.Record
	for offset, at := range []int64{1_000, 2_500, 20_000, 3_000, 40_000} { // The fourth is late for some.
		log = append(log, windowcount.Record{Topic: topic, Offset: int64(offset), AppendedMS: at, ClaimedMS: &at, Uploader: "ann"})
	}
	byHand := windowcount.Of(log, aggregates, 1, maxAhead.Milliseconds())
	if len(byHand.Late) == 0 {
		t.Fatal("nothing is late")
	}
	// The tables are the same for all cases, and the changes are taken back.
	conn := openDatabase(t)
	exec := func(statement string, args ...any) {
		t.Helper()
		if err := conn.Exec(t.Context(), statement, args...); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
	for statement := range strings.SplitSeq(windowTables, ";") {
		exec(statement)
	}
	fill := func() {
		for _, table := range []string{"windows", "late_uploads", "ticks"} {
			exec("TRUNCATE TABLE " + table)
		}
		const window = "INSERT INTO windows VALUES (?, ?, fromUnixTimestamp64Milli(?), fromUnixTimestamp64Milli(?), ?, ?, ?, ?)"
		for w, totals := range byHand.Windows {
			exec(window, w.Aggregate, w.Key, w.Start, w.End, totals.Count, false, totals.Count, totals.Uploaders)
			exec(window, w.Aggregate, w.Key, w.Start, w.End, totals.Count+1, true, totals.Count, totals.Uploaders)
		}
		for l := range byHand.Late {
			exec("INSERT INTO late_uploads VALUES (?, ?, fromUnixTimestamp64Milli(?), 'late', 0, 0, ?, ?, ?)", l.Aggregate, l.Key, l.Start, l.Topic, l.Partition, l.Offset)
		}
		exec("INSERT INTO ticks VALUES (?, 0, 9)", topic)
	}
	n := len(byHand.Windows)
	const first = "tumbling-2s-all"
	for name, c := range map[string]struct {
		statement string
		want      WindowsCount
	}{
		"nothing":          {"SELECT 1", WindowsCount{}},
		"a final is gone":  {"DELETE FROM windows WHERE final AND aggregate = '" + first + "' AND window_start = fromUnixTimestamp64Milli(0)", WindowsCount{Missing: 1, Open: 1}},
		"all are gone":     {"TRUNCATE TABLE windows", WindowsCount{Missing: n}},
		"another count":    {"INSERT INTO windows SELECT * REPLACE (count + 1 AS count, revision + 1 AS revision) FROM windows WHERE final AND aggregate = '" + first + "' AND window_start = fromUnixTimestamp64Milli(0)", WindowsCount{Wrong: 1}},
		"other uploaders":  {"INSERT INTO windows SELECT * REPLACE (7 AS uploaders, revision + 1 AS revision) FROM windows WHERE final AND aggregate = '" + first + "' AND window_start = fromUnixTimestamp64Milli(0)", WindowsCount{Wrong: 1}},
		"one too many":     {"INSERT INTO windows SELECT * REPLACE (fromUnixTimestamp64Milli(6000) AS window_end) FROM windows WHERE final AND aggregate = '" + first + "' AND window_start = fromUnixTimestamp64Milli(0)", WindowsCount{Invented: 1}},
		"a row twice":      {"INSERT INTO windows SELECT * FROM windows WHERE final AND aggregate = '" + first + "' AND window_start = fromUnixTimestamp64Milli(0)", WindowsCount{Twice: 1}},
		"none is late":     {"TRUNCATE TABLE late_uploads", WindowsCount{LateMissing: len(byHand.Late)}},
		"a tick twice":     {"INSERT INTO ticks SELECT * FROM ticks", WindowsCount{Twice: 1}},
		"late, and is not": {"INSERT INTO late_uploads SELECT * REPLACE (4 AS src_offset) FROM late_uploads LIMIT 1", WindowsCount{LateInvented: 1}},
		"closed":           {"INSERT INTO late_uploads SELECT * REPLACE (4 AS src_offset, 'closed' AS cause) FROM late_uploads LIMIT 1", WindowsCount{LeftOut: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			fill()
			exec(c.statement)
			if name == "nothing" {
				if err := awaitClosed(t.Context(), conn, n, len(byHand.Late)); err != nil {
					t.Error(err)
				}
			}
			got := &WindowsCount{Windows: n}
			for _, compare := range []func() error{
				func() error { return got.compareFinals(t.Context(), conn, byHand) },
				func() error { return got.compareLate(t.Context(), conn, byHand) },
				func() error { return got.compareRest(t.Context(), conn) },
			} {
				if err := compare(); err != nil {
					t.Fatal(err)
				}
			}
			differs := len(got.Examples) > 0 || got.Twice > 0
			failures := len(got.failures())
			got.Examples, c.want.Windows, c.want.Examples = nil, n, nil
			if want := c.want; got.Missing != want.Missing || got.Wrong != want.Wrong || got.Invented != want.Invented || got.Open != want.Open || got.Twice != want.Twice ||
				got.LateMissing != want.LateMissing || got.LateInvented != want.LateInvented || got.LeftOut != want.LeftOut {
				t.Errorf("%+v, want %+v", *got, want)
			}
			if bad := name != "nothing"; differs != bad || (failures > 0) != bad {
				t.Errorf("it is told with %d failures, and examples: %v", failures, differs)
			}
		})
	}
}

// openDatabase makes a database of this test's own.
func openDatabase(t *testing.T) driver.Conn {
	t.Helper()
	options, err := clickhouse.ParseDSN(devtest.Database(t, "windows_that_differ"))
	if err != nil {
		t.Fatal(err)
	}
	conn, err := clickhouse.Open(options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	})
	return conn
}
