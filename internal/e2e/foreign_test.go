package e2e

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"google.golang.org/protobuf/proto"

	"github.com/tintype/tintype/bench/synthetic"
	"github.com/tintype/tintype/event"
	"github.com/tintype/tintype/event/eventpb"
	"github.com/tintype/tintype/exactly"
	"github.com/tintype/tintype/internal/audit"
	"github.com/tintype/tintype/internal/deployment"
	"github.com/tintype/tintype/topologies"
)

// committed reads all committed records of a topic with a plain consumer.
func committed(t *testing.T, d *deployment.Deployment, topic string) []*kgo.Record {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	// Markers are kept, so that the last record of each partition is seen.
	client, err := d.Kafka.Client(kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	ends, err := kadm.NewClient(client).ListCommittedOffsets(ctx, topic)
	if err := errors.Join(err, ends.Error()); err != nil {
		t.Fatal(err)
	}
	waiting := map[int32]int64{}
	for partition, end := range ends[topic] {
		if end.Offset > 0 {
			waiting[partition] = end.Offset - 1
		}
	}
	var records []*kgo.Record
	for len(waiting) > 0 {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.Fatalf("read %s: %v, still waiting for %v", topic, err, waiting)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			if last, ok := waiting[r.Partition]; ok && r.Offset >= last {
				delete(waiting, r.Partition)
			}
			if !r.Attrs.IsControl() {
				records = append(records, r)
			}
		})
	}
	return records
}

// table reads a group's table off its changelog, and fails where a key is not on
// the partition of its hash.
func table(t *testing.T, d *deployment.Deployment, stage event.Stage) map[string][]byte {
	t.Helper()
	last := map[string][]byte{}
	for _, r := range committed(t, d, topologies.Group(d.Name, stage)+"-table") {
		if want := int32(int(exactly.Murmur2(r.Key)) % d.PartitionCount); r.Partition != want {
			t.Errorf("key %s of %s is on partition %d, want %d", r.Key, r.Topic, r.Partition, want)
		}
		last[string(r.Key)] = r.Value
		if r.Value == nil {
			delete(last, string(r.Key))
		}
	}
	return last
}

// fate is a row of uploads.
type fate struct {
	id, outcome, sha, duplicateOf string
	eventTime                     time.Time
}

func fates(t *testing.T, d *deployment.Deployment) map[event.Position]fate {
	t.Helper()
	rows, err := d.ClickHouse.Query(t.Context(), `SELECT src_topic_id, src_partition, src_offset, upload_id, toString(outcome), ifNull(sha256, ''), ifNull(duplicate_of, ''), assumeNotNull(event_time) FROM uploads`)
	if err != nil {
		t.Fatal(err)
	}
	found := map[event.Position]fate{}
	for rows.Next() {
		var at event.Position
		var f fate
		if err := rows.Scan(&at.TopicID, &at.Partition, &at.Offset, &f.id, &f.outcome, &f.sha, &f.duplicateOf, &f.eventTime); err != nil {
			t.Fatal(err)
		}
		if _, twice := found[at]; twice {
			t.Errorf("%s has two rows", at)
		}
		found[at] = f
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		t.Fatal(err)
	}
	return found
}

