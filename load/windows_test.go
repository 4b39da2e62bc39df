package load

import (
	"errors"
	"io/fs"
	"strings"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/google/uuid"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/database"

	"github.com/tintype/tintype/event"
	"github.com/tintype/tintype/event/eventpb"
)

var (
	resultsID = uuid.MustParse("00000000-0000-4000-8000-000000000004")
	lateID    = uuid.MustParse("00000000-0000-4000-8000-000000000005")
	ticksID   = uuid.MustParse("00000000-0000-4000-8000-000000000006")
)

// windowParts are partition 0 of the topics of windows, and of the others.
func windowParts() []Partition {
	return append(held(0), Partition{resultsID, 0}, Partition{lateID, 0}, Partition{ticksID, 0})
}

func windowLoader(t testing.TB, conn driver.Conn) *Loader {
	t.Helper()
	l := NewLoader(conn, Config{Group: "test"})
	if err := l.Assigned(t.Context(), windowParts()); err != nil {
		t.Fatal(err)
	}
	return l
}

// result is a revision of a window that begins some minutes after base.
func result(minute, revision int64, key string) *eventpb.WindowResult {
	start := base.Add(time.Duration(minute) * time.Minute).UnixMilli()
	return &eventpb.WindowResult{
		Aggregate: "tumbling-1m-uploader", Kind: "tumbling", SizeMs: 60_000, AdvanceMs: 60_000, GraceMs: 30_000, Dimension: "uploader", Key: key,
		WindowStartMs: start, WindowEndMs: start + 60_000, Revision: revision, Count: 10 * revision, BytesIn: new(100 * revision), EmittedAtMs: start + 61_000,
	}
}

// all is a revision of a window over all uploads.
func all(minute, revision int64) *eventpb.WindowResult {
	w := result(minute, revision, "")
	w.Aggregate, w.Dimension = "tumbling-1m-all", "all"
	w.BytesOut, w.Pixels, w.BytesInMin, w.BytesInMax, w.Uploaders = new(int64(7)), new(int64(8)), new(int64(0)), new(int64(9)), new(3+minute)
	w.LatencyMsP50, w.LatencyMsP95, w.LatencyMsP99 = new(1.5), new(20.26), new(3.5)
	return w
}

// session is a revision of a session of a key, from minute to minute.
func session(key string, from, to, revision int64) *eventpb.WindowResult {
	w := result(from, revision, key)
	w.Aggregate, w.Kind, w.SizeMs, w.AdvanceMs, w.GapMs = "session-5m-uploader", "session", 0, 0, 300_000
	w.WindowEndMs = base.Add(time.Duration(to) * time.Minute).UnixMilli()
	return w
}

func late(offset int64, aggregate, cause string) *eventpb.LateUpload {
	return &eventpb.LateUpload{Stamp: stamp(0, offset), Aggregate: aggregate, Dimension: "all", WindowStartMs: base.UnixMilli(), Cause: cause}
}

// taken fails where a record was refused.
func taken(t testing.TB, refusal *event.Refusal) {
	t.Helper()
	if refusal != nil {
		t.Errorf("refused: %v", refusal)
	}
}

