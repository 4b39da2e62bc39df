package load

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/google/uuid"
	"pgregory.net/rapid"

	"github.com/tintype/tintype/event"
	"github.com/tintype/tintype/event/eventpb"
	"github.com/tintype/tintype/internal/devstack/devtest"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func TestMain(m *testing.M) { os.Exit(devtest.Main(m)) }

// fresh makes a database of its own with the schema, and connects to it.
func fresh(t testing.TB) driver.Conn {
	t.Helper()
	conn, _ := freshOptions(t)
	return conn
}

func freshOptions(t testing.TB) (driver.Conn, *clickhouse.Options) {
	t.Helper()
	ctx := context.Background()
	options := &clickhouse.Options{Addr: []string{serverAddress(t)}}
	admin, err := Open(ctx, options)
	if err != nil {
		t.Fatal(err)
	}
	name := "t" + strings.ReplaceAll(uuid.NewString(), "-", "")
	if err := admin.Exec(ctx, "CREATE DATABASE "+name); err != nil {
		t.Fatal(err)
	}
	if err := admin.Close(); err != nil {
		t.Fatal(err)
	}
	options = &clickhouse.Options{Addr: options.Addr, Auth: clickhouse.Auth{Database: name}}
	if err := Migrate(ctx, options); err != nil {
		t.Fatal(err)
	}
	conn, err := Open(ctx, options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(conn.Exec(ctx, "DROP DATABASE "+name), conn.Close()); err != nil {
			t.Error(err)
		}
	})
	return conn, options
}

// serverAddress is the embedded engine, or a server that the environment names.
func serverAddress(t testing.TB) string {
	if address := os.Getenv("TINTYPE_TEST_CLICKHOUSE"); address != "" {
		return address
	}
	return devtest.ClickHouse(t).Native()
}

func count(t testing.TB, conn driver.Conn, query string, args ...any) uint64 {
	t.Helper()
	var n uint64
	if err := conn.QueryRow(context.Background(), query, args...).Scan(&n); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return n
}

var (
	uploadsID   = uuid.MustParse("00000000-0000-4000-8000-000000000001")
	developedID = uuid.MustParse("00000000-0000-4000-8000-000000000002")
	deadID      = uuid.MustParse("00000000-0000-4000-8000-000000000003")
)

// base is a moment for events to begin at.
var base = time.Date(2026, 5, 4, 3, 2, 0, 0, time.UTC)

func stamp(partition int32, offset int64) *eventpb.Stamp {
	at := base.Add(time.Duration(offset) * 10 * time.Second).UnixMilli()
	return &eventpb.Stamp{
		Origin:      event.Position{TopicID: uploadsID, Partition: partition, Offset: offset}.Proto(),
		EventTimeMs: at, AppendTimeMs: at + 100, StreamTimeMs: at,
	}
}

func original(partition int32, offset int64) *eventpb.Developed {
	sha := make([]byte, 32)
	sha[0], sha[1], sha[2] = byte(partition), byte(offset), byte(offset>>8)
	return &eventpb.Developed{
		Stamp: stamp(partition, offset), Sender: &eventpb.Sender{UploadId: fmt.Sprintf("u-%d-%d", partition, offset), Uploader: "ada", Filename: "a.jpg"},
		Outcome: eventpb.Outcome_OUTCOME_ORIGINAL, Spec: new("s1"), Phash: new(uint64(1) << 63), KernelPath: new("jpeg/imaging"),
		Facts: &eventpb.Facts{
			Sha256: sha, Format: "jpeg", Bytes: 1000, Width: 400, Height: 300, Orientation: 6, CameraMake: new("Nikon"), CameraModel: new("FM2"),
			TakenAtLocalMs: new(base.UnixMilli()), TakenOffsetMin: new(int32(-90)), Latitude: new(1.5), Longitude: new(2.5),
		},
		Renditions: []*eventpb.Rendition{
			{Name: "512", Width: 400, Height: 300, Bytes: 50, Key: "renditions/x/512-s1.jpg"}, {Name: "128", Width: 128, Height: 128, Bytes: 9, Key: "renditions/x/128-s1.jpg"},
		},
		ExtractMs: new(1.5), TransformMs: new(2.5),
	}
}

