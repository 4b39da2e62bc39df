package chaos

import (
	"context"
	"encoding/hex"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"google.golang.org/protobuf/proto"

	"github.com/tintype/tintype/event"
	"github.com/tintype/tintype/event/eventpb"
	"github.com/tintype/tintype/internal/devstack/devtest"
)

// spec is that of all renditions here.
const spec = "spec"

// schema is what the recount asks of the tables.
var schema = map[string]string{
	"uploads": `(upload_id String, outcome Enum8('original' = 1, 'duplicate' = 2, 'repeat' = 3, 'dead' = 4, 'lost' = 5), sha256 Nullable(String),
		duplicate_of Nullable(String), bytes UInt64, PROJECTION by_minute (SELECT toStartOfMinute(event_time), outcome, count(), sum(bytes)
		GROUP BY toStartOfMinute(event_time), outcome)`,
	"renditions": `(sha256 String, name LowCardinality(String), spec String, bytes UInt64,
		PROJECTION by_minute (SELECT toStartOfMinute(event_time), name, count(), sum(bytes) GROUP BY toStartOfMinute(event_time), name)`,
	"dead_letters": `(stage String`,
	"ticks":        `(n UInt8`,
}

// world is a log and what came of it, in which nothing differs.
type world struct {
	t          *testing.T
	log        origins
	fates      []*eventpb.Developed
	photos     []*eventpb.Photo
	sightings  map[string]*eventpb.Sightings // table of transform
	taken      map[string]bool               // table of extract
	rows       []*eventpb.Developed
	renditions []rendition
	letters    []event.Position
	ticks      []event.Position
	// windows are dead letters of stage windows.
	windows []event.Position
}

// rendition is a row of renditions.
type rendition struct {
	of   *eventpb.Developed
	name string
}

// newWorld has an original x of upload a, its duplicate b, a repeat of a, a dead
// upload d and an original y of upload e. Behind them is a tick.
func newWorld(t *testing.T) *world {
	w := &world{t: t, log: origins{}, sightings: map[string]*eventpb.Sightings{}, taken: map[string]bool{}}
	topic := uuid.New()
	for offset, u := range []struct {
		id, sha, of string
		outcome     eventpb.Outcome
	}{
		{"a", "x", "", eventpb.Outcome_OUTCOME_ORIGINAL},
		{"b", "x", "a", eventpb.Outcome_OUTCOME_DUPLICATE},
		{"a", "", "", eventpb.Outcome_OUTCOME_REPEAT},
		{"d", "", "", eventpb.Outcome_OUTCOME_DEAD},
		{"e", "y", "", eventpb.Outcome_OUTCOME_ORIGINAL},
	} {
		at := event.Position{TopicID: topic, Offset: int64(offset)}
		w.log[at] = u.id
		f := &eventpb.Developed{Stamp: &eventpb.Stamp{Origin: at.Proto()}, Sender: &eventpb.Sender{UploadId: u.id}, Outcome: u.outcome}
		w.fates, w.rows = append(w.fates, f), append(w.rows, f)
		switch u.outcome {
		case eventpb.Outcome_OUTCOME_DEAD:
			w.letters = append(w.letters, at)
			continue
		case eventpb.Outcome_OUTCOME_REPEAT:
			continue
		case eventpb.Outcome_OUTCOME_ORIGINAL:
			for _, name := range []string{"large", "small"} {
				f.Renditions = append(f.Renditions, &eventpb.Rendition{Name: name, Bytes: 10})
				w.renditions = append(w.renditions, rendition{f, name})
			}
			w.sightings[hex.EncodeToString([]byte(u.sha))] = &eventpb.Sightings{BySpec: map[string]*eventpb.Sighting{spec: {UploadId: u.id, Origin: at.Proto()}}}
		default:
			f.DuplicateOf = new(u.of)
		}
		f.Facts, f.Spec = &eventpb.Facts{Sha256: []byte(u.sha), Bytes: 100}, new(spec)
		w.photos = append(w.photos, &eventpb.Photo{Stamp: f.Stamp, Sender: f.Sender, Facts: f.Facts})
		w.taken[u.id] = true
	}
	w.ticks = []event.Position{{TopicID: topic, Offset: int64(len(w.log))}}
	w.log[w.ticks[0]] = tickKey
	return w
}