func TestRowsOfWindows(t *testing.T) {
	conn := fresh(t)
	l := windowLoader(t, conn)
	taken(t, l.Window(at(resultsID, 0, 5), all(0, 1)))
	open := result(1, 2, "ada")
	open.BytesIn = nil
	taken(t, l.Window(at(resultsID, 0, 6), open))
	odd := session("bob", 0, 0, 1)
	odd.WindowStartMs, odd.WindowEndMs, odd.Final, odd.Retracted = -1<<62, 1<<62, true, true
	taken(t, l.Window(at(resultsID, 0, 7), odd))
	taken(t, l.Late(at(lateID, 0, 3), late(4, "tumbling-1m-all", "late")))
	taken(t, l.Tick(at(ticksID, 0, 1), &eventpb.Ticked{Stamp: stamp(0, 8)}))
	added(t, l, at(developedID, 0, 0), original(0, 0))
	added(t, l, at(developedID, 0, 1), duplicate(0, 1))
	_, letter := dead(0, 2)
	letter.Outcome = new(eventpb.Outcome_OUTCOME_ORIGINAL)
	l.DeadLetter(at(deadID, 0, 0), letter) // Of a refused original: its renditions are unknown.
	if n := l.Pending(); n != 11 {
		t.Errorf("%d rows are pending, want 11", n)
	}
	flushed(t, l)
	src := "src_topic_id = '" + uploadsID.String() + "' AND src_partition = 0 AND src_offset = "
	for query, want := range map[string]uint64{
		`SELECT count() FROM windows WHERE aggregate = 'tumbling-1m-all' AND kind = 'tumbling' AND size_ms = 60000 AND advance_ms = 60000 AND gap_ms = 0 AND grace_ms = 30000
			AND dimension = 'all' AND key = '' AND window_start = '2026-05-04 03:02:00' AND window_end = '2026-05-04 03:03:00' AND revision = 1 AND NOT final AND NOT retracted
			AND count = 10 AND bytes_in = 100 AND bytes_out = 7 AND pixels = 8 AND bytes_in_min = 0 AND bytes_in_max = 9 AND uploaders = 3 AND latency_ms_p50 = 1.5
			AND latency_ms_p95 = 20.26 AND latency_ms_p99 = 3.5 AND emitted_at = '2026-05-04 03:03:01' AND load_topic_id = '` + resultsID.String() + `' AND load_offset = 5
			AND load_lease > loaded_at`: 1,
		`SELECT count() FROM windows WHERE key = 'ada' AND revision = 2 AND bytes_in IS NULL AND bytes_out IS NULL AND pixels IS NULL AND bytes_in_min IS NULL
			AND bytes_in_max IS NULL AND uploaders IS NULL AND latency_ms_p50 IS NULL AND latency_ms_p95 IS NULL AND latency_ms_p99 IS NULL`: 1,
		`SELECT count() FROM windows WHERE kind = 'session' AND gap_ms = 300000 AND final AND retracted AND toYear(window_start) = 1900 AND window_end = '2262-04-11 23:47:16.854'`: 1,
		`SELECT count() FROM late_uploads WHERE aggregate = 'tumbling-1m-all' AND dimension = 'all' AND key = '' AND cause = 'late' AND window_start = '2026-05-04 03:02:00'
			AND event_time = '2026-05-04 03:02:40' AND stream_time = event_time AND load_offset = 3 AND ` + src + `4`: 1,
		`SELECT count() FROM ticks WHERE event_time = '2026-05-04 03:03:20' AND load_offset = 1 AND ` + src + `8`:                    1,
		`SELECT count() FROM uploads WHERE outcome = 'original' AND bytes_out = 59`:                                                  1,
		`SELECT count() FROM uploads WHERE bytes_out IS NULL AND (outcome = 'duplicate' OR (outcome = 'original' AND ` + src + `2))`: 2,
	} {
		if n := count(t, conn, query); n != want {
			t.Errorf("%d rows, want %d: %s", n, want, query)
		}
	}
}

// Each table of windows has a watermark of its own, as the others have.
func TestWatermarksOfWindows(t *testing.T) {
	conn := fresh(t)
	for _, name := range []string{"windows", "late_uploads", "ticks"} {
		if err := conn.Exec(t.Context(), "SYSTEM STOP MERGES "+name); err != nil {
			t.Fatal(err)
		}
	}
	l := windowLoader(t, conn)
	add := func() {
		for o := range int64(3) {
			taken(t, l.Window(at(resultsID, 0, o), all(0, o+1)))
			taken(t, l.Late(at(lateID, 0, o), late(o, "tumbling-1m-all", "late")))
			taken(t, l.Tick(at(ticksID, 0, o), &eventpb.Ticked{Stamp: stamp(0, o)}))
		}
	}
	add()
	l.lateUploads.rows = nil // Killed between two tables.
	flushed(t, l)
	for range 2 {
		if err := l.Assigned(t.Context(), windowParts()); err != nil {
			t.Fatal(err)
		}
		add()
		flushed(t, l)
	}
	for _, name := range []string{"windows", "late_uploads", "ticks"} {
		if n := count(t, conn, "SELECT count() FROM "+name); n != 3 {
			t.Errorf("%d rows in %s, want 3 without FINAL", n, name)
		}
	}
}

