package topologies

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"google.golang.org/protobuf/proto"

	"github.com/tintype/tintype/event"
	"github.com/tintype/tintype/event/eventpb"
	"github.com/tintype/tintype/exactly"
	"github.com/tintype/tintype/internal/devstack/devtest"
	"github.com/tintype/tintype/load"
)

func TestMain(m *testing.M) { os.Exit(devtest.Main(m)) }

// patience is how long a test waits for what must come.
const patience = time.Minute

// sink is the load stage on a broker and a database of its own.
type sink struct {
	testing.TB
	config  Config
	options *clickhouse.Options
	conn    driver.Conn
	kafka   *kgo.Client
	uploads uuid.UUID
}

func newSink(t testing.TB, partitions int32) *sink {
	t.Helper()
	s := &sink{TB: t, uploads: uuid.New()}
	name := "t" + strings.ReplaceAll(uuid.NewString(), "-", "")
	devtest.Database(t, name)
	s.options = &clickhouse.Options{Addr: []string{devtest.ClickHouse(t).Native()}, Auth: clickhouse.Auth{Database: name}}
	if err := load.Migrate(t.Context(), s.options); err != nil {
		t.Fatal(err)
	}
	var err error
	if s.conn, err = load.Open(t.Context(), s.options); err != nil {
		t.Fatal(err)
	}
	for _, table := range []string{"uploads", "renditions", "dead_letters", "windows", "late_uploads", "ticks"} { // Merges would hide what is there twice.
		s.exec("SYSTEM STOP MERGES " + table)
	}
	t.Cleanup(func() {
		if err := s.conn.Close(); err != nil {
			t.Error(err)
		}
	})
	brokers := []string{devtest.Kafka(t).Addr()}
	if s.kafka, err = kgo.NewClient(kgo.SeedBrokers(brokers...)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.kafka.Close)
	topics := event.TopicsOf("", "")
	if _, err := kadm.NewClient(s.kafka).CreateTopics(t.Context(), partitions, 1, nil,
		topics.Developed.Name, topics.DeadLetters.Name, topics.WindowResults.Name, topics.Late.Name, topics.Ticks.Name); err != nil {
		t.Fatal(err)
	}
	s.config = Config{
		Deployment: event.DefaultDeployment, Topics: topics, Codecs: event.NewCodecs(), Brokers: brokers, CreateTopics: true, ClickHouse: s.conn,
		StateDir: t.TempDir(), Instance: "one", Delivery: exactly.ExactlyOnce, CommitInterval: 100 * time.Millisecond, LoadLinger: 100 * time.Millisecond,
		TransactionTimeout: 30 * time.Second, Metrics: NewMetrics(), Log: slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn})), Now: time.Now,
	}
	return s
}

func (s *sink) exec(statement string) {
	s.Helper()
	if err := s.conn.Exec(s.Context(), statement); err != nil {
		s.Fatalf("%s: %v", statement, err)
	}
}

// send produces the fates of the uploads from an offset on: every third is a
// duplicate, the others are originals, of the given widths.
func (s *sink) send(partition int32, first int, widths ...int32) {
	s.Helper()
	var records []*kgo.Record
	for i, width := range widths {
		offset := first + i
		id := fmt.Sprintf("u-%d-%d", partition, offset)
		sha := make([]byte, 32)
		sha[0], sha[1], sha[2] = byte(partition), byte(offset), byte(offset>>8)
		d := &eventpb.Developed{
			Stamp:  &eventpb.Stamp{Origin: event.Position{TopicID: s.uploads, Partition: partition, Offset: int64(offset)}.Proto(), EventTimeMs: 1_000_000 + int64(offset), AppendTimeMs: 2_000_000, StreamTimeMs: 3_000_000},
			Sender: &eventpb.Sender{UploadId: id, Uploader: "ada", Filename: "a.jpg", UploadedAtMs: new(int64(1_000_000))}, Outcome: eventpb.Outcome_OUTCOME_ORIGINAL,
			Facts: &eventpb.Facts{Sha256: sha, Format: "jpeg", Bytes: 10, Width: width, Height: 10}, Spec: new("s"),
			Renditions: []*eventpb.Rendition{{Name: "512", Width: width, Height: 5, Bytes: 5, Key: "k"}, {Name: "128", Width: 1, Height: 1, Bytes: 1, Key: "k"}},
		}
		if offset > 0 && offset%3 == 0 {
			d.Outcome, d.DuplicateOf = eventpb.Outcome_OUTCOME_DUPLICATE, new("u-0-0")
		}
		value, err := s.config.Codecs.Developed.Encode(d)
		if err != nil {
			s.Fatal(err)
		}
		records = append(records, &kgo.Record{Topic: s.config.Topics.Developed.Name, Partition: partition, Key: []byte(id), Value: value})
	}
	s.produce(records...)
}

