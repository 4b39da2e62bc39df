package audit

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"google.golang.org/protobuf/proto"

	"github.com/tintype/tintype/event"
	"github.com/tintype/tintype/event/eventpb"
	"github.com/tintype/tintype/internal/devstack/devtest"
	"github.com/tintype/tintype/load"
)

func TestMain(m *testing.M) { os.Exit(devtest.Main(m)) }

// bed is a deployment without stages: the test writes the log, the offsets of
// the groups and the rows.
type bed struct {
	t       testing.TB
	options Options
	admin   *kadm.Client
	id      uuid.UUID
}

const bedPartitions = 2

func newBed(t testing.TB) *bed {
	t.Helper()
	address := os.Getenv("TINTYPE_TEST_KAFKA")
	if address == "" {
		address = devtest.Kafka(t).Addr()
	}
	name := "a" + strings.ReplaceAll(uuid.NewString(), "-", "")[:12]
	database := &clickhouse.Options{Addr: []string{devtest.ClickHouse(t).Native()}, Auth: clickhouse.Auth{Database: name}}
	admin, err := load.Open(t.Context(), &clickhouse.Options{Addr: database.Addr})
	if err != nil {
		t.Fatal(err)
	}
	if err := admin.Exec(t.Context(), "CREATE DATABASE "+name); err != nil {
		t.Fatal(err)
	}
	if err := load.Migrate(t.Context(), database); err != nil {
		t.Fatal(err)
	}
	for _, table := range []string{"uploads", "renditions", "dead_letters", "ticks"} { // Merges would replace what is there twice.
		if err := admin.Exec(t.Context(), "SYSTEM STOP MERGES "+name+"."+table); err != nil {
			t.Fatal(err)
		}
	}
	conn, err := load.Open(t.Context(), database)
	if err != nil {
		t.Fatal(err)
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(address), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		client.Close()
		if err := errors.Join(admin.Exec(context.Background(), "DROP DATABASE "+name), conn.Close(), admin.Close()); err != nil {
			t.Error(err)
		}
	})
	b := &bed{t: t, admin: kadm.NewClient(client), options: Options{
		ClickHouse: conn, Kafka: client, Topics: event.TopicsOf(name, name+"-uploads"), Wait: 2 * time.Second,
		Extract: name + "-extract", Transform: name + "-transform", Load: name + "-load", ExtractLoop: name + "-extract-loop",
	}}
	for _, topic := range b.options.Topics.All() {
		b.create(topic.Name)
	}
	return b
}

func (b *bed) create(topic string) {
	b.t.Helper()
	deadline, tick := time.After(time.Minute), time.NewTicker(20*time.Millisecond)
	defer tick.Stop()
	for {
		_, err := b.admin.CreateTopic(b.t.Context(), bedPartitions, 1, nil, topic)
		if err == nil {
			break
		}
		if !errors.Is(err, kerr.TopicAlreadyExists) {
			b.t.Fatal(err)
		}
		select {
		case <-tick.C:
		case <-deadline:
			b.t.Fatal(err)
		}
	}
	for {
		details, err := b.admin.ListTopics(b.t.Context(), topic)
		if err == nil && details.Error() == nil && len(details[topic].Partitions) == bedPartitions {
			if topic != b.options.Topics.Uploads.Name {
				return
			}
			if id := uuid.UUID(details[topic].ID); id != b.id { // The client may show the old one for a while.
				b.id = id
				return
			}
		}
		select {
		case <-tick.C:
		case <-deadline:
			b.t.Fatal(err, details.Error())
		}
	}
}

// send appends n uploads to a partition and returns their offsets.
func (b *bed) send(client *kgo.Client, partition int32, n int) []int64 {
	return b.sendAt(client, time.Now(), b.options.Topics.Uploads.Name, partition, slices.Repeat([][]byte{[]byte("v")}, n)...)
}

