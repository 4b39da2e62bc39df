package exactly

import (
	"encoding/binary"
	"hash/crc32"
	"os"
	"testing"
	"time"

	"github.com/lovoo/goka"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Where a broker of five partitions has put them.
func TestJavaPartition(t *testing.T) {
	for text, want := range map[string]int32{
		"": 0, "a": 97 % 5, "polygenelubricants": 0, // Whose hash is the least integer.
		"tintype-extract": 3, "tintype-transform": 1, "tintype-windows": 0, "tintype-load": 4,
		"tintype-extract/571588ae": 0, "tintype-extract/78b1c362": 1, "tintype-windows/571588ae": 3, "tintype-transform/e31d342e": 2,
	} {
		if got := javaPartition(text, 5); got != want {
			t.Errorf("%q is in partition %d, want %d", text, got, want)
		}
	}
}

// hang opens a transaction in a partition behind the coordinator's back.
func (l *lab) hang(id, topic string, partition int32) {
	l.t.Helper()
	ctx := l.t.Context()
	initialise := kmsg.NewPtrInitProducerIDRequest()
	initialise.TransactionalID, initialise.TransactionTimeoutMillis, initialise.ProducerID, initialise.ProducerEpoch = &id, 60_000, -1, -1
	producer, err := initialise.RequestWith(ctx, l.client)
	if err == nil {
		err = kerr.ErrorForCode(producer.ErrorCode)
	}
	if err != nil {
		l.t.Fatal(err)
	}
	record := kmsg.Record{Key: []byte("k0"), Value: []byte("-1")}
	body := record.AppendTo(nil)[1:] // Without its length, which is 0 so far.
	record.Length = int32(len(body))
	records := record.AppendTo(nil)
	batch := kmsg.RecordBatch{
		PartitionLeaderEpoch: -1, Magic: 2, Attributes: 1 << 4, FirstTimestamp: time.Now().UnixMilli(), MaxTimestamp: time.Now().UnixMilli(),
		ProducerID: producer.ProducerID, ProducerEpoch: producer.ProducerEpoch, NumRecords: 1, Records: records,
	}
	raw := batch.AppendTo(nil)
	binary.BigEndian.PutUint32(raw[8:], uint32(len(raw)-12))
	binary.BigEndian.PutUint32(raw[17:], crc32.Checksum(raw[21:], crc32.MakeTable(crc32.Castagnoli)))
	produce := kmsg.NewPtrProduceRequest()
	produce.TransactionID, produce.Acks, produce.TimeoutMillis = &id, -1, 10_000
	in := kmsg.NewProduceRequestTopic()
	in.Topic = topic
	details, err := l.admin.ListTopics(ctx, topic)
	if err != nil {
		l.t.Fatal(err)
	}
	in.TopicID = details[topic].ID
	at := kmsg.NewProduceRequestTopicPartition()
	at.Partition, at.Records = partition, raw
	in.Partitions = append(in.Partitions, at)
	produce.Topics = append(produce.Topics, in)
	// The version before KIP-890's: the client adds partitions to transactions, or
	// does not.
	answer, err := l.client.Broker(int(details[topic].Partitions[partition].Leader)).Request(ctx, pinned{produce, 11})
	if err != nil {
		l.t.Fatal(err)
	}
	if code := answer.(*kmsg.ProduceResponse).Topics[0].Partitions[0].ErrorCode; code != 0 {
		l.t.Fatal(kerr.ErrorForCode(code))
	}
}

// pinned is a request of a version that is not the newest.
type pinned struct {
	*kmsg.ProduceRequest
	version int16
}

func (p pinned) MaxVersion() int16 { return p.version }

// A transaction that the broker has forgotten holds up what is behind it, for
// ever: its group's members end it.
func TestForgottenTransactionsAreEnded(t *testing.T) {
	if os.Getenv("TINTYPE_TEST_KAFKA") == "" {
		t.Skip("SKIPPED: kfake takes no record behind its coordinator's back; make test-kafka runs it on a real broker")
	}
	l := newLab(t)
	setting := func(value string) {
		t.Helper()
		responses, err := l.admin.AlterBrokerConfigs(t.Context(), []kadm.AlterConfig{{Op: kadm.SetConfig, Name: "transaction.partition.verification.enable", Value: &value}})
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range responses {
			if r.Err != nil {
				t.Fatal(r.Err)
			}
		}
	}
	setting("false")
	defer setting("true")
	drain := l.running(l.config("a", ""), l.counting())
	l.send(numbered(100)...)
	l.read(l.out, 100)
	if err := drain(); err != nil {
		t.Fatal(err)
	}
	id := transactionalID(string(l.group), "dead")
	for p := range int32(labPartitions) {
		l.hang(id, l.out, p)
	}
	l.hang(id, string(goka.GroupTable(l.group)), 0)
	l.running(l.config("b", ""), l.counting())
	l.send(numbered(200)[100:]...)
	l.exact(l.read(l.out, 200), 200)
	l.table(200)
}