// produce writes records to their partitions.
func (s *sink) produce(records ...*kgo.Record) {
	s.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(s.config.Brokers...), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		s.Fatal(err)
	}
	defer client.Close()
	if err := client.ProduceSync(s.Context(), records...).FirstErr(); err != nil {
		s.Fatal(err)
	}
}

// message is a record of a message.
func (s *sink) message(topic event.Topic, partition int32, m proto.Message) *kgo.Record {
	s.Helper()
	value, err := proto.Marshal(m)
	if err != nil {
		s.Fatal(err)
	}
	return &kgo.Record{Topic: topic.Name, Partition: partition, Key: []byte("all:"), Value: value}
}

// run runs the stage until stop, which returns how it ended.
func (s *sink) run() (stop func() error) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	r := &Runner{config: s.config}
	stage := newLoadStage(&stageBase{Config: s.config, name: event.StageLoad, tally: newTally(s.config.Metrics, event.StageLoad)})
	go func() {
		err := exactly.Run(ctx, r.exactlyConfig(event.StageLoad, stage), stage.graph())
		stage.close() //nolint:contextcheck // The stage's own has ended.
		done <- err
	}()
	stop = sync.OnceValue(func() error {
		cancel()
		return s.end(done)
	})
	s.Cleanup(func() {
		if err := stop(); err != nil && !s.Failed() && !exactly.IsPermanent(err) {
			s.Errorf("the stage ended with %v", err)
		}
	})
	return stop
}

// end waits for the end of the stage.
func (s *sink) end(done <-chan error) error {
	select {
	case err := <-done:
		return err
	case <-time.After(patience):
		return errors.New("the stage does not end")
	}
}

func (s *sink) count(query string) uint64 {
	s.Helper()
	var n uint64
	if err := s.conn.QueryRow(context.Background(), query).Scan(&n); err != nil {
		s.Fatalf("%s: %v", query, err)
	}
	return n
}

func (s *sink) eventually(want uint64, query string) {
	s.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		got := s.count(query)
		switch {
		case got == want:
			return
		case got > want:
			s.Fatalf("%s: %d, more than %d", query, got, want)
		}
		select {
		case <-deadline:
			s.Fatalf("%s: still %d, want %d", query, got, want)
		case <-tick.C:
		}
	}
}

func (s *sink) must(want uint64, queries ...string) {
	s.Helper()
	for _, query := range queries {
		if n := s.count(query); n != want {
			s.Errorf("%s: %d, want %d", query, n, want)
		}
	}
}

// readOn has the next process read on, up to one more fate of each partition: what
// the one before has not committed comes again before that.
func (s *sink) readOn(offsets ...int) {
	s.Helper()
	before := s.count("SELECT count() FROM uploads")
	stop := s.run()
	for partition, offset := range offsets {
		s.send(int32(partition), offset, 100)
	}
	s.eventually(before+uint64(len(offsets)), "SELECT count() FROM uploads")
	if err := stop(); err != nil {
		s.Fatal(err)
	}
}

