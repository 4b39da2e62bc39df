package exactly

import (
	"context"
	"fmt"
	"sync"

	"github.com/IBM/sarama"
	"github.com/twmb/franz-go/pkg/kgo"
)

// tableConsumer is the sarama.Consumer that goka recovers tables with.
type tableConsumer struct{ a *Adapter }

var _ sarama.Consumer = (*tableConsumer)(nil)

func newTableConsumer(a *Adapter) *tableConsumer { return &tableConsumer{a: a} }

// Topics is not supported; goka never calls it.
func (c *tableConsumer) Topics() ([]string, error) {
	return nil, fmt.Errorf("exactly: list topics: not supported")
}

// Partitions lists the partitions of a topic.
func (c *tableConsumer) Partitions(topic string) ([]int32, error) {
	return topicManager{c.a}.Partitions(topic)
}

// ConsumePartition reads the committed records of a partition from an offset on.
func (c *tableConsumer) ConsumePartition(topic string, partition int32, offset int64) (sarama.PartitionConsumer, error) {
	start := kgo.NewOffset().At(offset)
	switch offset {
	case sarama.OffsetOldest:
		start = kgo.NewOffset().AtStart()
	case sarama.OffsetNewest:
		start = kgo.NewOffset().AtEnd()
	}
	client, err := kgo.NewClient(append(c.a.cfg.clientOptions("exactly-table-"+c.a.cfg.Instance),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {partition: start}}),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.FetchMaxBytes(fetchBytes), kgo.FetchMaxPartitionBytes(fetchBytes),
	)...)
	if err != nil {
		return nil, c.a.note(fmt.Errorf("exactly: read table %s/%d: %w", topic, partition, err))
	}
	ctx, cancel := context.WithCancel(context.Background())
	p := &partitionConsumer{
		client: client, topic: topic, partition: partition, cancel: cancel,
		messages: make(chan *sarama.ConsumerMessage, claimBuffer), errors: make(chan *sarama.ConsumerError, 1),
	}
	p.wg.Go(func() { p.read(ctx) })
	return p, nil
}

// HighWaterMarks is only for goka's statistics.
func (c *tableConsumer) HighWaterMarks() map[string]map[int32]int64 { return nil }

// Close does nothing: each partition closes its own client.
func (c *tableConsumer) Close() error { return nil }

// Pause is not supported; goka never calls it.
func (c *tableConsumer) Pause(map[string][]int32) {}

// Resume is not supported; goka never calls it.
func (c *tableConsumer) Resume(map[string][]int32) {}

// PauseAll is not supported; goka never calls it.
func (c *tableConsumer) PauseAll() {}

// ResumeAll is not supported; goka never calls it.
func (c *tableConsumer) ResumeAll() {}

// partitionConsumer reads one partition of a table.
type partitionConsumer struct {
	client    *kgo.Client
	topic     string
	partition int32
	cancel    context.CancelFunc
	wg        sync.WaitGroup
	messages  chan *sarama.ConsumerMessage
	errors    chan *sarama.ConsumerError
}

func (p *partitionConsumer) read(ctx context.Context) {
	defer close(p.errors)
	defer close(p.messages)
	defer p.client.Close()
	for ctx.Err() == nil {
		fetches := p.client.PollFetches(ctx)
		if ctx.Err() != nil {
			return
		}
		if errs := fetches.Errors(); len(errs) > 0 {
			p.errors <- &sarama.ConsumerError{Topic: p.topic, Partition: p.partition, Err: errs[0].Err}
			return
		}
		for iter := fetches.RecordIter(); !iter.Done(); {
			select {
			case p.messages <- message(iter.Next()):
			case <-ctx.Done():
				return
			}
		}
	}
}

// AsyncClose begins to end the reading.
func (p *partitionConsumer) AsyncClose() { p.cancel() }

// Close ends the reading.
func (p *partitionConsumer) Close() error {
	p.cancel()
	for range p.messages { //nolint:revive // Drained, so that the reader can end.
	}
	p.wg.Wait()
	return nil
}

// Messages implements sarama.PartitionConsumer.
func (p *partitionConsumer) Messages() <-chan *sarama.ConsumerMessage { return p.messages }

// Errors implements sarama.PartitionConsumer.
func (p *partitionConsumer) Errors() <-chan *sarama.ConsumerError { return p.errors }

// HighWaterMarkOffset is only for statistics.
func (p *partitionConsumer) HighWaterMarkOffset() int64 { return 0 }

// Pause is not supported; goka never calls it.
func (p *partitionConsumer) Pause() {}

// Resume is not supported; goka never calls it.
func (p *partitionConsumer) Resume() {}

// IsPaused implements sarama.PartitionConsumer.
func (p *partitionConsumer) IsPaused() bool { return false }
