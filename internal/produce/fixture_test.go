package produce

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/goleak"

	"github.com/tintype/tintype/blob"
	"github.com/tintype/tintype/event"
	"github.com/tintype/tintype/event/eventpb"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	topic      = "uploads"
	partitions = 3
)

// bench is a broker, a blob store, and what was heard of a run.
type bench struct {
	cluster *kfake.Cluster
	config  Config
	acked   []Acked
	failed  []Failed
}

func newBench(t *testing.T) *bench {
	t.Helper()
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(partitions, topic),
		kfake.BrokerConfigs(map[string]string{"message.max.bytes": fmt.Sprint(event.MaxUploadRecordBytes)}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	blobs, err := blob.Open(t.Context(), "mem://")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := blobs.Close(); err != nil {
			t.Error(err)
		}
	})
	b := &bench{cluster: cluster}
	b.config = Config{
		Client: b.client(t, ClientOptions()...), Topic: topic, Codec: event.NewCodecs().Upload, Blobs: blobs,
		Uploader: "tester", Now: func() time.Time { return time.UnixMilli(1_700_000_000_123) },
		OnAck:  func(a Acked) { b.acked = append(b.acked, a) },
		OnFail: func(f Failed) { b.failed = append(b.failed, f) },
	}
	return b
}

func (b *bench) client(t *testing.T, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	client, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(b.cluster.ListenAddrs()...)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client
}

// run runs with a deadline and expects no error.
func (b *bench) run(t *testing.T, source Source) Summary {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	summary, err := Run(ctx, b.config, source)
	if err != nil {
		t.Fatalf("run: %v (%+v)", err, b.failed)
	}
	return summary
}

// sent is an upload as a consumer finds it.
type sent struct {
	*eventpb.Upload
	record *kgo.Record
}

// consume reads n uploads, by upload id.
func (b *bench) consume(t *testing.T, n int) map[string][]sent {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	client := b.client(t, kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	found := map[string][]sent{}
	for n > 0 {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.Fatalf("consume: %d more to come: %v", n, err)
		}
		fetches.EachRecord(func(record *kgo.Record) {
			decoded := b.config.Codec.Read(record.Value)
			if decoded.Err != nil {
				t.Fatal(decoded.Err)
			}
			found[decoded.Message.UploadId] = append(found[decoded.Message.UploadId], sent{decoded.Message, record})
			n--
		})
	}
	return found
}

func item(name string, data []byte) Item {
	return Item{Name: name, Open: func() ([]byte, error) { return data, nil }}
}

// items is a source of items without errors.
func items(all ...Item) Source {
	return func(yield func(Item, error) bool) {
		for _, i := range all {
			if !yield(i, nil) {
				return
			}
		}
	}
}

// refuse has the broker answer every produce request with an error.
func (b *bench) refuse(t *testing.T, code int16) {
	t.Helper()
	b.cluster.ControlKey(int16(kmsg.Produce), func(request kmsg.Request) (kmsg.Response, error, bool) {
		b.cluster.KeepControl()
		r := request.(*kmsg.ProduceRequest)
		response := r.ResponseKind().(*kmsg.ProduceResponse)
		for _, asked := range r.Topics {
			topic := kmsg.NewProduceResponseTopic()
			topic.Topic, topic.TopicID = asked.Topic, asked.TopicID
			for _, p := range asked.Partitions {
				partition := kmsg.NewProduceResponseTopicPartition()
				partition.Partition, partition.ErrorCode = p.Partition, code
				topic.Partitions = append(topic.Partitions, partition)
			}
			response.Topics = append(response.Topics, topic)
		}
		return response, nil, true
	})
}