// sendAt appends values to a partition of a topic as of a time.
func (b *bed) sendAt(client *kgo.Client, at time.Time, topic string, partition int32, values ...[]byte) []int64 {
	b.t.Helper()
	offsets := make([]int64, 0, len(values))
	for _, value := range values {
		r := &kgo.Record{Topic: topic, Partition: partition, Timestamp: at, Key: []byte("k"), Value: value}
		if err := client.ProduceSync(b.t.Context(), r).FirstErr(); err != nil {
			b.t.Fatal(err)
		}
		offsets = append(offsets, r.Offset)
	}
	return offsets
}

// transaction appends n uploads to partition 0 in a transaction.
func (b *bed) transaction(n int, end kgo.TransactionEndTry) []int64 {
	return b.transactionOf(b.options.Topics.Uploads.Name, 0, n, end)
}

// transactionOf appends n records to a topic in a transaction.
func (b *bed) transactionOf(topic string, partition int32, n int, end kgo.TransactionEndTry) []int64 {
	b.t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(b.options.Kafka.OptValue(kgo.SeedBrokers).([]string)...), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.TransactionalID(uuid.NewString()))
	if err != nil {
		b.t.Fatal(err)
	}
	defer client.Close()
	if err := client.BeginTransaction(); err != nil {
		b.t.Fatal(err)
	}
	offsets := b.sendAt(client, time.Now(), topic, partition, slices.Repeat([][]byte{[]byte("v")}, n)...)
	if err := client.EndTransaction(b.t.Context(), end); err != nil {
		b.t.Fatal(err)
	}
	b.awaitEnd(topic, partition, offsets[n-1]+2)
	return offsets
}

// awaitEnd waits until a partition is stable up to an offset: a broker writes
// the marker of a transaction's end when it has answered.
func (b *bed) awaitEnd(topic string, partition int32, offset int64) {
	b.t.Helper()
	deadline, tick := time.After(time.Minute), time.NewTicker(20*time.Millisecond)
	defer tick.Stop()
	for {
		ends, err := b.admin.ListCommittedOffsets(b.t.Context(), topic)
		if stable, ok := ends.Lookup(topic, partition); err == nil && ok && stable.Offset >= offset {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			b.t.Fatalf("the transaction has no end: %v", err)
		}
	}
}

// read says that extract has read a partition up to an offset.
func (b *bed) read(partition int32, to int64) {
	b.commit(b.options.Extract, b.options.Topics.Uploads.Name, partition, to)
}

func (b *bed) commit(group, topic string, partition int32, to int64) {
	b.t.Helper()
	offsets := kadm.Offsets{}
	offsets.AddOffset(topic, partition, to, -1)
	if err := b.admin.CommitAllOffsets(b.t.Context(), group, offsets); err != nil {
		b.t.Fatal(err)
	}
}

// exec runs a statement.
func (b *bed) exec(statement string) {
	b.t.Helper()
	if err := b.options.ClickHouse.Exec(b.t.Context(), statement); err != nil {
		b.t.Fatal(err)
	}
}

// wantDifferences fails unless these are the differences of a report.
func (b *bed) wantDifferences(r *Report, want map[Kind]uint64) {
	b.t.Helper()
	if !maps.Equal(r.Differences, want) {
		b.t.Errorf("differences %v, want %v: %v", r.Differences, want, r.Examples)
	}
}

// row is one row of uploads; columns are set on top of the identity.
func (b *bed) row(id uuid.UUID, partition int32, offset int64, columns ...string) {
	b.t.Helper()
	names, values := []string{"upload_id", "outcome", "src_topic_id", "src_partition", "src_offset"},
		[]string{fmt.Sprintf("'u%d-%d'", partition, offset), "'repeat'", "'" + id.String() + "'", strconv.Itoa(int(partition)), strconv.FormatInt(offset, 10)}
	for _, column := range columns {
		name, value, _ := strings.Cut(column, "=")
		if name == "outcome" {
			values[1] = value
			continue
		}
		names, values = append(names, name), append(values, value)
	}
	b.insert("uploads", names, values)
}

