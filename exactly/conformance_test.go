package exactly

import (
	"context"
	"errors"
	"fmt"
	"hash"
	"io"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/lovoo/goka"
	"github.com/lovoo/goka/storage"
	"github.com/twmb/franz-go/pkg/kgo"
)

// The conformance tests run the same processors on stock goka, over sarama, and
// on this package, on the same input topics, and compare what comes out.

// A side is one of the two: its own group, outputs and state.
type side struct {
	*lab
	name  string
	stock bool
	dir   string
	// topics that the side writes, by their short names.
	topics map[string]string
	group  goka.Group
}

// topic is the full name of a topic: the side's own, or one that both read.
func (s *side) topic(short string) string {
	if own, ok := s.topics[short]; ok {
		return own
	}
	return s.shared(short)
}

// stream and table name topics in a graph.
func (s *side) stream(short string) goka.Stream { return goka.Stream(s.topic(short)) }
func (s *side) table(short string) goka.Table   { return goka.Table(s.topic(short)) }

// shared is the name of a topic that both sides read.
func (l *lab) shared(short string) string {
	if short == "in" {
		return l.in
	}
	return l.in + "-" + short
}

// A conformance is what both sides do.
type conformance struct {
	// graph is the processor under test.
	graph func(s *side) *goka.GroupGraph
	// before, when set, is a processor that has finished before graph starts, as
	// a group of its own: it reads what graph reads not.
	before func(s *side) *goka.GroupGraph
	// options are for both sides; hasher is murmur2 where it is nil.
	options []goka.ProcessorOption
	hasher  func() hash.Hash32
	// tables are shared topics that are written before anything runs.
	tables map[string][]*kgo.Record
	// outputs are the topics that each side has for itself.
	outputs []string
	// inputs are the records of each run, by topic. Between two runs the
	// processor drains; every third one begins with an empty state directory.
	inputs []map[string][]*kgo.Record
}

// seen is a record as it is compared.
type seen struct {
	Partition int32
	Value     string // "<null>" for none
	Headers   string // sorted: goka keeps them in a map
}

// outcome is all that a side left behind.
type outcome struct {
	// outputs holds, by topic and key, the records in their order.
	outputs map[string]map[string][]seen
	// changelog holds, by table and key, the last record.
	changelog map[string]map[string]seen
}

// conform runs a case on both sides and fails where they differ. It returns what
// both left, so that a case can say what that is.
func conform(t *testing.T, c conformance) outcome {
	t.Helper()
	l := newLab(t)
	shared := map[string]bool{}
	for short := range c.tables {
		shared[short] = true
	}
	for _, run := range c.inputs {
		for short := range run {
			shared[short] = true
		}
	}
	delete(shared, "in") // The lab has it.
	for short := range shared {
		l.create(l.shared(short))
	}
	for short, records := range c.tables {
		l.sendTo(l.shared(short), c.hasher, records)
	}
	sides := []*side{l.side("stock", c.outputs), l.side("exactly", c.outputs)}
	sent := map[string]int{}
	for round, run := range c.inputs {
		for short, records := range run {
			l.sendTo(l.shared(short), c.hasher, records)
			sent[l.shared(short)] += len(records)
		}
		for _, s := range sides {
			if round == 0 && c.before != nil {
				first := *s
				first.group += "-before"
				first.until(c, c.before(&first), sent)
			}
			if round%3 == 2 {
				if err := os.RemoveAll(s.dir); err != nil {
					t.Fatal(err)
				}
			}
			s.until(c, c.graph(s), sent)
		}
	}
	outcomes := make([]outcome, len(sides))
	for i, s := range sides {
		outcomes[i] = s.outcome(c)
	}
	for topic, keys := range outcomes[0].outputs {
		compare(t, "output "+topic, keys, outcomes[1].outputs[topic])
	}
	for table, keys := range outcomes[0].changelog {
		compare(t, "changelog "+table, keys, outcomes[1].changelog[table])
	}
	return outcomes[1]
}

// compare fails for each key whose records differ.
func compare[V any](t *testing.T, what string, stock, ours map[string]V) {
	t.Helper()
	keys := maps.Clone(stock)
	maps.Copy(keys, ours)
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		a, b := fmt.Sprintf("%+v", stock[key]), fmt.Sprintf("%+v", ours[key])
		if a != b {
			t.Errorf("%s, key %q:\nstock   %s\nexactly %s", what, key, a, b)
		}
	}
}

// create makes topics of the lab's partition count.
func (l *lab) create(topics ...string) {
	l.t.Helper()
	resp, err := l.admin.CreateTopics(l.t.Context(), labPartitions, 1, nil, topics...)
	if err == nil {
		err = resp.Error()
	}
	if err != nil {
		l.t.Fatal(err)
	}
}