// changed is a copy of a message, with a change.
func changed[M proto.Message](m M, change func(M)) M {
	c := proto.Clone(m).(M)
	change(c)
	return c
}

// write puts the world into topics of a prefix, and into the tables.
func (w *world) write(ctx context.Context, client *kgo.Client, conn driver.Conn, prefix string) {
	w.t.Helper()
	var records []*kgo.Record
	add := func(topic, key string, m proto.Message) {
		value, err := proto.Marshal(m)
		if err != nil {
			w.t.Fatal(err)
		}
		records = append(records, &kgo.Record{Topic: prefix + topic, Key: []byte(key), Value: value})
	}
	for _, f := range w.fates {
		add("developed", f.Sender.UploadId, f)
	}
	for _, p := range w.photos {
		add("photos", hex.EncodeToString(p.Facts.Sha256), p)
	}
	records = append(records, &kgo.Record{ // Watermarks, or whatever: no photo.
		Topic: prefix + "photos", Key: []byte("\x00control 0"), Value: []byte("\xff"), Headers: []kgo.RecordHeader{{Key: event.ControlHeader, Value: []byte(event.ControlWatermarks)}},
	})
	for sha, s := range w.sightings {
		add("transform-table", sha, &eventpb.Sightings{}) // An older value.
		add("transform-table", sha, s)
	}
	for id := range w.taken {
		add("extract-table", id, &eventpb.Sender{UploadId: id}) // Any value.
	}
	topics := []string{prefix + "developed", prefix + "photos", prefix + "transform-table", prefix + "extract-table"}
	if _, err := kadm.NewClient(client).CreateTopics(ctx, 1, 1, nil, topics...); err != nil {
		w.t.Fatal(err)
	}
	if err := client.ProduceSync(ctx, records...).FirstErr(); err != nil {
		w.t.Fatal(err)
	}
	for table, columns := range schema {
		for _, statement := range []string{
			"DROP TABLE IF EXISTS " + table,
			"CREATE TABLE " + table + " " + columns + ", event_time DateTime64(3, 'UTC'), src_topic_id UUID, src_partition Int32, src_offset Int64) ENGINE = MergeTree ORDER BY src_offset",
		} {
			if err := conn.Exec(ctx, statement); err != nil {
				w.t.Fatal(err)
			}
		}
	}
	for _, f := range w.rows {
		w.insert(ctx, conn, "uploads", event.PositionOf(f.Stamp.Origin), fmt.Sprintf("'%s', '%s', '%x', '%s', 100", f.Sender.UploadId, event.OutcomeName(f.Outcome), f.GetFacts().GetSha256(), f.GetDuplicateOf()))
	}
	for _, r := range w.renditions {
		w.insert(ctx, conn, "renditions", event.PositionOf(r.of.Stamp.Origin), fmt.Sprintf("'%x', '%s', '%s', 10", r.of.Facts.Sha256, r.name, spec))
	}
	for _, at := range w.letters {
		w.insert(ctx, conn, "dead_letters", at, "'extract'")
	}
	for _, at := range w.windows {
		w.insert(ctx, conn, "dead_letters", at, "'windows'")
	}
	for _, at := range w.ticks {
		w.insert(ctx, conn, "ticks", at, "0")
	}
}

func (w *world) insert(ctx context.Context, conn driver.Conn, table string, at event.Position, values string) {
	w.t.Helper()
	statement := fmt.Sprintf("INSERT INTO %s SELECT %s, '2026-05-04 12:00:00', '%s', %d, %d", table, values, at.TopicID, at.Partition, at.Offset)
	if err := conn.Exec(ctx, statement); err != nil {
		w.t.Fatalf("%s: %v", statement, err)
	}
}