func (b *bed) insert(table string, names, values []string) {
	b.t.Helper()
	names = append(names, "loaded_at", "load_lease", "load_topic_id", "load_partition", "load_offset")
	values = append(values, "now64(3)", "now64(3) + 60", "generateUUIDv4()", "0", "0")
	if err := b.options.ClickHouse.Exec(b.t.Context(), "INSERT INTO "+table+" ("+strings.Join(names, ", ")+") VALUES ("+strings.Join(values, ", ")+")"); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bed) audit() *Report {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), time.Minute)
	defer cancel()
	r, err := Run(ctx, b.options)
	if err != nil {
		b.t.Fatal(err)
	}
	return r
}

// partition is what a report says of a partition of the topic as it is now.
func (b *bed) partition(r *Report, partition int32) Partition {
	b.t.Helper()
	for _, p := range r.Partitions {
		if p.TopicID == b.id && p.Partition == partition {
			return p
		}
	}
	b.t.Fatalf("partition %d is not in the report", partition)
	return Partition{}
}

// Markers, aborted records, what extract has not read, and what retention took
// need no row.
func TestOffsetsThatNeedNoRow(t *testing.T) {
	b := newBed(t)
	client := b.options.Kafka
	rows := b.send(client, 0, 3)
	rows = append(rows, b.transaction(2, kgo.TryCommit)...)
	b.transaction(4, kgo.TryAbort)
	rows = append(rows, b.transaction(1, kgo.TryCommit)...)
	rows = append(rows, b.send(client, 0, 1)...)
	for _, offset := range rows {
		b.row(b.id, 0, offset)
	}
	b.send(client, 0, 2)
	last := rows[len(rows)-1]
	b.read(0, last+1)
	old := b.send(client, 1, 5)
	b.row(b.id, 1, old[3])
	b.row(b.id, 1, old[4])
	b.read(1, 5)
	gone := kadm.Offsets{}
	gone.AddOffset(b.options.Topics.Uploads.Name, 1, 3, -1)
	if _, err := b.admin.DeleteRecords(t.Context(), gone); err != nil {
		t.Fatal(err)
	}
	r := b.audit()
	if !r.OK() {
		t.Errorf("differences %v, drained %v (%s)", r.Differences, r.Drained, r.Behind)
	}
	p := b.partition(r, 0)
	if p.Rows != 7 || p.Markers != 3 || p.Aborted != 4 || p.Pending != 2 || p.Expired != 0 || p.End != last+1 {
		t.Errorf("partition 0: %+v", p)
	}
	if p := b.partition(r, 1); p.Rows != 2 || p.Expired != 3 || p.Missing != 0 || p.Pending != 0 {
		t.Errorf("partition 1: %+v", p)
	}
}

// What is missing, there twice, or was never in the log is named by position.
func TestWhatDiffersIsNamed(t *testing.T) {
	b := newBed(t)
	offsets := b.transaction(10, kgo.TryCommit)
	for _, offset := range offsets {
		if offset != 0 && offset != 4 && offset != 9 {
			b.row(b.id, 0, offset)
		}
	}
	b.row(b.id, 0, 7)
	b.row(b.id, 0, 5000)
	b.row(b.id, 1, 0)
	b.row(b.id, 7, 3)
	b.read(0, 10)
	r := b.audit()
	if r.OK() || r.Differences[Missing] != 3 || r.Differences[Twice] != 1 || r.Differences[Invented] != 3 || len(r.Differences) != 3 {
		t.Errorf("differences %v", r.Differences)
	}
	for kind, want := range map[Kind][]string{
		Missing: {"0/0", "0/4", "0/9"}, Twice: {"0/7"}, Invented: {"0/5000", "1/0", "7/3"},
	} {
		for _, place := range want {
			found := false
			for _, d := range r.Examples {
				found = found || (d.Kind == kind && d.Position == b.id.String()+"/"+place)
			}
			if !found {
				t.Errorf("%s of %s is not named: %+v", kind, place, r.Examples)
			}
		}
	}
	if p := b.partition(r, 0); p.Missing != 3 || p.Twice != 1 || p.Markers != 0 {
		t.Errorf("%+v", p)
	}
}