// Whatever client sends uploads, with whatever keys, partitioner, compression and
// transactions: each committed record has one fate, an id is taken once, content
// has one first sighting, and the tables say the same as a recount of the log.
func TestForeignClientsEndExact(t *testing.T) {
	classpath := needJava(t)
	d := open(t)
	f := &foreignUploads{t: t, d: d, photos: [][]byte{jpegOf(t, 1500, 1100)}} // The first is too large for the loop.
	if len(f.photos[0]) < 256<<10 {
		t.Fatalf("the large photo has %d bytes only", len(f.photos[0]))
	}
	generator := synthetic.New(synthetic.Options{Seed: 11, Small: true})
	for i := range 12 {
		f.photos = append(f.photos, generator.Photo(i).Data)
	}
	const own, shared, nameless, aborted = 8, 8, 3, 5
	ids := map[string][]string{}
	var all []string
	for _, c := range clients {
		for i := range own {
			ids[c.name] = append(ids[c.name], fmt.Sprintf("%s-%d", c.name, i))
		}
		all = append(all, ids[c.name]...)
		for i := range shared {
			ids[c.name] = append(ids[c.name], fmt.Sprintf("shared-%d", i))
		}
	}
	for i := range shared {
		all = append(all, fmt.Sprintf("shared-%d", i))
	}
	for range nameless {
		ids["sticky"] = append(ids["sticky"], "")
	}
	first, second := run(t, d, deployment.Work{}), run(t, d, deployment.Work{})
	acked := f.send(classpath, ids, func(s *script) {
		// What is aborted never was, and takes no id.
		s.say("begin", "transactional")
		for i := range aborted {
			id := fmt.Sprintf("aborted-%d", i)
			s.send("transactional", []byte(id), f.value(id, i))
		}
		s.say("abort", "transactional")
		s.say("begin", "transactional")
		s.send("transactional", []byte("aborted-0"), f.value("aborted-0", 1))
		s.say("commit", "transactional")
	})
	all = append(all, "aborted-0")
	sent := uint64(acked - aborted)
	eventually(t, d, sent, "SELECT count() FROM uploads")
	repeats := count(t, d, "SELECT count() FROM uploads WHERE outcome = 'repeat'")
	if want := uint64(shared * (len(clients) - 1)); repeats != want {
		t.Errorf("%d repeats, want %d", repeats, want)
	}
	first()
	second()

	// Another machine with the tables of their changelogs: each id comes from
	// another client than before, and all are taken.
	run(t, d, deployment.Work{})
	again := map[string][]string{}
	for i, id := range all {
		c := clients[(i/own+1+i%3)%len(clients)]
		again[c.name] = append(again[c.name], id)
	}
	sent += uint64(f.send(classpath, again, nil))
	eventually(t, d, sent, "SELECT count() FROM uploads")
	if n := count(t, d, "SELECT count() FROM uploads WHERE outcome = 'repeat'"); n != repeats+uint64(len(all)) {
		t.Errorf("%d repeats after all %d ids came again, %d before", n, len(all), repeats)
	}
	recount(t, d, sent, nameless)
	auditForeign(t, d, sent, aborted)
}

