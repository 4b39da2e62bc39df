package verify

import (
	"context"
	"errors"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tintype/tintype/event"
	"github.com/tintype/tintype/internal/devstack/devtest"
	"github.com/tintype/tintype/load"
)

func TestMain(m *testing.M) { os.Exit(devtest.Main(m)) }

// bed is a deployment without stages: the test writes the offsets of the groups and
// the rows.
type bed struct {
	t       testing.TB
	options Options
	admin   *kadm.Client
	id      uuid.UUID
}

func newBed(t testing.TB, partitions int32) *bed {
	t.Helper()
	name := "v" + strings.ReplaceAll(uuid.NewString(), "-", "")[:12]
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
	for _, table := range []string{"uploads", "ticks", "windows", "late_uploads"} { // Merges would replace what is there twice.
		if err := admin.Exec(t.Context(), "SYSTEM STOP MERGES "+name+"."+table); err != nil {
			t.Fatal(err)
		}
	}
	conn, err := load.Open(t.Context(), database)
	if err != nil {
		t.Fatal(err)
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(devtest.Kafka(t).Addr()), kgo.RecordPartitioner(kgo.ManualPartitioner()))
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
		ClickHouse: conn, Kafka: client, Topics: event.TopicsOf(name, name+"-uploads"),
		Extract: name + "-extract", Transform: name + "-transform", Windows: name + "-windows", Load: name + "-load",
		ExtractLoop: name + "-extract-loop", WindowsLoop: name + "-windows-loop",
	}}
	for _, topic := range append([]event.Topic{{Name: b.options.WindowsLoop}}, b.options.Topics.All()...) {
		b.create(topic.Name, partitions)
	}
	return b
}

// create makes a topic, and takes note of the one of uploads.
func (b *bed) create(topic string, partitions int32) {
	b.t.Helper()
	if _, err := b.admin.CreateTopic(b.t.Context(), partitions, 1, nil, topic); err != nil {
		b.t.Fatal(err)
	}
	deadline, tick := time.After(time.Minute), time.NewTicker(20*time.Millisecond)
	defer tick.Stop()
	for {
		details, err := b.admin.ListTopics(b.t.Context(), topic)
		if err == nil && details.Error() == nil && len(details[topic].Partitions) == int(partitions) {
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

// read says that extract has read a partition up to an offset.
func (b *bed) read(partition int32, to int64) {
	b.t.Helper()
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

// send appends a record to partition 0 of a topic.
func (b *bed) send(topic string) {
	b.t.Helper()
	if err := b.options.Kafka.ProduceSync(b.t.Context(), &kgo.Record{Topic: topic, Key: []byte("k"), Value: []byte("v")}).FirstErr(); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bed) exec(statement string) {
	b.t.Helper()
	if err := b.options.ClickHouse.Exec(b.t.Context(), statement); err != nil {
		b.t.Fatal(err)
	}
}

// A line is one row of a table: SQL by column.
type line map[string]string

// with is the line with other columns: name=SQL.
func (l line) with(columns ...string) line {
	l = maps.Clone(l)
	for _, c := range columns {
		name, value, _ := strings.Cut(c, "=")
		l[name] = value
	}
	return l
}

// insert writes rows that have the same columns.
func (b *bed) insert(table string, lines ...line) {
	b.t.Helper()
	now := time.Now().UnixMilli()
	load := line{"loaded_at": at(now), "load_lease": at(now + 600_000), "load_topic_id": "'" + uuid.NewString() + "'", "load_partition": "0", "load_offset": "0"}
	for len(lines) > 0 {
		names := slices.Sorted(maps.Keys(lines[0]))
		others := slices.Sorted(maps.Keys(load))
		var rows []string
		for len(lines) > 0 && len(rows) < 1000 && slices.Equal(slices.Sorted(maps.Keys(lines[0])), names) {
			values := make([]string, 0, len(names)+len(others))
			for _, name := range names {
				values = append(values, lines[0][name])
			}
			for _, name := range others {
				values = append(values, load[name])
			}
			rows, lines = append(rows, "("+strings.Join(values, ", ")+")"), lines[1:]
		}
		b.exec("INSERT INTO " + table + " (" + strings.Join(append(names, others...), ", ") + ") VALUES " + strings.Join(rows, ", "))
	}
}

// at is SQL of a time in Unix milliseconds.
func at(ms int64) string { return time.UnixMilli(ms).UTC().Format("'2006-01-02 15:04:05.000'") }

func (b *bed) verify() *Report {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), time.Minute)
	defer cancel()
	r, err := Run(ctx, b.options)
	if err != nil {
		b.t.Fatal(err)
	}
	return r
}

// want fails unless these are the differences of a report.
func (b *bed) want(r *Report, want map[Kind]uint64) {
	b.t.Helper()
	if !maps.Equal(r.Differences, want) {
		b.t.Errorf("differences %v, want %v; %s", r.Differences, want, told(r))
	}
}

func told(r *Report) string {
	var lines []string
	for _, d := range r.Examples {
		lines = append(lines, d.String())
	}
	return strings.Join(append(lines, r.Notes...), "\n")
}

// wantText fails unless a difference or a note has each text.
func (b *bed) wantText(r *Report, texts ...string) {
	b.t.Helper()
	for _, text := range texts {
		if !strings.Contains(told(r), text) {
			b.t.Errorf("%q is not said:\n%s", text, told(r))
		}
	}
}