// A topic that was created anew is another topic: the old one's rows are
// counted, and its gaps are told from loss.
func TestATopicThatIsGone(t *testing.T) {
	b := newBed(t)
	old := b.id
	b.row(old, 0, 0)
	b.row(old, 0, 5)
	b.row(old, 1, 2)
	b.row(old, 1, 2)
	if _, err := b.admin.DeleteTopic(t.Context(), b.options.Topics.Uploads.Name); err != nil {
		t.Fatal(err)
	}
	b.create(b.options.Topics.Uploads.Name)
	if b.id == old {
		t.Fatal("the topic kept its id")
	}
	r := b.audit()
	if r.Differences[Twice] != 1 || len(r.Differences) != 1 {
		t.Errorf("differences %v", r.Differences)
	}
	for _, p := range r.Partitions {
		if p.TopicID == old && p.Partition == 0 && (!p.Gone || p.Unverified != 4 || p.Rows != 2 || p.Missing != 0) {
			t.Errorf("%+v", p)
		}
	}
	if len(r.Partitions) != 4 {
		t.Errorf("%d partitions", len(r.Partitions))
	}
}

// Records that extract has read and a later stage has not are waited for, and are
// pending when that was in vain; what is in no topic is missing all the same.
func TestWhatIsUnderWay(t *testing.T) {
	b := newBed(t)
	b.options.ExtractLoop = b.options.Topics.Photos.Name + "-loop"
	b.create(b.options.ExtractLoop)
	b.send(b.options.Kafka, 0, 5)
	b.read(0, 5)
	stamp := func(offset int64) *eventpb.Stamp {
		return &eventpb.Stamp{Origin: event.Position{TopicID: b.id, Offset: offset}.Proto()}
	}
	for topic, message := range map[string]proto.Message{
		b.options.ExtractLoop:             &eventpb.Rekeyed{Stamp: stamp(0)},
		b.options.Topics.Photos.Name:      &eventpb.Photo{Stamp: stamp(1)},
		b.options.Topics.Developed.Name:   &eventpb.Developed{Stamp: stamp(2)},
		b.options.Topics.DeadLetters.Name: &eventpb.DeadLetter{Stamp: stamp(3)},
	} {
		value, err := proto.Marshal(message)
		if err != nil {
			t.Fatal(err)
		}
		b.sendAt(b.options.Kafka, time.Now(), topic, 1, value)
	}
	b.options.Wait = 0
	r := b.audit()
	b.wantDifferences(r, map[Kind]uint64{Missing: 1})
	if r.Drained || r.OK() || !strings.Contains(r.Behind, b.options.Extract) || len(r.Notes) != 1 {
		t.Errorf("drained %v, %q, %q", r.Drained, r.Behind, r.Notes)
	}
	if p := b.partition(r, 0); p.Pending != 4 || p.Missing != 1 {
		t.Errorf("%+v", p)
	}
	if len(r.Examples) != 1 || r.Examples[0].Position != b.id.String()+"/0/4" {
		t.Errorf("%v", r.Examples)
	}
	for offset := range int64(5) {
		b.row(b.id, 0, offset)
	}
	for group, topics := range map[string][]string{
		b.options.Extract: {b.options.ExtractLoop}, b.options.Transform: {b.options.Topics.Photos.Name},
		b.options.Load: {b.options.Topics.Developed.Name, b.options.Topics.DeadLetters.Name},
	} {
		for _, topic := range topics {
			b.commit(group, topic, 1, 1)
		}
	}
	if r := b.audit(); !r.OK() || len(r.Notes) > 0 {
		t.Errorf("differences %v, drained %v (%s), %q", r.Differences, r.Drained, r.Behind, r.Notes)
	}
	// Nobody has anything to commit behind aborted records.
	b.transactionOf(b.options.Topics.Developed.Name, 0, nearEnd+5, kgo.TryAbort)
	if r := b.audit(); !r.OK() || r.Behind != "" {
		t.Errorf("behind aborted records: differences %v, drained %v (%s)", r.Differences, r.Drained, r.Behind)
	}
}