func duplicate(partition int32, offset int64) *eventpb.Developed {
	d := original(partition, offset)
	d.Outcome, d.DuplicateOf = eventpb.Outcome_OUTCOME_DUPLICATE, new("u-0-0")
	return d
}

func dead(partition int32, offset int64) (*eventpb.Developed, *eventpb.DeadLetter) {
	sender := &eventpb.Sender{UploadId: fmt.Sprintf("d-%d-%d", partition, offset)}
	return &eventpb.Developed{Stamp: stamp(partition, offset), Sender: sender, Outcome: eventpb.Outcome_OUTCOME_DEAD},
		&eventpb.DeadLetter{Stamp: stamp(partition, offset), Sender: sender, Stage: "extract", Reason: "empty_file", Detail: "no bytes", FailedAtMs: base.UnixMilli()}
}

func at(topic uuid.UUID, partition int32, offset int64) event.Position {
	return event.Position{TopicID: topic, Partition: partition, Offset: offset}
}

func held(partitions ...int32) []Partition {
	var all []Partition
	for _, p := range partitions {
		all = append(all, Partition{developedID, p}, Partition{deadID, p})
	}
	return all
}

func loader(t testing.TB, conn driver.Conn, partitions ...int32) *Loader {
	t.Helper()
	l := NewLoader(conn, Config{Group: "test"})
	if err := l.Assigned(context.Background(), held(partitions...)); err != nil {
		t.Fatal(err)
	}
	return l
}

// added gives the loader a fate that it takes.
func added(t testing.TB, l *Loader, at event.Position, d *eventpb.Developed) {
	t.Helper()
	if refusal := l.Developed(at, d); refusal != nil {
		t.Errorf("%v was refused: %v", at, refusal)
	}
}

func flushed(t testing.TB, l *Loader) {
	t.Helper()
	if err := l.Flush(context.Background()); err != nil {
		t.Fatal(err)
	}
	if n := l.Pending(); n != 0 {
		t.Fatalf("%d rows are pending after a flush", n)
	}
}

func TestMigrateTwiceAndAtOnce(t *testing.T) {
	conn, options := freshOptions(t)
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			if err := Migrate(context.Background(), options); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if err := CheckSchema(t.Context(), conn); err != nil {
		t.Error(err)
	}
	if err := conn.Exec(t.Context(), "TRUNCATE TABLE goose_db_version"); err != nil {
		t.Fatal(err)
	}
	if err := CheckSchema(t.Context(), conn); err == nil {
		t.Error("a database without a version passed")
	}
}