// The view shows the newest revision of each window, whatever order and parts the
// revisions came in, and no window that is no more.
func TestLatestWindows(t *testing.T) {
	conn := fresh(t)
	if err := conn.Exec(t.Context(), "SYSTEM STOP MERGES windows"); err != nil {
		t.Fatal(err)
	}
	l := windowLoader(t, conn)
	final := all(0, 3)
	final.Final = true
	gone := session("bob", 0, 2, 2)
	gone.Retracted = true
	for i, w := range []*eventpb.WindowResult{
		all(0, 2), final, all(0, 1), all(1, 1), result(0, 1, "ada"), result(0, 2, "ada"), result(0, 1, "bob"),
		session("bob", 0, 2, 1), session("bob", 0, 4, 3), gone, session("ada", 1, 1, 1),
	} {
		taken(t, l.Window(at(resultsID, 0, int64(i)), w))
		if i%2 == 0 { // Several parts.
			flushed(t, l)
		}
	}
	flushed(t, l)
	for _, merged := range []bool{false, true} {
		if merged {
			if err := errors.Join(conn.Exec(t.Context(), "SYSTEM START MERGES windows"), conn.Exec(t.Context(), "OPTIMIZE TABLE windows FINAL")); err != nil {
				t.Fatal(err)
			}
		}
		want := strings.Join([]string{
			"('tumbling-1m-uploader','bob',1,false,10,0)", "('tumbling-1m-uploader','ada',2,false,20,0)",
			"('tumbling-1m-all','',1,false,10,1)", "('tumbling-1m-all','',3,true,30,0)",
			"('session-5m-uploader','bob',3,false,30,0)", "('session-5m-uploader','ada',1,false,10,1)", "",
		}, "\n")
		columns := "SELECT aggregate, key, revision, final, count, date_diff('minute', toDateTime64('2026-05-04 03:02:00', 3, 'UTC'), window_start) AS minute FROM windows_latest"
		if got := text(t, conn, columns+" ORDER BY aggregate DESC, key DESC, minute DESC"); got != want {
			t.Errorf("merged %v: got\n%s\nwant\n%s", merged, got, want)
		}
		for query, want := range map[string]uint64{
			"SELECT count() FROM windows_latest":                                                            6,
			"SELECT count() FROM windows":                                                                   11,
			"SELECT count() FROM windows_latest WHERE revision = 2":                                         1, // A condition on what a revision says comes after the choice.
			"SELECT count() FROM windows_latest WHERE NOT final":                                            5,
			"SELECT count() FROM windows_latest WHERE count = 20":                                           1,
			"SELECT sum(count) FROM windows_latest WHERE key = 'bob' AND aggregate = 'session-5m-uploader'": 30,
		} {
			if n := count(t, conn, query); n != want {
				t.Errorf("merged %v: %d, want %d: %s", merged, n, want, query)
			}
		}
	}
}

// Dashboards ask for an aggregate and a range, or for a key: the view reads no more
// of the table than that, backwards and without sorting.
func TestLatestWindowsReadNoMoreThanAsked(t *testing.T) {
	conn := fresh(t)
	l := windowLoader(t, conn)
	taken(t, l.Window(at(resultsID, 0, 0), all(0, 1)))
	flushed(t, l)
	for _, where := range []string{
		"aggregate = 'tumbling-1m-all' AND window_start >= '2026-05-04 03:00:00'", "aggregate = 'tumbling-1m-uploader' AND key = 'ada'",
	} {
		plan := text(t, conn, "EXPLAIN indexes = 1, actions = 1 SELECT window_start, count FROM windows_latest WHERE "+where)
		keys := plan[strings.Index(plan, "PrimaryKey"):]
		for _, column := range []string{"aggregate", strings.Fields(strings.SplitN(where, "AND ", 2)[1])[0]} {
			if !strings.Contains(keys, column) {
				t.Errorf("%s: the index does not know %s:\n%s", where, column, plan)
			}
		}
		if !strings.Contains(plan, "InReverseOrder") {
			t.Errorf("%s: the table is not read in its order:\n%s", where, plan)
		}
	}
}