// recount holds rows and tables against the log.
func recount(t *testing.T, d *deployment.Deployment, sent uint64, nameless int) {
	t.Helper()
	records := committed(t, d, d.Topics.Uploads.Name)
	rows := fates(t, d)
	if uint64(len(records)) != sent || len(rows) != len(records) {
		t.Errorf("%d rows of %d records, sent %d", len(rows), len(records), sent)
	}
	type taken struct {
		at   event.Position
		row  fate
		some bool
	}
	byID, originals := map[string]taken{}, map[string]taken{}
	var keyless, elsewhere, derived int
	for _, r := range records {
		at := event.Position{TopicID: uuid.UUID(d.UploadsID), Partition: r.Partition, Offset: r.Offset}
		row, ok := rows[at]
		u := new(eventpb.Upload)
		if err := proto.Unmarshal(r.Value, u); err != nil {
			t.Fatal(err)
		}
		id := u.UploadId
		switch {
		case r.Key == nil:
			keyless++
		case int32(int(exactly.Murmur2(r.Key))%d.PartitionCount) != r.Partition:
			elsewhere++
		}
		if id == "" {
			id = at.UploadID()
			derived++
		}
		if !ok || row.id != id {
			t.Errorf("%s is upload %s, its row says %+v", at, id, row)
			continue
		}
		t0 := byID[id]
		if row.outcome != "repeat" {
			if t0.some {
				t.Errorf("upload %s was taken twice: at %s and at %s", id, t0.at, at)
			}
			t0 = taken{at, row, true}
			sum := sha256.Sum256(u.GetInline())
			if row.sha != hex.EncodeToString(sum[:]) {
				t.Errorf("%s holds %x, its row says %s", at, sum, row.sha)
			}
			if row.outcome == "original" {
				if o := originals[row.sha]; o.some {
					t.Errorf("%s was first seen twice: at %s and at %s", row.sha, o.at, at)
				}
				originals[row.sha] = t0
			}
		}
		byID[id] = t0
	}
	if keyless == 0 || elsewhere == 0 || derived != nameless {
		t.Errorf("the log has %d records without a key, %d on a foreign partition, %d without an id", keyless, elsewhere, derived)
	}
	t.Logf("%d records: %d without a key, %d on a foreign partition; %d ids, %d contents", len(records), keyless, elsewhere, len(byID), len(originals))

	seen := table(t, d, event.StageExtract)
	if !slices.Equal(slices.Sorted(maps.Keys(seen)), slices.Sorted(maps.Keys(byID))) {
		t.Errorf("the table of extract has %d ids, the log %d", len(seen), len(byID))
	}
	for id, winner := range byID {
		if !winner.some {
			t.Errorf("upload %s was never taken", id)
			continue
		}
		state := d.Codecs.SeenUpload.Read(seen[id])
		if state.Err != nil || state.Message.EventTimeMs != winner.row.eventTime.UnixMilli() {
			t.Errorf("the table of extract has %v (%v) of %s, taken at %s", state.Message, state.Err, id, winner.row.eventTime)
		}
		original := originals[winner.row.sha]
		if winner.row.outcome == "duplicate" && (!original.some || winner.row.duplicateOf != original.row.id) {
			t.Errorf("upload %s is a duplicate of %q, first seen was %q", id, winner.row.duplicateOf, original.row.id)
		}
	}
	sightings := table(t, d, event.StageTransform)
	if !slices.Equal(slices.Sorted(maps.Keys(sightings)), slices.Sorted(maps.Keys(originals))) {
		t.Errorf("the table of transform has %d contents, %d have an original", len(sightings), len(originals))
	}
	for sha, original := range originals {
		state := d.Codecs.Sightings.Read(sightings[sha])
		if state.Err != nil || len(state.Message.BySpec) != 1 {
			t.Errorf("the table of transform has %v (%v) of %s", state.Message, state.Err, sha)
			continue
		}
		for _, s := range state.Message.BySpec {
			if event.PositionOf(s.Origin) != original.at || s.UploadId != original.row.id {
				t.Errorf("%s was first seen at %s as %s, the table says %s", sha, original.at, original.row.id, strconv.Quote(s.UploadId))
			}
		}
	}
}

// auditForeign has the audit find nothing, and tell aborted records from lost ones.
func auditForeign(t *testing.T, d *deployment.Deployment, sent uint64, aborted int64) {
	t.Helper()
	client, err := d.Kafka.Client()
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	extract := topologies.Group(d.Name, event.StageExtract)
	report, err := audit.Run(t.Context(), audit.Options{
		ClickHouse: d.ClickHouse, Kafka: client, Topics: d.Topics, Wait: patience,
		Extract: extract, Transform: topologies.Group(d.Name, event.StageTransform), Load: topologies.Group(d.Name, event.StageLoad),
		ExtractLoop: topologies.LoopTopic(extract),
	})
	if err != nil {
		t.Fatal(err)
	}
	var rows uint64
	var rolledBack, markers int64
	for _, p := range report.Partitions {
		rows, rolledBack, markers = rows+p.Rows, rolledBack+p.Aborted, markers+p.Markers
	}
	if !report.OK() || rows != sent || rolledBack != aborted || markers == 0 {
		t.Errorf("audit: %d rows of %d, %d aborted of %d, %d markers, %v, %v", rows, sent, rolledBack, aborted, markers, report.Behind, report.Examples)
	}
}