// What retention took before extract had read it is told, and is not waited for.
func TestRetentionAheadOfExtract(t *testing.T) {
	b := newBed(t)
	b.send(b.options.Kafka, 0, 5)
	b.row(b.id, 0, 0)
	b.read(0, 1)
	gone := kadm.Offsets{}
	gone.AddOffset(b.options.Topics.Uploads.Name, 0, 3, -1)
	if _, err := b.admin.DeleteRecords(t.Context(), gone); err != nil {
		t.Fatal(err)
	}
	r := b.audit()
	if p := b.partition(r, 0); !r.OK() || p.Pending != 2 || p.Rows != 1 || len(r.Notes) != 1 || !strings.Contains(r.Notes[0], "took 2 offsets") {
		t.Errorf("differences %v, notes %q, %+v", r.Differences, r.Notes, p)
	}
	b.options.Strict = true
	if r := b.audit(); r.OK() || r.Pending() != 2 {
		t.Errorf("%d pending are no failure where strict", r.Pending())
	}
}

// Gaps are found wherever they lie in their buckets, and in whatever order and
// parts the rows came.
func TestGapsOfManyRows(t *testing.T) {
	b := newBed(t)
	const rows = 3*bucketSize + 100
	holes := []int64{1, 2, 77, bucketSize - 1, bucketSize, bucketSize + 1, 2*bucketSize - 1, 3*bucketSize + 98}
	doubles := []int64{0, 5, bucketSize + 9, 3 * bucketSize, 3*bucketSize + 99}
	list := func(offsets []int64) string {
		return strings.Trim(strings.ReplaceAll(fmt.Sprint(offsets), " ", ","), "[]")
	}
	insert := func(where string) {
		b.exec(`INSERT INTO uploads (upload_id, outcome, src_topic_id, src_partition, src_offset, loaded_at, load_lease, load_topic_id, load_partition, load_offset)
			SELECT 'u', 'repeat', '00000000-0000-4000-8000-000000000009', 5, number, now64(3), now64(3) + 60, generateUUIDv4(), 0, 0 FROM numbers(` + strconv.Itoa(rows) + `) WHERE ` + where)
	}
	insert("number % 2 = 1 AND number NOT IN (" + list(holes) + ")")
	insert("number % 2 = 0 AND number NOT IN (" + list(holes) + ")")
	insert("number IN (" + list(doubles) + ")")
	r := b.audit()
	b.wantDifferences(r, map[Kind]uint64{Twice: uint64(len(doubles))})
	var twice []string
	for _, d := range r.Examples {
		twice = append(twice, d.Position)
	}
	for _, offset := range doubles {
		if place := fmt.Sprintf("00000000-0000-4000-8000-000000000009/5/%d", offset); !slices.Contains(twice, place) {
			t.Errorf("%s is not named: %q", place, twice)
		}
	}
	last := r.Partitions[len(r.Partitions)-1]
	if !last.Gone || last.Unverified != int64(len(holes)) || last.From != 0 || last.End != rows || last.Rows != rows-uint64(len(holes))+uint64(len(doubles)) {
		t.Errorf("%+v", last)
	}
}

// All differences are counted, and the first ones of each kind are named.
func TestManyDifferences(t *testing.T) {
	b := newBed(t)
	const n = maxExamples + 5
	b.send(b.options.Kafka, 0, 2*n)
	for offset := range int64(n) {
		b.row(b.id, 0, offset, "outcome='dead'")
	}
	b.read(0, 2*n)
	r := b.audit()
	b.wantDifferences(r, map[Kind]uint64{NoDeadLetter: n, Missing: n})
	var missing []string
	for _, d := range r.Examples {
		if d.Kind == Missing {
			missing = append(missing, d.Position)
		}
	}
	if len(r.Examples) != 2*maxExamples || len(missing) != maxExamples {
		t.Fatalf("%d are named, %d of them missing", len(r.Examples), len(missing))
	}
	for i, place := range missing {
		if want := fmt.Sprintf("%s/0/%d", b.id, n+i); place != want {
			t.Errorf("%s is named, want %s", place, want)
		}
	}
}

