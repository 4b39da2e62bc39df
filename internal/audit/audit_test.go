package audit

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tintype/tintype/event"
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
	for _, table := range []string{"uploads", "renditions", "dead_letters"} { // Merges would replace what is there twice.
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
	b.t.Helper()
	offsets := make([]int64, 0, n)
	for range n {
		r := &kgo.Record{Topic: b.options.Topics.Uploads.Name, Partition: partition, Key: []byte("k"), Value: []byte("v")}
		if err := client.ProduceSync(b.t.Context(), r).FirstErr(); err != nil {
			b.t.Fatal(err)
		}
		offsets = append(offsets, r.Offset)
	}
	return offsets
}

// transaction appends n uploads in a transaction.
func (b *bed) transaction(partition int32, n int, end kgo.TransactionEndTry) []int64 {
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
	offsets := b.send(client, partition, n)
	if err := client.EndTransaction(b.t.Context(), end); err != nil {
		b.t.Fatal(err)
	}
	return offsets
}

// read says that extract has read a partition up to an offset.
func (b *bed) read(partition int32, to int64) {
	b.t.Helper()
	offsets := kadm.Offsets{}
	offsets.AddOffset(b.options.Topics.Uploads.Name, partition, to, -1)
	if err := b.admin.CommitAllOffsets(b.t.Context(), b.options.Extract, offsets); err != nil {
		b.t.Fatal(err)
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
	rows = append(rows, b.transaction(0, 2, kgo.TryCommit)...)
	b.transaction(0, 4, kgo.TryAbort)
	rows = append(rows, b.transaction(0, 1, kgo.TryCommit)...)
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
	offsets := b.transaction(0, 10, kgo.TryCommit)
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

// Records that extract has read and the loader has not are waited for.
func TestWhatIsUnderWay(t *testing.T) {
	b := newBed(t)
	b.send(b.options.Kafka, 0, 1)
	b.read(0, 1)
	fate := &kgo.Record{Topic: b.options.Topics.Developed.Name, Partition: 0, Value: []byte("fate")}
	if err := b.options.Kafka.ProduceSync(t.Context(), fate).FirstErr(); err != nil {
		t.Fatal(err)
	}
	if r := b.audit(); r.Drained || r.OK() || !strings.Contains(r.Behind, b.options.Load) {
		t.Errorf("drained %v, %q", r.Drained, r.Behind)
	}
	b.row(b.id, 0, 0)
	offsets := kadm.Offsets{}
	offsets.AddOffset(b.options.Topics.Developed.Name, 0, 1, -1)
	if err := b.admin.CommitAllOffsets(t.Context(), b.options.Load, offsets); err != nil {
		t.Fatal(err)
	}
	if r := b.audit(); !r.OK() {
		t.Errorf("differences %v, drained %v (%s)", r.Differences, r.Drained, r.Behind)
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
	b.send(b.options.Kafka, 0, 2)     // Missing, and long ago.
	time.Sleep(20 * time.Millisecond) //nolint:forbidigo // Append times have milliseconds.
	b.options.Since = time.Now()
	time.Sleep(20 * time.Millisecond) //nolint:forbidigo // As above.
	offsets := b.send(b.options.Kafka, 0, 2)
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
