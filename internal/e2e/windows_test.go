package e2e

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tintype/tintype/bench/synthetic"
	"github.com/tintype/tintype/event"
	"github.com/tintype/tintype/event/eventpb"
	"github.com/tintype/tintype/internal/chaos/windowcount"
	"github.com/tintype/tintype/internal/deployment"
	"github.com/tintype/tintype/internal/devstack/devtest"
	"github.com/tintype/tintype/internal/produce"
	"github.com/tintype/tintype/internal/verify"
	"github.com/tintype/tintype/topologies"
)

// aggregatesFile declares aggregates of seconds, so that a test sees them close.
const aggregatesFile = `aggregates:
  - {kind: tumbling, size: 1s, grace: 2s, dimensions: [all, uploader]}
  - {kind: hopping, size: 3s, advance: 1s, grace: 2s, dimensions: [all]}
  - {kind: session, gap: 700ms, grace: 2s, dimensions: [uploader]}
  - {kind: tumbling, size: 2s, grace: 1500ms, dimensions: [outcome, format], measures: [count, bytes_out, latency_ms]}
`

// aggregates are those of the file that the log alone decides.
var aggregates = []windowcount.Aggregate{
	{Kind: "tumbling", Size: 1000, Grace: 2000, Dimension: "all"},
	{Kind: "tumbling", Size: 1000, Grace: 2000, Dimension: "uploader"},
	{Kind: "hopping", Size: 3000, Advance: 1000, Grace: 2000, Dimension: "all"},
	{Kind: "session", Gap: 700, Grace: 2000, Dimension: "uploader"},
}

// quick is work with these aggregates that shows results and ticks soon.
func quick(t *testing.T) deployment.Work {
	t.Helper()
	set, err := topologies.ReadAggregates(strings.NewReader(aggregatesFile))
	if err != nil {
		t.Fatal(err)
	}
	return deployment.Work{Time: deployment.Time{Windows: set, EarlyCadence: 200 * time.Millisecond, TickAfter: time.Second, TickAllowance: time.Second}}
}