// What a constraint refuses becomes a dead letter of its own, which names the
// table; everything around it is inserted.
func TestRefusedWindows(t *testing.T) {
	conn := fresh(t)
	if err := errors.Join(
		conn.Exec(t.Context(), "ALTER TABLE windows ADD CONSTRAINT few CHECK count < 100"),
		conn.Exec(t.Context(), "ALTER TABLE late_uploads ADD CONSTRAINT known CHECK cause != 'odd'"),
		conn.Exec(t.Context(), "ALTER TABLE ticks ADD CONSTRAINT young CHECK src_offset < 2"),
	); err != nil {
		t.Fatal(err)
	}
	l := windowLoader(t, conn)
	// Each topic is read on from where it was committed; refusals are those of one turn.
	parts, read, n := windowParts()[2:], make([]int64, 3), int64(6)
	letters := []string{}
	for turn := 0; read[0] < n || read[1] < n || read[2] < n; turn++ {
		if turn > 20 {
			t.Fatalf("no end: read %v, refused %v", read, l.refused)
		}
		if err := l.Assigned(t.Context(), windowParts()); err != nil {
			t.Fatal(err)
		}
		ends, found := make([]int64, 3), []string{}
		for i, p := range parts {
			ends[i] = n
			if last, ok := l.EndWith(p); ok {
				ends[i] = last + 1
			}
			for o := read[i]; o < ends[i]; o++ {
				var refusal *event.Refusal
				switch i {
				case 0:
					w := all(o, 1)
					w.Count = 98 + o%4
					refusal = l.Window(at(p.TopicID, 0, o), w)
				case 1:
					refusal = l.Late(at(p.TopicID, 0, o), late(o, "tumbling-1m-all", map[bool]string{true: "odd", false: "late"}[o == 3]))
				case 2:
					refusal = l.Tick(at(p.TopicID, 0, o), &eventpb.Ticked{Stamp: stamp(0, o)})
				}
				if refusal != nil {
					if refusal.Reason != event.ReasonRefusedBySink {
						t.Errorf("refused: %v", refusal)
					}
					letters, found = append(letters, refusal.Detail), append(found, refusal.Detail)
				}
			}
		}
		if l.Flush(t.Context()) != nil {
			letters = letters[:len(letters)-len(found)]
			continue
		}
		copy(read, ends)
		l.Committed()
	}
	for table, want := range map[string][2]int{"windows": {4, 2}, "late_uploads": {5, 1}, "ticks": {2, 4}} {
		told := 0
		for _, detail := range letters {
			if strings.HasPrefix(detail, table+": Constraint `") {
				told++
			}
		}
		if rows := count(t, conn, "SELECT count() FROM "+table); int(rows) != want[0] || told != want[1] {
			t.Errorf("%s: %d rows and %d dead letters, want %v; %q", table, rows, told, want, letters)
		}
	}
}

// A column that somebody has added takes its default: it is no refusal.
func TestAColumnThatWasAdded(t *testing.T) {
	conn := fresh(t)
	for _, statement := range []string{
		"ALTER TABLE windows ADD COLUMN note String DEFAULT concat('of ', aggregate)", "ALTER TABLE uploads ADD COLUMN tenant LowCardinality(String) AFTER uploader",
	} {
		if err := conn.Exec(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	l := windowLoader(t, conn)
	taken(t, l.Window(at(resultsID, 0, 0), all(0, 1)))
	added(t, l, at(developedID, 0, 0), original(0, 0))
	flushed(t, l)
	if n := count(t, conn, "SELECT count() FROM windows WHERE note = 'of tumbling-1m-all'"); n != 1 {
		t.Error("the default was not taken")
	}
}

// Going down takes the tables of windows away and leaves the rows of uploads; going
// up again brings them back.
func TestWindowsDownAndUp(t *testing.T) {
	conn, options := freshOptions(t)
	l := windowLoader(t, conn)
	added(t, l, at(developedID, 0, 0), original(0, 0))
	flushed(t, l)
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		t.Fatal(err)
	}
	db := clickhouse.OpenDB(options)
	provider, err := goose.NewProvider(database.DialectClickHouse, db, files)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := provider.DownTo(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if n := count(t, conn, "SELECT count() FROM system.tables WHERE database = currentDatabase() AND name IN ('windows', 'windows_latest', 'late_uploads')"); n != 0 {
		t.Errorf("%d tables are left", n)
	}
	if err := CheckSchema(t.Context(), conn); err == nil || !strings.Contains(err.Error(), "version 2") {
		t.Errorf("an older schema passed: %v", err)
	}
	if err := errors.Join(Migrate(t.Context(), options), CheckSchema(t.Context(), conn)); err != nil {
		t.Fatal(err)
	}
	if n := count(t, conn, "SELECT count() FROM uploads WHERE bytes_out IS NULL AND bytes = 1000"); n != 1 {
		t.Error("the row of uploads did not survive")
	}
	for _, setting := range []string{"0", "1, force_optimize_projection = 1"} {
		query := "SELECT sum(n) FROM (SELECT toStartOfMinute(event_time), outcome, count() AS n, sum(bytes) FROM uploads GROUP BY toStartOfMinute(event_time), outcome) SETTINGS optimize_use_projections = " + setting
		if n := count(t, conn, query); n != 1 {
			t.Errorf("%d: %s", n, query)
		}
	}
}