// Whatever is missing, twice, invented or not as the log says is found, and named.
func TestRecount(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 3*patience)
	defer cancel()
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	defer cluster.Close()
	brokers, address := cluster.ListenAddrs()[0], devtest.ClickHouse(t).Native()
	client, err := kgo.NewClient(kgo.SeedBrokers(brokers))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	const original, duplicate, repeat, dead, second = 0, 1, 2, 3, 4
	stranger := event.Position{TopicID: uuid.New(), Offset: 9}
	cases := map[string]struct {
		spoil func(*world)
		// want is what of the recount is not zero; named is what its others say.
		want  Recount
		named string
	}{
		"nothing": {func(*world) {}, Recount{}, ""},
		"fate missing": {func(w *world) {
			w.fates = append(w.fates[:dead], w.fates[dead+1:]...)
		}, Recount{FatesMissing: 1}, ""},
		"fate twice": {func(w *world) { w.fates = append(w.fates, w.fates[dead], w.fates[dead]) }, Recount{FatesTwice: 2}, ""},
		"fate invented": {func(w *world) {
			w.fates = append(w.fates, changed(w.fates[dead], func(f *eventpb.Developed) { f.Stamp.Origin = stranger.Proto() }))
		}, Recount{FatesInvented: 1}, ""},
		"row missing": {func(w *world) { w.rows = slices.Delete(w.rows, repeat, repeat+1) }, Recount{RowsMissing: 1}, ""},
		"row twice":   {func(w *world) { w.rows = append(w.rows, w.rows[second]) }, Recount{RowsTwice: 1}, ""},
		"row invented": {func(w *world) {
			w.rows = append(w.rows, changed(w.rows[dead], func(f *eventpb.Developed) { f.Stamp.Origin = stranger.Proto() }))
		}, Recount{RowsInvented: 1}, ""},
		"row differs": {func(w *world) {
			w.rows[duplicate] = changed(w.rows[duplicate], func(f *eventpb.Developed) { f.DuplicateOf = new("e") })
		}, Recount{}, "row of"},
		"rendition missing": {func(w *world) { w.renditions = w.renditions[1:] }, Recount{}, "renditions of"},
		"rendition twice":   {func(w *world) { w.renditions = append(w.renditions, w.renditions[0]) }, Recount{}, "renditions of"},
		"rendition invented": {func(w *world) {
			w.renditions = append(w.renditions, rendition{changed(w.fates[original], func(f *eventpb.Developed) { f.Stamp.Origin = stranger.Proto() }), "large"})
		}, Recount{}, "renditions of"},
		"two originals": {func(w *world) {
			f := changed(w.fates[duplicate], func(f *eventpb.Developed) { f.Outcome, f.DuplicateOf = eventpb.Outcome_OUTCOME_ORIGINAL, nil })
			w.fates[duplicate], w.rows[duplicate] = f, f
		}, Recount{}, "two originals"},
		"duplicate of another": {func(w *world) {
			f := changed(w.fates[duplicate], func(f *eventpb.Developed) { f.DuplicateOf = new("e") })
			w.fates[duplicate], w.rows[duplicate] = f, f
		}, Recount{}, `duplicate of "e"`},
		"duplicate before its original": {func(w *world) { w.photos[0], w.photos[1] = w.photos[1], w.photos[0] }, Recount{}, "by the log of photos"},
		"photo twice":                   {func(w *world) { w.photos = append(w.photos, w.photos[duplicate]) }, Recount{}, "2 photos"},
		"upload id taken twice": {func(w *world) {
			f := changed(w.fates[duplicate], func(f *eventpb.Developed) { f.Sender.UploadId = "a" })
			w.fates[duplicate], w.rows[duplicate] = f, f
			delete(w.taken, "b")
		}, Recount{}, `"a" was taken 2 times`},
		"sighting missing":   {func(w *world) { delete(w.sightings, hex.EncodeToString([]byte("y"))) }, Recount{}, "1 first sightings, the fates have 2"},
		"sighting invented":  {func(w *world) { w.sightings["7a"] = w.sightings[hex.EncodeToString([]byte("x"))] }, Recount{}, "no fate tells"},
		"sighting of later":  {func(w *world) { w.sightings[hex.EncodeToString([]byte("x"))].BySpec[spec].Origin.Offset = 1 }, Recount{}, "was first seen at"},
		"upload id not kept": {func(w *world) { delete(w.taken, "b") }, Recount{}, `"b" is not there`},
		"upload id invented": {func(w *world) { w.taken["z"] = true }, Recount{}, `"z"`},
		"tick missing":       {func(w *world) { w.ticks = nil }, Recount{}, "ticks: 0 rows of the tick at"},
		"tick twice":         {func(w *world) { w.ticks = append(w.ticks, w.ticks[0]) }, Recount{}, "ticks: 2 rows of the tick at"},
		"tick invented":      {func(w *world) { w.ticks = append(w.ticks, stranger) }, Recount{}, "which is no tick"},
		"tick for an upload": {func(w *world) { w.ticks = append(w.ticks, event.PositionOf(w.fates[dead].Stamp.Origin)) }, Recount{}, "which is no tick"},
		"fate of a tick": {func(w *world) {
			w.fates = append(w.fates, changed(w.fates[dead], func(f *eventpb.Developed) { f.Stamp.Origin = w.ticks[0].Proto() }))
		}, Recount{FatesInvented: 1}, ""},
		"row of a tick": {func(w *world) {
			w.rows = append(w.rows, changed(w.rows[dead], func(f *eventpb.Developed) { f.Stamp.Origin = w.ticks[0].Proto() }))
		}, Recount{RowsInvented: 1}, ""},
		"letters of windows":         {func(w *world) { w.windows = append(w.windows, w.letters[0], w.letters[0]) }, Recount{}, ""},
		"letter of windows invented": {func(w *world) { w.windows = append(w.windows, stranger) }, Recount{}, "dead_letters of"},
		"letter of windows alone":    {func(w *world) { w.windows, w.letters = w.letters, nil }, Recount{}, "none of"},
		"letter missing":             {func(w *world) { w.letters = nil }, Recount{}, "none of"},
		"letter twice":               {func(w *world) { w.letters = append(w.letters, w.letters[0]) }, Recount{}, "are there twice"},
		"letter invented":            {func(w *world) { w.letters = append(w.letters, stranger) }, Recount{}, "dead_letters of"},
	}
	err = onClickHouse(address, func(conn driver.Conn) error {
		for i, name := range slices.Sorted(maps.Keys(cases)) {
			c := cases[name]
			w := newWorld(t)
			c.spoil(w)
			prefix := fmt.Sprintf("w%d-", i)
			w.write(ctx, client, conn, prefix)
			topics := event.Topics{}
			topics.Developed.Name, topics.Photos.Name = prefix+"developed", prefix+"photos"
			got, err := recount(ctx, brokers, address, topics, groups{extract: prefix + "extract", transform: prefix + "transform"}, w.log)
			if err != nil {
				return err
			}
			others := got.Others
			c.want.Uploads, c.want.Ticks, got.Others = len(w.log)-1, 1, nil
			if !reflect.DeepEqual(*got, c.want) {
				t.Errorf("%s: %+v, want %+v; others %q", name, *got, c.want, others)
			}
			quiet := name == "nothing" || name == "letters of windows"
			if told := strings.Contains(strings.Join(others, "\n"), c.named); !told || quiet && len(others) > 0 {
				t.Errorf("%s: others are %q, want %q among them", name, others, c.named)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// The log is read with its ticks apart from its uploads.
func TestLogOf(t *testing.T) {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "uploads"))
	if err != nil {
		t.Fatal(err)
	}
	defer cluster.Close()
	client, err := kgo.NewClient(kgo.SeedBrokers(cluster.ListenAddrs()...))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	tick := []kgo.RecordHeader{{Key: event.ControlHeader, Value: []byte(event.ControlTick)}}
	for _, r := range []*kgo.Record{{Key: []byte("a")}, {Key: []byte("\x00control 0"), Headers: tick}, {Headers: []kgo.RecordHeader{{Key: "trace", Value: []byte("tick")}}}} {
		r.Topic = "uploads"
		if err := client.ProduceSync(t.Context(), r).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	log, err := logOf(t.Context(), cluster.ListenAddrs()[0], "uploads")
	if err != nil {
		t.Fatal(err)
	}
	uploads, ticks := apart(log)
	keys := make([]string, 3)
	for at, key := range uploads {
		keys[at.Offset] = "upload " + key
	}
	for at := range ticks {
		keys[at.Offset] = "tick"
	}
	if want := []string{"upload a", "tick", "upload "}; !slices.Equal(keys, want) {
		t.Errorf("%q, want %q", keys, want)
	}
}