// openOn opens a deployment that is this test's alone, but for the broker and the
// topic uploads ("": its own).
func openOn(t *testing.T, address, uploads string, partitions int) *deployment.Deployment {
	t.Helper()
	name := "t" + strings.ReplaceAll(uuid.NewString(), "-", "")[:12]
	if uploads == "" {
		uploads = name + "-uploads"
	}
	d, err := deployment.Open(t.Context(), deployment.Options{
		Addresses: deployment.Addresses{Kafka: address, ClickHouse: devtest.Database(t, name), Blobs: "file://" + filepath.ToSlash(t.TempDir())},
		Name:      name, UploadsTopic: uploads, Partitions: partitions, CreateTopics: true, Log: logger(t),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

// A feed sends uploads of a few small photos with event times of their own.
type feed struct {
	t      *testing.T
	d      *deployment.Deployment
	client *kgo.Client
	photos [][]byte
	random *rand.Rand
	sent   int
}

func newFeed(t *testing.T, d *deployment.Deployment, seed uint64) *feed {
	t.Helper()
	client, err := d.Kafka.Client(append(produce.ClientOptions(), kgo.DefaultProduceTopic(d.Topics.Uploads.Name), kgo.ProducerLinger(0))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	f := &feed{t: t, d: d, client: client, random: rand.New(rand.NewPCG(seed, 5))}
	generator := synthetic.New(synthetic.Options{Seed: seed, Small: true})
	for i := range 9 {
		f.photos = append(f.photos, generator.Photo(i).Data)
	}
	return f
}

// uploaders is how many there are.
const uploaders = 5

// at makes an upload with an event time in ms; less than 0: none.
func (f *feed) at(eventTime int64) *kgo.Record {
	f.t.Helper()
	u := &eventpb.Upload{
		UploadId: fmt.Sprintf("w%05d", f.sent), Uploader: fmt.Sprintf("u%d", f.random.IntN(uploaders)), Filename: "w.jpg",
		Body: &eventpb.Upload_Inline{Inline: f.photos[f.random.IntN(len(f.photos))]},
	}
	if eventTime >= 0 {
		u.UploadedAtMs = &eventTime
	}
	f.sent++
	value, err := f.d.Codecs.Upload.Encode(u)
	if err != nil {
		f.t.Fatal(err)
	}
	return &kgo.Record{Key: []byte(u.UploadId), Value: value}
}

// send sends records, in their order.
func (f *feed) send(records ...*kgo.Record) {
	f.t.Helper()
	if err := f.client.ProduceSync(f.t.Context(), records...).FirstErr(); err != nil {
		f.t.Fatal(err)
	}
}

// stream sends an upload every so often for a while, with the event times that a
// function of the present makes.
func (f *feed) stream(length, every time.Duration, eventTime func(now int64) int64) {
	f.t.Helper()
	tick := time.NewTicker(every)
	defer tick.Stop()
	for end := time.Now().Add(length); time.Now().Before(end); <-tick.C {
		f.send(f.at(eventTime(time.Now().UnixMilli())))
	}
}

// inOrder is the event time of uploads that come at once.
func inOrder(now int64) int64 { return now }

// uploadLog reads the topic uploads.
func uploadLog(t *testing.T, d *deployment.Deployment) []windowcount.Record {
	t.Helper()
	var log []windowcount.Record
	for _, r := range committed(t, d, d.Topics.Uploads.Name) {
		read, err := windowcount.ReadRecord(d.UploadsID, r)
		if err != nil {
			t.Fatal(err)
		}
		log = append(log, read)
	}
	return log
}

// byHand counts what the log comes to.
func byHand(t *testing.T, d *deployment.Deployment) *windowcount.Count {
	t.Helper()
	return windowcount.Of(uploadLog(t, d), aggregates, d.PartitionCount, time.Minute.Milliseconds())
}

// names lists the aggregates that the log alone decides, for SQL.
func names() string {
	var list []string
	for _, a := range aggregates {
		list = append(list, "'"+a.Name()+"'")
	}
	return "(" + strings.Join(list, ", ") + ")"
}

// finals reads the final results of these aggregates.
func finals(t *testing.T, d *deployment.Deployment) map[windowcount.Window]windowcount.Totals {
	t.Helper()
	rows, err := d.ClickHouse.Query(t.Context(), `SELECT aggregate, key, toUnixTimestamp64Milli(window_start), toUnixTimestamp64Milli(window_end),
		toInt64(count), toInt64(ifNull(bytes_in, 0)), toInt64(ifNull(bytes_in_min, 0)), toInt64(ifNull(bytes_in_max, 0)), toInt64(ifNull(uploaders, 0))
		FROM windows_latest WHERE final AND aggregate IN `+names())
	if err != nil {
		t.Fatal(err)
	}
	all := map[windowcount.Window]windowcount.Totals{}
	for rows.Next() {
		var w windowcount.Window
		var totals windowcount.Totals
		if err := rows.Scan(&w.Aggregate, &w.Key, &w.Start, &w.End, &totals.Count, &totals.Bytes, &totals.BytesMin, &totals.BytesMax, &totals.Uploaders); err != nil {
			t.Fatal(err)
		}
		if _, twice := all[w]; twice {
			t.Errorf("%s has two rows in windows_latest", w)
		}
		all[w] = totals
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		t.Fatal(err)
	}
	return all
}

// lateRows reads the uploads that these aggregates do not count for a cause.
func lateRows(t *testing.T, d *deployment.Deployment, cause string) map[windowcount.Late]bool {
	t.Helper()
	rows, err := d.ClickHouse.Query(t.Context(), `SELECT src_topic_id, src_partition, src_offset, aggregate, key, toUnixTimestamp64Milli(window_start)
		FROM late_uploads WHERE cause = ? AND aggregate IN `+names(), cause)
	if err != nil {
		t.Fatal(err)
	}
	all := map[windowcount.Late]bool{}
	for rows.Next() {
		var l windowcount.Late
		if err := rows.Scan(&l.Topic, &l.Partition, &l.Offset, &l.Aggregate, &l.Key, &l.Start); err != nil {
			t.Fatal(err)
		}
		if all[l] {
			t.Errorf("late_uploads has %+v twice", l)
		}
		all[l] = true
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		t.Fatal(err)
	}
	return all
}

// awaitClosed waits until all windows of the log are final, nothing is open, and the
// late uploads have their rows, which may come after.
func awaitClosed(t *testing.T, d *deployment.Deployment, c *windowcount.Count) {
	t.Helper()
	eventually(t, d, uint64(len(c.Windows)), "SELECT count() FROM windows_latest WHERE final AND aggregate IN "+names())
	eventually(t, d, 1, "SELECT toUInt64(count() = 0) FROM windows_latest WHERE NOT final")
	eventually(t, d, uint64(len(c.Late)), "SELECT count() FROM late_uploads WHERE cause = 'late' AND aggregate IN "+names())
}

// checkWindows waits until all windows of the log are final, and compares them and
// the late uploads with what they should be, by hand and by verify.
func checkWindows(t *testing.T, d *deployment.Deployment) *windowcount.Count {
	t.Helper()
	c := byHand(t, d)
	awaitClosed(t, d, c)
	compare(t, "windows_latest", finals(t, d), c.Windows)
	if late := lateRows(t, d, "late"); !maps.Equal(late, c.Late) {
		t.Errorf("late_uploads has %d rows, by hand there are %d", len(late), len(c.Late))
	}
	if n := count(t, d, "SELECT count() FROM late_uploads WHERE cause != 'late'"); n > 0 {
		t.Errorf("%d uploads are not counted, and not late", n)
	}
	var tumbling, late uint64
	for w, totals := range c.Windows {
		if w.Aggregate == aggregates[0].Name() {
			tumbling += uint64(totals.Count)
		}
	}
	for l := range c.Late {
		if l.Aggregate == aggregates[0].Name() {
			late++
		}
	}
	if tumbling+late != uint64(c.Uploads) {
		t.Errorf("%d uploads in windows, %d late, %d sent", tumbling, late, c.Uploads)
	}
	verified(t, d, len(c.Windows))
	return c
}

// compare shows the first windows that differ.
func compare(t *testing.T, what string, got, want map[windowcount.Window]windowcount.Totals) {
	t.Helper()
	if maps.Equal(got, want) {
		return
	}
	shown := 0
	show := func(format string, args ...any) {
		if shown++; shown <= 10 {
			t.Errorf(format, args...)
		}
	}
	for w, totals := range want {
		if other, there := got[w]; !there {
			show("%s: %s is not there, %+v", what, w, totals)
		} else if other != totals {
			show("%s: %s is %+v, want %+v", what, w, other, totals)
		}
	}
	for w, totals := range got {
		if _, there := want[w]; !there {
			show("%s: %s is there, %+v", what, w, totals)
		}
	}
	t.Errorf("%s: %d windows, %d wanted, %d differences", what, len(got), len(want), shown)
}

// verified has verify find no difference among at least so many windows.
func verified(t *testing.T, d *deployment.Deployment, windows int) {
	t.Helper()
	client, err := d.Kafka.Client()
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	group := func(stage event.Stage) string { return topologies.Group(d.Name, stage) }
	r, err := verify.Run(t.Context(), verify.Options{
		ClickHouse: d.ClickHouse, Kafka: client, Topics: d.Topics, Wait: patience,
		Extract: group(event.StageExtract), Transform: group(event.StageTransform), Windows: group(event.StageWindows), Load: group(event.StageLoad),
		ExtractLoop: topologies.LoopTopic(group(event.StageExtract)), WindowsLoop: topologies.LoopTopic(group(event.StageWindows)),
	})
	if err != nil {
		t.Fatal(err)
	}
	if !r.OK() || r.Closed() < uint64(windows) {
		t.Errorf("verify: %d windows of %d, %v, %q, %v, %v", r.Closed(), windows, r.Differences, r.Behind, r.Notes, r.Examples)
	}
}

// results reads what the stage windows has sent, by window, in order: all of a
// window are of one key.
func results(t *testing.T, d *deployment.Deployment) map[windowcount.Window][]*eventpb.WindowResult {
	t.Helper()
	all := map[windowcount.Window][]*eventpb.WindowResult{}
	for _, r := range committed(t, d, d.Topics.WindowResults.Name) {
		m := d.Codecs.WindowResult.Read(r.Value)
		if m.Err != nil {
			t.Fatal(m.Err)
		}
		w := windowcount.Window{Aggregate: m.Message.Aggregate, Key: m.Message.Key, Start: m.Message.WindowStartMs, End: m.Message.WindowEndMs}
		all[w] = append(all[w], m.Message)
	}
	return all
}

// Uploads that come in order: nothing is late, early results come before the final
// one, ticks close the last windows, and nothing is left open.
func TestWindowsOfUploadsInOrder(t *testing.T) {
	t.Parallel()
	d := openOn(t, kafka(t), "", 0)
	drain := run(t, d, quick(t))
	f := newFeed(t, d, 1)
	f.send(f.at(time.Now().UnixMilli()))
	eventually(t, d, 1, "SELECT count() FROM uploads") // All stages have begun, so that delays are their own.
	began := time.Now()
	f.stream(3*time.Second, 10*time.Millisecond, inOrder)
	eventually(t, d, 1, "SELECT least(count(), 1) FROM windows WHERE NOT final")
	closed := count(t, d, "SELECT toUInt64(max(toUnixTimestamp64Milli(window_end))) FROM windows WHERE final AND aggregate IN "+names())
	if now := uint64(time.Now().UnixMilli()); closed+2000 > now {
		t.Errorf("windows that end at %d are final within their grace, at %d", closed, now)
	}
	c := checkWindows(t, d)
	if len(c.Late) > 0 {
		t.Errorf("%d uploads are late", len(c.Late))
	}
	drain()
	if left := table(t, d, event.StageWindows); len(left) > 0 {
		t.Errorf("the table of windows has %d keys when all windows are closed", len(left))
	}
	shown := results(t, d)
	for w := range c.Windows {
		early := shown[w]
		if len(early) < 2 {
			t.Errorf("%s has %d results, and no early one", w, len(early))
			continue
		}
		for i, r := range early {
			if last := i == len(early)-1; r.Final != last || r.Retracted {
				t.Errorf("%s: result %d of %d is final: %v, retracted: %v", w, i, len(early), r.Final, r.Retracted)
			}
			if i > 0 && (r.Revision <= early[i-1].Revision || r.Count < early[i-1].Count) {
				t.Errorf("%s: revision %d of count %d after %d of %d", w, r.Revision, r.Count, early[i-1].Revision, early[i-1].Count)
			}
		}
	}
	// What is no window in the end has its retraction as its last word.
	for w, all := range shown {
		if _, there := c.Windows[w]; there || !slices.ContainsFunc(aggregates, func(a windowcount.Aggregate) bool { return a.Name() == w.Aggregate }) {
			continue
		}
		if last := all[len(all)-1]; !last.Retracted || last.Final {
			t.Errorf("%s is no window, and its last result of %d is retracted: %v, final: %v", w, len(all), last.Retracted, last.Final)
		}
	}
	delays(t, d, began)
}

// delays shows how long results took, since a time.
func delays(t *testing.T, d *deployment.Deployment, since time.Time) {
	t.Helper()
	var rows, early, final []float64
	for query, to := range map[string]*[]float64{
		"SELECT quantiles(0.5, 0.95, 1)(toFloat64(dateDiff('ms', append_time, loaded_at))) FROM uploads WHERE append_time >= fromUnixTimestamp64Milli({since:Int64})": &rows,
		// The first results of windows, from their first upload on.
		`SELECT quantiles(0.5, 0.95, 1)(toFloat64(dateDiff('ms', uploaded, shown))) FROM (SELECT window_start, min(loaded_at) AS shown FROM windows WHERE aggregate = 'tumbling-1s-all' GROUP BY window_start) AS results
			INNER JOIN (SELECT toStartOfInterval(event_time, INTERVAL 1 SECOND) AS window_start, min(append_time) AS uploaded FROM uploads
			WHERE append_time >= fromUnixTimestamp64Milli({since:Int64}) GROUP BY window_start) AS sent USING (window_start)`: &early,
		// The final results, from when the clock passed the end of grace.
		`SELECT quantiles(0.5, 0.95, 1)(toFloat64(dateDiff('ms', window_end, loaded_at) - grace_ms)) FROM windows
			WHERE aggregate = 'tumbling-1s-all' AND final AND window_start >= fromUnixTimestamp64Milli({since:Int64})`: &final,
	} {
		if err := d.ClickHouse.QueryRow(t.Context(), query, clickhouse.Named("since", since.UnixMilli())).Scan(to); err != nil {
			t.Errorf("%s: %v", query, err)
		}
	}
	t.Logf("ms, p50, p95, max: from the append of an upload to its row %.0f, of a window's first upload to the first result %.0f; from the end of grace to the final one %.0f", rows, early, final)
}

// Uploads that come out of order, some of them too late, some without a time, some
// from the future, some no uploads at all.
func TestWindowsOfUploadsOutOfOrder(t *testing.T) {
	t.Parallel()
	d := openOn(t, kafka(t), "", 0)
	run(t, d, quick(t))
	f := newFeed(t, d, 2)
	f.stream(4*time.Second, 8*time.Millisecond, func(now int64) int64 {
		switch f.random.IntN(20) {
		case 0, 1, 2, 3: // Too late for some windows, and in others.
			return now - f.random.Int64N(8000)
		case 4:
			return -1
		case 5:
			if f.random.IntN(4) == 0 {
				return now + time.Hour.Milliseconds()
			}
		}
		return now - f.random.Int64N(400)
	})
	f.send(&kgo.Record{Key: []byte("junk"), Value: []byte("\xff\xfe no upload")}, &kgo.Record{Key: []byte("null")})
	c := checkWindows(t, d)
	t.Logf("%d of %d windows' uploads are late, of %d uploads", len(c.Late), len(c.Windows), c.Uploads)
	if len(c.Late) < 20 {
		t.Errorf("only %d uploads are late", len(c.Late))
	}
	if n := count(t, d, "SELECT count() FROM uploads WHERE outcome = 'dead' AND upload_id != ''"); n != 2 {
		t.Errorf("%d uploads are dead, want the two that are none", n)
	}
}
