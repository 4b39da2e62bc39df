package windowsbench

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kgo"
	"google.golang.org/protobuf/proto"

	"github.com/tintype/tintype/event"
	"github.com/tintype/tintype/event/eventpb"
	"github.com/tintype/tintype/exactly"
)

// sourceID is the topic of uploads that the measures claim to come from.
var sourceID = uuid.MustParse("0b4c6f0e-2f4e-4c55-9a0a-64b9d1b1f6a1")

// A feeder writes measures, and the watermarks that would come with them.
type feeder struct {
	client     *kgo.Client
	topic      string
	partitions int
	controls   []string // keys of control records, by partition
	sent       int64
}

func newFeeder(brokers []string, topic string, partitions int) (*feeder, error) {
	client, err := kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.DefaultProduceTopic(topic), kgo.ProducerBatchCompression(kgo.NoCompression()),
		kgo.MaxBufferedRecords(100_000),
		kgo.RecordPartitioner(kgo.BasicConsistentPartitioner(func(string) func(*kgo.Record, int) int {
			return func(r *kgo.Record, n int) int { return int(partitionOf(string(r.Key), n)) }
		})))
	if err != nil {
		return nil, fmt.Errorf("bench: client: %w", err)
	}
	f := &feeder{client: client, topic: topic, partitions: partitions}
	for p := range partitions {
		f.controls = append(f.controls, event.ControlKey(p, partitions, partitionOf))
	}
	return f, nil
}

func partitionOf(key string, n int) int32 {
	return int32(int(exactly.Murmur2([]byte(key))&0x7fffffff) % n)
}

// keyName is a key of the dimension uploader.
func keyName(i int) string { return "uploader:user-" + strconv.Itoa(i) }

// measure makes the record of an upload at an event time, from a source where all is
// in order. Its timestamp is the event time: that is where Kafka Streams looks.
func (f *feeder) measure(i int, key string, at int64) (*kgo.Record, error) {
	value, err := proto.Marshal(&eventpb.Measure{
		Stamp: &eventpb.Stamp{
			Origin:      event.Position{TopicID: sourceID, Partition: int32(i % f.partitions), Offset: int64(i)}.Proto(),
			EventTimeMs: at, AppendTimeMs: at, StreamTimeMs: at,
		},
		Uploader: key, BytesIn: new(int64(100_000 + i%1000)),
	})
	return &kgo.Record{Key: []byte(key), Value: value, Timestamp: timeOf(at)}, err
}

// watermarks makes the records that say that every source has come to a time.
func (f *feeder) watermarks(at int64) ([]*kgo.Record, error) {
	m := &eventpb.Watermarks{TopicId: sourceID[:]}
	for _, stage := range []event.Stage{event.StageExtract, event.StageTransform} {
		for p := range f.partitions {
			task := &eventpb.TaskWatermarks{Stage: string(stage), Partition: int32(p)}
			for source := range f.partitions {
				task.Sources = append(task.Sources, &eventpb.SourceTime{Partition: int32(source), StreamTimeMs: at})
			}
			m.Tasks = append(m.Tasks, task)
		}
	}
	value, err := proto.Marshal(m)
	if err != nil {
		return nil, err
	}
	var records []*kgo.Record
	for _, key := range f.controls {
		records = append(records, &kgo.Record{
			Key: []byte(key), Value: value, Timestamp: timeOf(at),
			Headers: []kgo.RecordHeader{{Key: event.ControlHeader, Value: []byte(event.ControlWatermarks)}},
		})
	}
	return records, nil
}

// send writes n records that next makes, a few at a time, and waits until all are
// acknowledged.
func (f *feeder) send(ctx context.Context, n int, next func(i int) ([]*kgo.Record, error)) error {
	var mu sync.Mutex
	var failed error
	for i := range n {
		records, err := next(i)
		if err != nil {
			return err
		}
		for _, r := range records {
			f.sent++
			f.client.Produce(ctx, r, func(_ *kgo.Record, err error) {
				if err != nil {
					mu.Lock()
					failed = errors.Join(failed, err)
					mu.Unlock()
				}
			})
		}
	}
	if err := f.client.Flush(ctx); err != nil {
		return fmt.Errorf("bench: fill %s: %w", f.topic, err)
	}
	mu.Lock()
	defer mu.Unlock()
	return failed
}
