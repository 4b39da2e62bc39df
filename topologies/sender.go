package topologies

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tintype/tintype/exactly"
)

// A sender writes control records outside of any transaction, each to a partition of
// its own: records that do no harm when they come twice, or from a process that was
// given up on.
type sender struct{ client *kgo.Client }

// sendTimeout bounds one control record: the next one serves as well.
const sendTimeout = 5 * time.Second

func newSender(c Config) (*sender, error) {
	client, err := kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(c.Brokers...), kgo.ClientID("tintype-" + c.Instance),
		kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(0), kgo.RecordDeliveryTimeout(sendTimeout),
	}, c.KafkaOptions...)...)
	if err != nil {
		return nil, fmt.Errorf("topologies: client of control records: %w", err)
	}
	return &sender{client}, nil
}

// send writes a record to a partition and waits until the brokers have it.
func (s *sender) send(ctx context.Context, r exactly.Record, partition int32) error {
	ctx, cancel := context.WithTimeout(ctx, sendTimeout)
	defer cancel()
	record := &kgo.Record{Topic: r.Topic, Partition: partition, Key: []byte(r.Key), Value: r.Value}
	for name, value := range r.Headers {
		record.Headers = append(record.Headers, kgo.RecordHeader{Key: name, Value: value})
	}
	if err := s.client.ProduceSync(ctx, record).FirstErr(); err != nil {
		s.client.PurgeTopicsFromProducing(r.Topic) // The client would look for a topic that was made anew by its former id, for ever.
		return fmt.Errorf("topologies: send a control record to %s/%d: %w", r.Topic, partition, err)
	}
	return nil
}

func (s *sender) close() { s.client.Close() }