// A log that lost its tail has rows that it never had, whatever was committed.
func TestRowsBehindATruncatedLog(t *testing.T) {
	b := newBed(t)
	b.send(b.options.Kafka, 0, 2)
	for offset := range int64(4) {
		b.row(b.id, 0, offset)
	}
	b.read(0, 4)
	r := b.audit()
	b.wantDifferences(r, map[Kind]uint64{Invented: 2})
	if p := b.partition(r, 0); p.End != 2 || p.Rows != 2 || p.Invented != 2 {
		t.Errorf("%+v", p)
	}
}

// Each content has one original, which its duplicates name. A row that ClickHouse
// refused tells of no content, and makes nothing differ.
func TestOriginalsOfDuplicates(t *testing.T) {
	b := newBed(t)
	b.send(b.options.Kafka, 0, 12)
	sighting := func(offset int64, outcome, sha string, columns ...string) {
		b.row(b.id, 0, offset, append([]string{"outcome='" + outcome + "'", "spec='s'", "sha256='" + sha + "'"}, columns...)...)
		if outcome == "original" {
			b.insert("renditions", []string{"sha256", "name", "spec", "src_topic_id", "src_partition", "src_offset"},
				[]string{"'" + sha + strconv.FormatInt(offset, 10) + "'", "'512'", "'s'", "'" + b.id.String() + "'", "0", strconv.FormatInt(offset, 10)})
		}
	}
	refuse := func(offset int64) {
		b.insert("dead_letters", []string{"upload_id", "stage", "reason", "src_topic_id", "src_partition", "src_offset"},
			[]string{"'u'", "'load'", "'refused_by_sink'", "'" + b.id.String() + "'", "0", strconv.FormatInt(offset, 10)})
	}
	sighting(0, "original", "a")
	sighting(1, "duplicate", "a", "duplicate_of='u0-0'")
	b.row(b.id, 0, 2, "outcome='original'")
	refuse(2)
	sighting(3, "duplicate", "b", "duplicate_of='u0-2'")
	b.row(b.id, 0, 4, "outcome='duplicate'")
	refuse(4)
	b.read(0, 5)
	b.wantDifferences(b.audit(), map[Kind]uint64{})

	sighting(5, "original", "c")
	sighting(6, "original", "c")
	sighting(7, "duplicate", "a", "duplicate_of='u0-5'")
	sighting(8, "duplicate", "d", "duplicate_of='nobody'")
	b.row(b.id, 0, 9, "outcome='duplicate'", "duplicate_of='u0-0'")
	b.row(b.id, 0, 10, "outcome='original'", "sha256='e'")
	b.row(b.id, 0, 11)
	b.read(0, 12)
	r := b.audit()
	b.wantDifferences(r, map[Kind]uint64{TwoOriginals: 1, NoSuchOriginal: 3, NoRenditions: 1})
	for _, want := range []string{"2 originals of content c", "/0/7 upload u0-7 is a duplicate of u0-5", "/0/8 upload u0-8 is a duplicate of nobody", "/0/9 upload", "0 of 1 renditions of upload u0-10"} {
		if !slices.ContainsFunc(r.Examples, func(d Difference) bool { return strings.Contains(d.String(), want) }) {
			t.Errorf("%q is not said: %v", want, r.Examples)
		}
	}
}

// A projection that a merge has left behind differs from its table.
func TestAProjectionThatIsStale(t *testing.T) {
	b := newBed(t)
	b.exec("ALTER TABLE uploads MODIFY SETTING deduplicate_merge_projection_mode = 'ignore'")
	b.send(b.options.Kafka, 0, 1)
	b.row(b.id, 0, 0)
	b.row(b.id, 0, 0)
	b.read(0, 1)
	b.wantDifferences(b.audit(), map[Kind]uint64{Twice: 1})
	var database string
	if err := b.options.ClickHouse.QueryRow(t.Context(), "SELECT currentDatabase()").Scan(&database); err != nil {
		t.Fatal(err)
	}
	b.exec("SYSTEM START MERGES " + database + ".uploads")
	b.exec("OPTIMIZE TABLE uploads FINAL")
	r := b.audit()
	b.wantDifferences(r, map[Kind]uint64{Rollup: 2})
	for i, projection := range []string{"by_minute", "by_load"} {
		if d := r.Examples[i]; d.Table != "uploads" || !strings.Contains(d.Detail, projection) {
			t.Errorf("%s: %s", projection, d)
		}
	}
}