// A row that a constraint refuses becomes a dead letter and a row of its fate
// alone; every other row is there once, and nothing is there twice.
func TestARefusedRowKeepsItsFate(t *testing.T) {
	s := newSink(t, 2)
	s.exec("ALTER TABLE uploads ADD CONSTRAINT small CHECK width < 5000 OR width IS NULL")
	s.exec("ALTER TABLE renditions ADD CONSTRAINT high CHECK width != 4999")
	const n = 200
	all := make([]int32, n)
	for i := range all {
		all[i] = 100
	}
	all[0], all[7], all[8], all[150], all[n-1] = 6000, 6000, 6000, 6000, 6000
	s.send(0, 0, all...)
	all = make([]int32, n)
	for i := range all {
		all[i] = 100
	}
	all[10] = 4999 // Its renditions are refused, its upload is not.
	s.send(1, 0, all...)
	stop := s.run()
	s.eventually(2*n, "SELECT count() FROM uploads")
	s.eventually(6, "SELECT count() FROM dead_letters")
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	s.readOn(n, n)
	const at = "(src_partition, src_offset)"
	s.must(6,
		"SELECT count() FROM dead_letters WHERE stage = 'load' AND reason = 'refused_by_sink' AND detail LIKE 'Constraint `%' AND event_time IS NOT NULL",
		"SELECT count() FROM uploads WHERE "+at+` IN (SELECT src_partition, src_offset FROM dead_letters) AND uploader = '' AND filename = '' AND width IS NULL AND sha256 IS NULL AND spec IS NULL
			AND outcome IN ('original', 'duplicate') AND event_time IS NOT NULL AND append_time IS NOT NULL AND stream_time IS NOT NULL AND uploaded_at IS NOT NULL AND upload_id = concat('u-', toString(src_partition), '-', toString(src_offset))`,
		"SELECT count() FROM (SELECT DISTINCT src_partition, src_offset FROM dead_letters)",
		"SELECT count() FROM dead_letters WHERE "+at+" IN ((0, 0), (0, 7), (0, 8), (0, 150), (0, 199), (1, 10))",
	)
	s.must(2*n-6+2, "SELECT count() FROM uploads WHERE width = 100 AND uploader = 'ada'")
	s.must(2*n+2, "SELECT count() FROM uploads", "SELECT count() FROM (SELECT DISTINCT src_partition, src_offset FROM uploads)")
	s.must(0, "SELECT count() FROM (SELECT 1 FROM renditions GROUP BY sha256, name HAVING count() > 1)",
		"SELECT count() FROM renditions WHERE src_partition = 1 AND src_offset = 10")
	var originals uint64
	for offset := range n + 1 {
		if offset == 0 || offset%3 != 0 {
			originals++
		}
	}
	s.must(2*originals, "SELECT count() FROM renditions WHERE src_partition = 0")
	s.must(20, "SELECT count() FROM load_owners FINAL WHERE event = 'released' AND instance = 'one'") // Two processes, five topics.
}

// Results of windows, late uploads and ticks are one row each. What ClickHouse refuses
// of them is a dead letter of its own and nothing else; what is none of ours is passed
// over.
func TestWindowsAreLoaded(t *testing.T) {
	s := newSink(t, 2)
	s.exec("ALTER TABLE windows ADD CONSTRAINT few CHECK count < 1000")
	s.exec("ALTER TABLE late_uploads ADD CONSTRAINT known CHECK cause != 'odd'")
	s.exec("ALTER TABLE ticks ADD CONSTRAINT young CHECK src_offset != 5")
	topics := s.config.Topics
	stamp := func(partition int32, offset int64) *eventpb.Stamp {
		return &eventpb.Stamp{Origin: event.Position{TopicID: s.uploads, Partition: partition, Offset: offset}.Proto(), EventTimeMs: 1_000_000, AppendTimeMs: 2_000_000, StreamTimeMs: 3_000_000}
	}
	const n = 20
	var records []*kgo.Record
	for p := range int32(2) {
		for i := range int64(n) {
			w := &eventpb.WindowResult{Aggregate: "tumbling-1m-all", Kind: "tumbling", Dimension: "all", WindowStartMs: 60_000 * int64(p), WindowEndMs: 60_000 * int64(p+1), Revision: i, Count: i}
			l := &eventpb.LateUpload{Stamp: stamp(p, i/2), Aggregate: "tumbling-1m-all", Dimension: "all", WindowStartMs: i % 2, Cause: "late"}
			if p == 0 && i == 7 {
				w.Count, l.Cause = 5000, "odd"
			}
			records = append(records, s.message(topics.WindowResults, p, w), s.message(topics.Late, p, l), s.message(topics.Ticks, p, &eventpb.Ticked{Stamp: stamp(p, i)}))
		}
		for _, topic := range []event.Topic{topics.WindowResults, topics.Late, topics.Ticks} {
			records = append(records, &kgo.Record{Topic: topic.Name, Partition: p, Value: []byte("\xff")}, &kgo.Record{Topic: topic.Name, Partition: p, Value: []byte{}}, &kgo.Record{Topic: topic.Name, Partition: p})
		}
	}
	s.produce(records...)
	s.send(0, 0, 100)
	stop := s.run()
	s.eventually(2*n-1, "SELECT count() FROM windows")
	s.eventually(2*n-1, "SELECT count() FROM late_uploads")
	s.eventually(2*n-2, "SELECT count() FROM ticks")
	s.eventually(4, "SELECT count() FROM dead_letters")
	s.eventually(1, "SELECT count() FROM uploads")
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	s.readOn(1, 1)
	s.must(2*n-1, "SELECT count() FROM windows", "SELECT uniqExact(load_partition, load_offset) FROM windows", "SELECT count() FROM late_uploads", "SELECT uniqExact(load_partition, load_offset) FROM late_uploads")
	s.must(2*n-2, "SELECT count() FROM ticks", "SELECT uniqExact(src_partition, src_offset) FROM ticks")
	s.must(2, "SELECT count() FROM windows_latest WHERE count = 19")
	s.must(4, "SELECT count() FROM dead_letters WHERE stage = 'load' AND reason = 'refused_by_sink' AND upload_id = ''")
	uploads := "src_topic_id = '" + s.uploads.String() + "'"
	s.must(1,
		"SELECT count() FROM dead_letters WHERE detail LIKE 'windows: Constraint `few`%tumbling-1m-all%revision 7)' AND NOT "+uploads+" AND src_offset = 7 AND toUnixTimestamp(event_time) = 0",
		"SELECT count() FROM dead_letters WHERE detail LIKE 'late_uploads: Constraint `known`%(upload at "+s.uploads.String()+"/0/3, %' AND NOT "+uploads+" AND src_offset = 7 AND toUnixTimestamp(event_time) = 1000",
		"SELECT count() FROM dead_letters WHERE detail LIKE 'ticks: Constraint `young`%' AND "+uploads+" AND src_partition = 0 AND src_offset = 5",
		"SELECT count() FROM dead_letters WHERE detail LIKE 'ticks: Constraint `young`%' AND "+uploads+" AND src_partition = 1 AND src_offset = 5",
	)
}