func TestRowsHoldWhatTheEventSays(t *testing.T) {
	conn := fresh(t)
	l := loader(t, conn, 0)
	added(t, l, at(developedID, 0, 0), original(0, 0))
	died, letter := dead(0, 1)
	added(t, l, at(developedID, 0, 1), died)
	l.DeadLetter(at(deadID, 0, 0), letter)
	lost := &eventpb.Developed{Stamp: &eventpb.Stamp{Origin: at(uploadsID, 0, 2).Proto()}, Sender: &eventpb.Sender{UploadId: "l"}, Outcome: eventpb.Outcome_OUTCOME_LOST}
	added(t, l, at(developedID, 0, 2), lost)
	flushed(t, l)
	for query, want := range map[string]uint64{
		`SELECT count() FROM uploads WHERE upload_id = 'u-0-0' AND outcome = 'original' AND width = 400 AND bytes = 1000 AND orientation = 6
			AND taken_at_utc = taken_at_local + INTERVAL 90 MINUTE AND taken_offset_min = -90 AND phash = bitShiftLeft(toUInt64(1), 63)
			AND length(sha256) = 64 AND latitude = 1.5 AND camera_model = 'FM2' AND spec = 's1' AND extract_ms = 1.5 AND NOT animated
			AND iso IS NULL AND exposure_s IS NULL AND lens_model IS NULL AND uploaded_at IS NULL AND redrive_of IS NULL AND duplicate_of IS NULL
			AND date_diff('millisecond', event_time, append_time) = 100 AND load_lease > loaded_at`: 1,
		`SELECT count() FROM uploads WHERE outcome = 'dead' AND event_time IS NOT NULL AND sha256 IS NULL AND format IS NULL AND width IS NULL
			AND bytes IS NULL AND orientation IS NULL AND animated IS NULL AND taken_at_local IS NULL AND phash IS NULL AND extract_ms IS NULL`: 1,
		`SELECT count() FROM uploads WHERE outcome = 'lost' AND event_time IS NULL AND append_time IS NULL AND stream_time IS NULL`:      1,
		`SELECT count() FROM dead_letters WHERE stage = 'extract' AND reason = 'empty_file' AND raw IS NULL AND src_offset = 1`:          1,
		`SELECT count() FROM renditions WHERE key LIKE 'renditions/x/%' AND spec = 's1' AND src_topic_id = '` + uploadsID.String() + `'`: 2,
	} {
		if n := count(t, conn, query); n != want {
			t.Errorf("%d rows, want %d: %s", n, want, query)
		}
	}
}

// A flush that was killed between two tables is read again: the table that has
// its rows takes none, the other one takes them.
func TestWatermarksArePerTable(t *testing.T) {
	conn := fresh(t)
	half := loader(t, conn, 0)
	added(t, half, at(developedID, 0, 0), original(0, 0))
	added(t, half, at(developedID, 0, 1), duplicate(0, 1))
	half.renditions.rows = nil // The kill.
	flushed(t, half)
	if err := half.Close(t.Context()); err != nil { // Its lease is not the matter here.
		t.Fatal(err)
	}
	whole := loader(t, conn, 0)
	for range 2 {
		added(t, whole, at(developedID, 0, 0), original(0, 0))
		added(t, whole, at(developedID, 0, 1), duplicate(0, 1))
		flushed(t, whole)
		if err := whole.Assigned(t.Context(), held(0)); err != nil {
			t.Fatal(err)
		}
	}
	if n := count(t, conn, "SELECT count() FROM uploads"); n != 2 {
		t.Errorf("%d uploads, want 2 without FINAL", n)
	}
	if n := count(t, conn, "SELECT count() FROM renditions"); n != 2 {
		t.Errorf("%d renditions, want 2 without FINAL", n)
	}
}

// A topic that was created anew begins at offset 0 again; it is another topic.
func TestPositionsOfAnotherTopicDoNotCount(t *testing.T) {
	conn := fresh(t)
	l := loader(t, conn, 0, 1)
	added(t, l, at(developedID, 0, 5), duplicate(0, 5))
	flushed(t, l)
	anew := uuid.New()
	l = NewLoader(conn, Config{})
	if err := l.Assigned(t.Context(), []Partition{{anew, 0}, {developedID, 1}}); err != nil {
		t.Fatal(err)
	}
	added(t, l, at(anew, 0, 0), duplicate(0, 6))
	added(t, l, at(developedID, 1, 0), duplicate(1, 0))
	flushed(t, l)
	if n := count(t, conn, "SELECT count() FROM uploads"); n != 3 {
		t.Errorf("%d uploads, want 3", n)
	}
}

// insertUnder inserts what is pending in a table under a lease of the test's.
func insertUnder(ctx context.Context, l *Loader, t *table, by lease) error {
	for _, r := range t.rows {
		r.grant(by)
	}
	_, err := t.insert(l.insertContext(ctx, t.name+uuid.NewString()), l.conn, t.rows)
	return err
}