// The tables are compared with each other.
func TestTablesThatDisagree(t *testing.T) {
	b := newBed(t)
	b.send(b.options.Kafka, 0, 9)
	b.read(0, 4)
	rendition := func(sha string, offset int64, name string) {
		b.insert("renditions", []string{"sha256", "name", "spec", "src_topic_id", "src_partition", "src_offset"},
			[]string{"'" + sha + "'", "'" + name + "'", "'s'", "'" + b.id.String() + "'", "0", strconv.FormatInt(offset, 10)})
	}
	letter := func(offset int64, stage string) {
		b.insert("dead_letters", []string{"upload_id", "stage", "reason", "src_topic_id", "src_partition", "src_offset"},
			[]string{"'u'", "'" + stage + "'", "'empty_file'", "'" + b.id.String() + "'", "0", strconv.FormatInt(offset, 10)})
	}
	original := func(offset int64, sha string) {
		b.row(b.id, 0, offset, "outcome='original'", "spec='s'", "sha256='"+sha+"'")
	}
	original(0, "a")
	rendition("a", 0, "512")
	rendition("a", 0, "128")
	b.row(b.id, 0, 1, "outcome='dead'")
	letter(1, "extract")
	b.row(b.id, 0, 2, "outcome='duplicate'", "spec='s'", "sha256='a'", "duplicate_of='u0-0'")
	b.row(b.id, 0, 3)
	letter(3, "load") // Of a row that was refused: no death.
	if r := b.audit(); !r.OK() {
		t.Fatalf("differences %v: %+v", r.Differences, r.Examples)
	}
	original(4, "b")
	rendition("b", 4, "512")
	b.row(b.id, 0, 5)
	rendition("c", 5, "512")
	rendition("c", 5, "128")
	b.row(b.id, 0, 6, "outcome='duplicate'", "spec='s'", "sha256='d'")
	b.row(b.id, 0, 7, "outcome='dead'")
	b.row(b.id, 0, 8)
	letter(8, "extract")
	rendition("a", 0, "512") // Once more.
	b.read(0, 9)
	r := b.audit()
	for _, kind := range []Kind{Twice, NoRenditions, NoOriginal, NoSuchOriginal, NoDeadLetter, NoDead} {
		if r.Differences[kind] != 1 {
			t.Errorf("%d differences of kind %s, want 1: %+v", r.Differences[kind], kind, r.Examples)
		}
	}
	if len(r.Differences) != 6 {
		t.Errorf("differences %v", r.Differences)
	}
}

// With --since only what was appended since is looked at.
func TestSince(t *testing.T) {
	b := newBed(t)
	b.options.Since = time.Now().Add(-time.Hour)
	topic, v := b.options.Topics.Uploads.Name, []byte("v")
	b.sendAt(b.options.Kafka, b.options.Since.Add(-time.Second), topic, 0, v, v) // Missing, and long ago.
	offsets := b.sendAt(b.options.Kafka, b.options.Since.Add(time.Second), topic, 0, v, v)
	b.row(b.id, 0, offsets[0])
	b.row(b.id, 0, offsets[1])
	b.read(0, 4)
	if r := b.audit(); !r.OK() || b.partition(r, 0).From != offsets[0] {
		t.Errorf("differences %v, %+v", r.Differences, r.Partitions)
	}
	b.options.Since = time.Time{}
	if r := b.audit(); r.Differences[Missing] != 2 {
		t.Errorf("differences %v", r.Differences)
	}
}
