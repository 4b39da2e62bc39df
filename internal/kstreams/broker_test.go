package kstreams

import (
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tintype/tintype/internal/kafkatest"
	"github.com/tintype/tintype/transform/window"
)

const (
	brokerRecords = 5_000
	brokerTimeout = 2 * time.Minute
)

// brokerAddress is that of the broker beside the test. Where Kafka is required and
// there is none, one is started that ends with the test.
func brokerAddress(t *testing.T) string {
	t.Helper()
	if address := os.Getenv("TINTYPE_TEST_KAFKA"); address != "" {
		return address
	}
	if os.Getenv("TINTYPE_REQUIRE_KAFKA") != "1" {
		t.Skip("SKIPPED, it needs a real Kafka broker: make test-streams")
	}
	return kafkatest.Run(t).Addr()
}

// On a broker, with RocksDB, changelogs and transactions, Kafka Streams says what it
// says in its test driver, and so do we.
func TestWindowsAreThoseOfKafkaStreamsOnABroker(t *testing.T) {
	peer := buildPeer(t)
	address := brokerAddress(t)
	d := startDifferential(t)
	for _, kind := range kinds {
		t.Run(string(kind), func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), brokerTimeout)
			defer cancel()
			a := newScenario(7, kind, brokerRecords).askKafka(t, d, t.TempDir())
			job := OnBroker{
				Bootstrap: address, Spec: a.text, Records: len(a.events), Result: filepath.Join(t.TempDir(), "result"),
				Input: topicName(kind, "events"), Output: topicName(kind, "windows"), Application: topicName(kind, "streams"),
			}
			produce(ctx, t, address, job.Input, job.Output, a.events)
			if err := peer.OnBroker(ctx, job); err != nil {
				t.Fatal(err)
			}
			onBroker, err := ReadResult(job.Result)
			if err != nil {
				t.Fatal(err)
			}
			if kind == window.Session {
				CloseSessions(a.spec, a.events, onBroker)
			}
			report(t, a.scenario, "the test driver (Kafka Streams) and the broker (we)", Compare(a.kafka, onBroker))
			a.kafka = onBroker
			a.hold(t)
		})
	}
}

// The program that is measured counts every record, under both guarantees.
func TestThroughputCountsAllRecords(t *testing.T) {
	peer := buildPeer(t)
	address := brokerAddress(t)
	for _, guarantee := range []string{"exactly_once_v2", "at_least_once"} {
		t.Run(guarantee, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), brokerTimeout)
			defer cancel()
			var events []Event
			for i := range int64(brokerRecords) {
				events = append(events, Event{Partition: int32(i % 4), TimeMS: i * 10, Key: fmt.Sprint(i % 100), Value: i})
			}
			job := Throughput{
				Bootstrap: address, Spec: "tumbling:10000:0", Guarantee: guarantee, CommitIntervalMS: 100, Threads: 2, Records: len(events),
				Input: topicName("throughput", guarantee), Output: topicName("counts", guarantee), Application: topicName("app", guarantee),
			}
			produce(ctx, t, address, job.Input, job.Output, events)
			f, err := peer.Throughput(ctx, job)
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%+v", f)
			if f.Records != brokerRecords || f.Seconds <= 0 || f.CommittedSeconds < f.Seconds || f.Version != kafkatest.Version {
				t.Errorf("figures: %+v", f)
			}
			if sum := sumOfLast(ctx, t, address, job.Output); sum != brokerRecords {
				t.Errorf("the windows have %d records, want %d", sum, brokerRecords)
			}
		})
	}
}

// topicName is new in every run: the broker may live longer than the test.
func topicName[S ~string](what S, of string) string {
	return fmt.Sprintf("kstreams-%s-%s-%d", what, of, time.Now().UnixNano())
}

// produce makes both topics, and writes events in their order. The input topic has
// the broker's timestamps. The output topic has those of the events, which are years
// old: it keeps everything, or the broker deletes it while the test runs.
func produce(ctx context.Context, t *testing.T, address, input, output string, events []Event) {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(address), kgo.DefaultProduceTopic(input), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	var partitions int32
	var list []*kgo.Record
	for _, e := range events {
		partitions = max(partitions, e.Partition+1)
		list = append(list, &kgo.Record{Partition: e.Partition, Key: []byte(e.Key), Value: e.Payload()})
	}
	admin := kadm.NewClient(client)
	appendTime, forever := "LogAppendTime", "-1"
	for topic, configs := range map[string]map[string]*string{
		input:  {"message.timestamp.type": &appendTime},
		output: {"retention.ms": &forever},
	} {
		if created, err := admin.CreateTopic(ctx, partitions, 1, configs, topic); err != nil || created.Err != nil {
			t.Fatal(err, created.Err)
		}
	}
	if err := client.ProduceSync(ctx, list...).FirstErr(); err != nil {
		t.Fatal(err)
	}
}

// sumOfLast adds up the last count of each window in a topic that nobody writes to
// any more, as a reader of committed records.
func sumOfLast(ctx context.Context, t *testing.T, address, topic string) int64 {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(address), kgo.ConsumeTopics(topic), kgo.KeepControlRecords(),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	ends, err := kadm.NewClient(client).ListEndOffsets(ctx, topic)
	if err != nil {
		t.Fatal(err)
	}
	left := map[int32]int64{}
	ends.Each(func(o kadm.ListedOffset) {
		if o.Offset > 0 {
			left[o.Partition] = o.Offset
		}
	})
	last := map[string]int64{}
	for len(left) > 0 {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err0(); err != nil {
			t.Fatal(err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			if r.Offset+1 >= left[r.Partition] {
				delete(left, r.Partition)
			}
			if !r.Attrs.IsControl() {
				last[string(r.Key)] = int64(binary.BigEndian.Uint64(r.Value))
			}
		})
	}
	var sum int64
	for _, n := range last {
		sum += n
	}
	return sum
}