// The sink fences: rows whose lease has ended are refused, all of them.
func TestExpiredLeaseIsRefused(t *testing.T) {
	conn := fresh(t)
	l := loader(t, conn, 0)
	added(t, l, at(developedID, 0, 0), original(0, 0))
	now := time.Now().UTC()
	err := insertUnder(t.Context(), l, &l.uploads, lease{LoadedAt: now, LoadLease: now.Add(-time.Second)})
	if !isExpired(err) || isRefusal(err) {
		t.Fatalf("a late insert ended with %v, want its lease to have expired", err)
	}
	if n := count(t, conn, "SELECT count() FROM uploads"); n != 0 {
		t.Errorf("%d rows of a late insert", n)
	}
}

// What the server is told about an insert: clickhouse-go must not lift the bound
// over the lease, and nothing may be inserted asynchronously.
func TestInsertSettings(t *testing.T) {
	l := loader(t, fresh(t), 0)
	late, cancelLate := context.WithTimeout(t.Context(), time.Hour)
	defer cancelLate()
	ctx, cancel := leaseContext(late, l.config.Lease)
	defer cancel()
	query := "SELECT toUInt64(toFloat64(getSetting('max_execution_time'))) + 100 * toUInt64(getSetting('async_insert'))"
	var n uint64
	if err := l.conn.QueryRow(l.insertContext(ctx, "token"), query).Scan(&n); err != nil {
		t.Fatal(err)
	}
	if n != 3 {
		t.Errorf("max_execution_time + 100 × async_insert = %d, want 3", n)
	}
}

// A flush that failed leaves nothing assumed: the next one waits for Assigned.
// Afterwards a record at or below the watermark that a flush left is skipped.
func TestAFailedFlushNeedsAssigned(t *testing.T) {
	conn := fresh(t)
	l := loader(t, conn, 0)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	added(t, l, at(developedID, 0, 0), original(0, 0))
	if err := l.Flush(ended); err == nil {
		t.Fatal("a flush with an ended context succeeded")
	}
	if err := l.Flush(t.Context()); err == nil {
		t.Fatal("a flush without Assigned followed a failed one")
	}
	if err := l.Assigned(t.Context(), held(0)); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		added(t, l, at(developedID, 0, 0), original(0, 0))
		flushed(t, l)
	}
	if n := count(t, conn, "SELECT count() FROM uploads"); n != 1 {
		t.Errorf("%d uploads, want 1", n)
	}
}

// A retry of one block in the same process is dropped by its token.
func TestTokenDropsARetry(t *testing.T) {
	conn := fresh(t)
	l := loader(t, conn, 0)
	for range 2 {
		l.uploads.watermark = map[Partition]int64{}
		added(t, l, at(developedID, 0, 0), duplicate(0, 0))
		flushed(t, l)
	}
	if n := count(t, conn, "SELECT count() FROM uploads"); n != 1 {
		t.Errorf("%d uploads, want 1", n)
	}
}

// lossy applies inserts into a table and loses the answer.
type lossy struct {
	driver.Conn
	table string
}

func (c lossy) PrepareBatch(ctx context.Context, query string, options ...driver.PrepareBatchOption) (driver.Batch, error) {
	b, err := c.Conn.PrepareBatch(ctx, query, options...)
	if !strings.HasPrefix(query, "INSERT INTO "+c.table+" ") {
		return b, err
	}
	return lossyBatch{b}, err
}

type lossyBatch struct{ driver.Batch }

func (b lossyBatch) Send() error {
	return errors.Join(b.Batch.Send(), io.ErrUnexpectedEOF)
}