func (l *lab) side(name string, outputs []string) *side {
	l.t.Helper()
	s := &side{lab: l, name: name, stock: name == "stock", dir: l.t.TempDir(), topics: map[string]string{}, group: l.group + goka.Group("-"+name)}
	for _, short := range outputs {
		s.topics[short] = string(s.group) + "-" + short
		l.create(s.topics[short])
	}
	return s
}

// sendTo writes records where the hasher of the case wants them.
func (l *lab) sendTo(topic string, hasher func() hash.Hash32, records []*kgo.Record) {
	l.t.Helper()
	route := partitioner(hasher)
	for i, r := range records {
		copied := *r
		copied.Topic, copied.Partition = topic, route(r.Key, labPartitions)
		records[i] = &copied
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(l.brokers...), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.UnknownTopicRetries(-1))
	if err != nil {
		l.t.Fatal(err)
	}
	defer client.Close()
	if err := client.ProduceSync(l.t.Context(), records...).FirstErr(); err != nil {
		l.t.Fatal(err)
	}
}

// start runs a processor on this side; the returned function drains it.
func (s *side) start(c conformance, graph *goka.GroupGraph) (ended <-chan error, stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		if s.stock {
			done <- s.runStock(ctx, c, graph)
			return
		}
		cfg := s.config("a", s.dir)
		cfg.Hasher = c.hasher
		done <- Run(ctx, cfg, graph, c.options...)
	}()
	return done, cancel
}

func (s *side) runStock(ctx context.Context, c conformance, graph *goka.GroupGraph) error {
	var stock stockClients
	defer stock.close()
	p, err := goka.NewProcessor(s.brokers, graph, append(stock.options(s.dir, c.hasher), c.options...)...)
	if err != nil {
		return err
	}
	return p.Run(ctx)
}

// until runs a processor until it has committed all that was sent to its inputs,
// and all that it sent to itself.
func (s *side) until(c conformance, graph *goka.GroupGraph, sent map[string]int) {
	s.t.Helper()
	ended, stop := s.start(c, graph)
	defer stop()
	want := 0
	for _, edge := range graph.InputStreams() {
		want += sent[edge.Topic()]
	}
	s.await(func() bool {
		select {
		case err := <-ended:
			s.t.Fatalf("%s ended by itself: %v", s.name, err)
		default:
		}
		lag, err := Behind(s.t.Context(), s.client, string(graph.Group()))
		if err != nil {
			return false // The group is not there yet.
		}
		done := 0
		for _, edge := range graph.InputStreams() {
			for _, p := range lag.Lag[edge.Topic()] {
				done += int(max(p.Commit.At, 0))
			}
		}
		behind := int64(0)
		for topic, partitions := range lag.Lag {
			if table := graph.GroupTable(); table != nil && topic == table.Topic() {
				continue // Its offset holds the lineage.
			}
			for _, p := range partitions {
				behind += max(p.Lag, 0)
			}
		}
		return done == want && behind == 0
	})
	stop()
	select {
	case err := <-ended:
		if err != nil {
			s.t.Fatalf("%s: %v", s.name, err)
		}
	case <-time.After(patience):
		s.t.Fatalf("%s did not drain", s.name)
	}
}

// outcome reads what the side left, to the end.
func (s *side) outcome(c conformance) outcome {
	s.t.Helper()
	o := outcome{outputs: map[string]map[string][]seen{}, changelog: map[string]map[string]seen{}}
	for short, topic := range s.topics {
		o.outputs[short] = s.all(topic)
	}
	tables := map[string]string{}
	if table := c.graph(s).GroupTable(); table != nil {
		tables["table"] = table.Topic()
	}
	if c.before != nil {
		first := *s
		first.group += "-before"
		if table := c.before(&first).GroupTable(); table != nil {
			tables["before"] = table.Topic()
		}
	}
	for short, topic := range tables {
		o.changelog[short] = map[string]seen{}
		for key, records := range s.all(topic) {
			o.changelog[short][key] = records[len(records)-1]
		}
	}
	return o
}