// What refuses every row of a fate stops the loader, which says why; after the
// table is healed it goes on, and nothing is missing.
func TestATableThatRefusesEverythingStopsTheLoader(t *testing.T) {
	s := newSink(t, 1)
	s.exec("ALTER TABLE uploads ADD CONSTRAINT none CHECK upload_id = ''")
	s.send(0, 0, 100, 100, 100)
	done := make(chan error, 1)
	stage := newLoadStage(&stageBase{Config: s.config, name: event.StageLoad, tally: newTally(s.config.Metrics, event.StageLoad)})
	r := &Runner{config: s.config}
	go func() {
		err := exactly.Run(t.Context(), r.exactlyConfig(event.StageLoad, stage), stage.graph())
		stage.close()
		done <- err
	}()
	err := s.end(done)
	var last *load.GivenUpError
	if !errors.As(err, &last) || !exactly.IsPermanent(err) {
		t.Fatalf("the loader ended with %v, want a table that refuses the smallest row", err)
	}
	if text := last.Error(); strings.Contains(text, "\n") || !strings.Contains(text, "uploads refuses") || !strings.Contains(text, "Constraint `none`") {
		t.Errorf("the reason is %q", text)
	}
	s.must(0, "SELECT count() FROM uploads")
	s.exec("ALTER TABLE uploads DROP CONSTRAINT none")
	stop := s.run()
	s.eventually(3, "SELECT count() FROM uploads")
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	s.readOn(3)
	s.must(4, "SELECT count() FROM uploads", "SELECT uniqExact(src_offset) FROM uploads")
	s.must(s.count("SELECT count() FROM dead_letters"), "SELECT count() FROM uploads WHERE width IS NULL")
}

// Too many parts slow the loader down; no row is blamed.
func TestTooManyPartsSlowDown(t *testing.T) {
	s := newSink(t, 1)
	s.send(0, 0, 100)
	stop := s.run()
	s.eventually(1, "SELECT count() FROM uploads")
	s.exec("ALTER TABLE uploads MODIFY SETTING parts_to_throw_insert = 1, parts_to_delay_insert = 1, max_delay_to_insert = 1")
	s.send(0, 1, 101, 101)
	s.eventually(6, "SELECT count() FROM renditions") // It has tried.
	s.must(1, "SELECT count() FROM uploads")
	s.exec("ALTER TABLE uploads RESET SETTING parts_to_throw_insert, parts_to_delay_insert, max_delay_to_insert")
	s.eventually(3, "SELECT count() FROM uploads")
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	s.readOn(3)
	s.must(4, "SELECT count() FROM uploads", "SELECT uniqExact(src_offset) FROM uploads WHERE width IS NOT NULL")
	s.must(0, "SELECT count() FROM dead_letters")
}

// A server without a place for this program ends the stage at once.
func TestMissingTablesStopTheLoader(t *testing.T) {
	s := newSink(t, 1)
	s.exec("DROP TABLE renditions")
	stage := newLoadStage(&stageBase{Config: s.config, name: event.StageLoad, tally: newTally(s.config.Metrics, event.StageLoad)})
	err := stage.hooks().Assigned(t.Context(), []exactly.Claim{{Topic: "developed", TopicID: uuid.New()}})
	if !exactly.IsPermanent(err) || !strings.Contains(err.Error(), "UNKNOWN_TABLE") {
		t.Errorf("%v, want a permanent error", err)
	}
}