// An insert that nobody answered is waited out before the watermark is read, and
// until then the next owner is told nothing.
func TestDoubtIsWaitedOut(t *testing.T) {
	conn := fresh(t)
	l := NewLoader(lossy{conn, "uploads"}, Config{Lease: 500 * time.Millisecond})
	if err := l.Assigned(t.Context(), held(0)); err != nil {
		t.Fatal(err)
	}
	added(t, l, at(developedID, 0, 0), duplicate(0, 0))
	if err := l.Flush(t.Context()); err == nil {
		t.Fatal("a flush without an answer succeeded")
	}
	doubt := l.doubt
	if doubt.IsZero() {
		t.Fatal("nobody doubts an insert that was never answered")
	}
	if err := l.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := count(t, conn, "SELECT count() FROM load_owners WHERE event = 'released'"); n != 0 {
		t.Errorf("%d partitions were released with an insert in doubt", n)
	}
	if err := l.Assigned(t.Context(), held(0)); err != nil {
		t.Fatal(err)
	}
	at0, err := now(t.Context(), conn)
	if err != nil {
		t.Fatal(err)
	}
	if at0.Before(doubt) || !l.doubt.IsZero() || l.Pending() != 0 {
		t.Errorf("at %v the doubt until %v is %v, %d pending", at0, doubt, l.doubt, l.Pending())
	}
	added(t, l, at(developedID, 0, 0), duplicate(0, 0))
	if n := l.Pending(); n != 0 {
		t.Errorf("%d rows are pending of a record that has landed", n)
	}
}

// Whatever is flushed, lost before its flush, or read again, each fate is one
// row of each table that it belongs to.
func TestAnyInterleavingGivesEachRowOnce(t *testing.T) {
	conn := fresh(t)
	rapid.Check(t, func(rt *rapid.T) {
		topic, letters := uuid.New(), uuid.New()
		parts := []Partition{{topic, 0}, {letters, 0}}
		l := NewLoader(conn, Config{})
		committed, next, end := int64(0), int64(0), int64(0)
		resume := func() {
			if err := l.Assigned(context.Background(), parts); err != nil {
				rt.Fatal(err)
			}
			next = committed
		}
		resume()
		add := func() {
			d := original(0, next)
			d.Facts.Sha256 = append(topic[:], d.Facts.Sha256[:16]...)
			if next%3 == 1 {
				d.Outcome = eventpb.Outcome_OUTCOME_DUPLICATE
			}
			if next%3 == 2 {
				died, letter := dead(0, next)
				d = died
				l.DeadLetter(at(letters, 0, next), letter)
			}
			added(t, l, at(topic, 0, next), d)
			next++
			end = max(end, next)
		}
		for _, step := range rapid.SliceOfN(rapid.IntRange(0, 9), 1, 12).Draw(rt, "steps") {
			switch step {
			case 0: // Killed before the flush.
				resume()
			case 1: // Killed after the flush, before the commit.
				flushed(t, l)
				resume()
			case 2: // Killed between two tables.
				l.renditions.rows, l.deadLetters.rows = nil, nil
				flushed(t, l)
				resume()
			case 5: // Killed between two others.
				l.uploads.rows, l.deadLetters.rows = nil, nil
				flushed(t, l)
				resume()
			case 3, 4:
				flushed(t, l)
				committed = next
			default:
				add()
			}
		}
		for next < end {
			add()
		}
		flushed(t, l)
		for query, want := range map[string]int64{
			"SELECT count() FROM uploads WHERE load_topic_id = ?":      next,
			"SELECT count() FROM renditions WHERE load_topic_id = ?":   2 * ((next + 2) / 3),
			"SELECT count() FROM dead_letters WHERE load_topic_id = ?": next / 3,
		} {
			id := topic
			if strings.Contains(query, "dead_letters") {
				id = letters
			}
			if n := count(t, conn, query, id); int64(n) != want {
				rt.Fatalf("%s: %d rows of %d fates, want %d", query, n, next, want)
			}
		}
	})
}