// all reads the committed records of a topic to its end, by key.
func (s *side) all(topic string) map[string][]seen {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	ends, err := s.admin.ListEndOffsets(ctx, topic)
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		s.t.Fatal(err)
	}
	// Markers are kept: one of them may be the last record.
	reader, err := kgo.NewClient(kgo.SeedBrokers(s.brokers...), kgo.ConsumeTopics(topic), kgo.KeepControlRecords(),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		s.t.Fatal(err)
	}
	defer reader.Close()
	keys := map[string][]seen{}
	missing := map[int32]int64{}
	for _, p := range ends[topic] {
		if p.Offset > 0 {
			missing[p.Partition] = p.Offset - 1
		}
	}
	for len(missing) > 0 {
		fetches := reader.PollFetches(ctx)
		if err := fetches.Err0(); err != nil {
			s.t.Fatalf("read %s: %v", topic, err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			if last, ok := missing[r.Partition]; ok && r.Offset >= last {
				delete(missing, r.Partition)
			}
			if !r.Attrs.IsControl() {
				keys[string(r.Key)] = append(keys[string(r.Key)], asSeen(r))
			}
		})
	}
	return keys
}

func asSeen(r *kgo.Record) seen {
	value := "<null>"
	if r.Value != nil {
		value = string(r.Value)
	}
	var headers []string
	for _, h := range r.Headers {
		headers = append(headers, fmt.Sprintf("%s=%s", h.Key, h.Value))
	}
	slices.Sort(headers)
	return seen{r.Partition, value, strings.Join(headers, " ")}
}

// stockConfig is sarama's for stock goka: the same promises as far as it can
// give them, and short pauses.
func stockConfig() *sarama.Config {
	config := goka.DefaultConfig()
	config.Version = sarama.V2_8_0_0
	config.Consumer.Offsets.Initial = sarama.OffsetOldest
	config.Consumer.Offsets.AutoCommit.Interval = 20 * time.Millisecond
	config.Consumer.MaxWaitTime = 20 * time.Millisecond
	config.Producer.RequiredAcks = sarama.WaitForAll
	config.Producer.Flush.Frequency = time.Millisecond
	return config
}

// stockClients closes what stock goka leaves open: the clients of its lookup
// tables.
type stockClients struct{ closers []io.Closer }

func (s *stockClients) close() {
	for _, c := range s.closers {
		_ = c.Close() // Most are closed already.
	}
}

// options give stock goka a configuration of this test's own. The builders write
// into the one they are given, so that each has its own.
func (s *stockClients) options(dir string, hasher func() hash.Hash32) []goka.ProcessorOption {
	if hasher == nil {
		hasher = Murmur2Hasher()
	}
	topics := goka.NewTopicManagerConfig()
	topics.Table.Replication, topics.Stream.Replication = 1, 1
	return []goka.ProcessorOption{
		goka.WithLogger(gokaLogger{slog.New(slog.DiscardHandler)}), goka.WithHasher(hasher), goka.WithStorageBuilder(storage.DefaultBuilder(dir)),
		goka.WithConsumerGroupBuilder(goka.ConsumerGroupBuilderWithConfig(stockConfig())),
		goka.WithProducerBuilder(goka.ProducerBuilderWithConfig(stockConfig())),
		goka.WithConsumerSaramaBuilder(func(brokers []string, id string) (sarama.Consumer, error) {
			consumer, err := goka.SaramaConsumerBuilderWithConfig(stockConfig())(brokers, id)
			if err == nil {
				s.closers = append(s.closers, consumer)
			}
			return consumer, err
		}),
		goka.WithTopicManagerBuilder(func(brokers []string) (goka.TopicManager, error) {
			manager, err := goka.NewTopicManager(brokers, stockConfig(), topics)
			if err == nil {
				s.closers = append(s.closers, manager)
			}
			return manager, err
		}),
	}
}

// fails runs a processor on both sides, which is to end by itself with an error
// that says why, and to leave the offset of the record before.
func fails(t *testing.T, c conformance, why string) {
	t.Helper()
	l := newLab(t)
	for _, run := range c.inputs {
		for short, records := range run {
			l.sendTo(l.shared(short), c.hasher, records)
		}
	}
	for _, s := range []*side{l.side("stock", c.outputs), l.side("exactly", c.outputs)} {
		ended, stop := s.start(c, c.graph(s))
		var err error
		select {
		case err = <-ended:
		case <-time.After(patience):
			err = errors.New("it did not end")
		}
		stop()
		if err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%s ended with %v, want %q", s.name, err, why)
		}
		if !s.stock && !IsPermanent(err) {
			t.Errorf("the error would be tried again: %v", err)
		}
		offsets, err := s.admin.FetchOffsets(t.Context(), string(s.group))
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range offsets.Sorted() {
			if o.At > 0 {
				t.Errorf("%s committed %s/%d up to %d, past the record that failed", s.name, o.Topic, o.Partition, o.At)
			}
		}
		for short := range s.topics {
			if left := s.all(s.topics[short]); len(left) > 0 && !s.stock {
				t.Errorf("%s left %v", s.name, left)
			}
		}
	}
}