func TestConcurrentPartitionsAndRollups(t *testing.T) {
	conn := fresh(t)
	l := loader(t, conn, 0, 1, 2, 3)
	const each = 200
	var wg sync.WaitGroup
	for p := range int32(4) {
		wg.Go(func() {
			for o := range int64(each) {
				added(t, l, at(developedID, p, o), original(p, o))
			}
		})
	}
	wg.Wait()
	flushed(t, l)
	if n := count(t, conn, "SELECT count() FROM uploads"); n != 4*each {
		t.Fatalf("%d uploads, want %d", n, 4*each)
	}
	rollup := "SELECT sum(n) FROM (SELECT toStartOfMinute(event_time) AS m, outcome, count() AS n, sum(bytes) AS b FROM uploads GROUP BY toStartOfMinute(event_time), outcome)"
	for _, setting := range []string{"1", "0"} {
		if n := count(t, conn, rollup+" SETTINGS optimize_use_projections = "+setting); n != 4*each {
			t.Errorf("with projections %s the rollup counts %d", setting, n)
		}
	}
	if n := count(t, conn, "SELECT count() FROM system.parts WHERE database = currentDatabase() AND table = 'uploads' AND active"); n != 1 {
		t.Errorf("one flush made %d parts", n)
	}
}

func TestReports(t *testing.T) {
	conn := fresh(t)
	l := loader(t, conn, 0)
	added(t, l, at(developedID, 0, 0), original(0, 0))
	added(t, l, at(developedID, 0, 1), duplicate(0, 1))
	added(t, l, at(developedID, 0, 2), original(0, 8))
	died, letter := dead(0, 9)
	added(t, l, at(developedID, 0, 3), died)
	l.DeadLetter(at(deadID, 0, 0), letter)
	for i, stage := range []string{"windows", "load"} { // They tell of no death.
		_, letter := dead(0, 9)
		letter.Stage, letter.Reason = stage, "another"
		l.DeadLetter(at(deadID, 0, int64(1+i)), letter)
	}
	for i, w := range []*eventpb.WindowResult{
		all(0, 1), all(0, 2), all(60, 1), all(61, 1), session("ada", 0, 9, 1), session("bob", 0, 5, 1), session("bob", 0, 20, 2),
	} {
		w.Final, w.Retracted = i == 1, i == 5
		taken(t, l.Window(at(resultsID, 0, int64(i)), w))
	}
	for i, aggregate := range []string{"tumbling-10s-all", "tumbling-10s-all", "tumbling-1m-all"} {
		u := late(int64(i), aggregate, "late")
		u.Stamp.StreamTimeMs += int64(i+1) * 45_000
		taken(t, l.Late(at(lateID, 0, int64(i)), u))
	}
	taken(t, l.Late(at(lateID, 0, 3), late(2, "tumbling-10s-all", "overflow")))
	by := lease{LoadedAt: base.Add(2 * time.Minute), LoadLease: time.Now().Add(time.Hour).UTC()}
	for _, table := range l.tables() {
		if len(table.rows) == 0 {
			continue
		}
		if err := insertUnder(t.Context(), l, table, by); err != nil {
			t.Fatal(err)
		}
	}
	for _, r := range Reports() {
		t.Run(r.Name, func(t *testing.T) {
			if r.Title == "" || strings.HasPrefix(r.Title, "SELECT") {
				t.Errorf("the report has no title: %q", r.Title)
			}
			got := text(t, conn, r.SQL)
			path := filepath.Join("testdata", r.Name+".txt")
			if *update {
				if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

// text renders a query's result, one row a line, in the server's own words.
func text(t *testing.T, conn driver.Conn, query string) string {
	t.Helper()
	rows, err := conn.Query(t.Context(), "SELECT toString(tuple(*)) FROM ("+query+")")
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for rows.Next() {
		var line string
		if err := rows.Scan(&line); err != nil {
			t.Fatal(err)
		}
		b.WriteString(line + "\n")
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func BenchmarkFlush(b *testing.B) {
	conn := fresh(b)
	l := loader(b, conn, 0)
	next := int64(0)
	const rows = 10_000
	for b.Loop() {
		for range rows {
			added(b, l, at(developedID, 0, next), duplicate(0, next))
			next++
		}
		flushed(b, l)
	}
	b.ReportMetric(float64(rows)*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
}
