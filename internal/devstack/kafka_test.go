package devstack_test

import (
	"context"
	"crypto/rand"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tintype/tintype/internal/devstack"
	"github.com/tintype/tintype/internal/devstack/devtest"
)

// patience is how long a test waits for what must come.
const patience = 30 * time.Second

func startKafka(t *testing.T, dir string) *devstack.Kafka {
	t.Helper()
	k, err := devstack.StartKafka(t.Context(), devstack.KafkaOptions{Dir: dir, Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := k.Close(); err != nil {
			t.Error(err)
		}
	})
	return k
}

func client(t *testing.T, k *devstack.Kafka, options ...kgo.Opt) *kgo.Client {
	t.Helper()
	c, err := kgo.NewClient(append(options, kgo.SeedBrokers(k.Addr()))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

func createTopic(t *testing.T, k *devstack.Kafka, name string, configs map[string]string) {
	t.Helper()
	values := make(map[string]*string, len(configs))
	for key, value := range configs {
		values[key] = &value
	}
	if _, err := kadm.NewClient(client(t, k)).CreateTopic(within(t), 1, 1, values, name); err != nil {
		t.Fatal(err)
	}
}

// commit produces values in one transaction, which it commits or aborts.
func commit(t *testing.T, k *devstack.Kafka, id string, how kgo.TransactionEndTry, values ...string) {
	t.Helper()
	c := client(t, k, kgo.TransactionalID(id), kgo.DefaultProduceTopic("photos"))
	if err := c.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	for _, value := range values {
		if err := c.ProduceSync(within(t), kgo.StringRecord(value)).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.EndTransaction(within(t), how); err != nil {
		t.Fatal(err)
	}
	c.Close()
}

// read returns the first n committed records of the topic photos.
func read(t *testing.T, k *devstack.Kafka, n int) []*kgo.Record {
	t.Helper()
	c := client(t, k, kgo.ConsumeTopics("photos"), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchMaxPartitionBytes(20<<20))
	var records []*kgo.Record
	ctx := within(t)
	for len(records) < n {
		fetches := c.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.Fatalf("%d of %d records, then %v", len(records), n, err)
		}
		records = append(records, fetches.Records()...)
	}
	return records
}

// What was committed, and who the cluster and its topics are, is still so
// after a restart on another port.
func TestKafkaPersists(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first := startKafka(t, dir)
	createTopic(t, first, "photos", nil)
	commit(t, first, "one", kgo.TryCommit, "a", "b")
	commit(t, first, "two", kgo.TryAbort, "never")
	before, err := kadm.NewClient(client(t, first)).Metadata(within(t), "photos")
	if err != nil {
		t.Fatal(err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}

	second := startKafka(t, dir)
	commit(t, second, "one", kgo.TryCommit, "c")
	after, err := kadm.NewClient(client(t, second)).Metadata(within(t), "photos")
	if err != nil {
		t.Fatal(err)
	}
	if after.Cluster != before.Cluster || after.Cluster == "" {
		t.Errorf("cluster %q became %q", before.Cluster, after.Cluster)
	}
	if was, is := before.Topics["photos"].ID, after.Topics["photos"].ID; was != is {
		t.Errorf("topic id %v became %v", was, is)
	}
	var got string
	for _, r := range read(t, second, 3) {
		got += string(r.Value)
	}
	if got != "abc" {
		t.Errorf("read %q, want %q", got, "abc")
	}
}

func TestKafkaClustersDiffer(t *testing.T) {
	t.Parallel()
	var ids [2]string
	for i := range ids {
		m, err := kadm.NewClient(client(t, devtest.Kafka(t))).BrokerMetadata(within(t))
		if err != nil {
			t.Fatal(err)
		}
		ids[i] = m.Cluster
	}
	if ids[0] == ids[1] {
		t.Errorf("two folders share the cluster id %q", ids[0])
	}
}

// A topic that says so has the broker's time on its records, whatever the
// clients claim and however they compress, over restarts; another has not.
func TestKafkaLogAppendTime(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	k := startKafka(t, dir)
	createTopic(t, k, "photos", map[string]string{"message.timestamp.type": "LogAppendTime"})
	createTopic(t, k, "claims", nil)
	started := time.Now().Truncate(time.Millisecond)
	codecs := []kgo.CompressionCodec{
		kgo.NoCompression(), kgo.GzipCompression(), kgo.SnappyCompression(), kgo.Lz4Compression(), kgo.ZstdCompression(),
	}
	text := strings.Repeat("photo ", 1000)
	for _, codec := range codecs {
		c := client(t, k, kgo.ProducerBatchCompression(codec), kgo.ProducerLinger(50*time.Millisecond))
		var records []*kgo.Record
		for _, claim := range []int64{1 << 40, 1, 1000} {
			records = append(records, &kgo.Record{Topic: "photos", Key: []byte("k"), Value: []byte(text), Timestamp: time.UnixMilli(claim)})
		}
		records = append(records, &kgo.Record{Topic: "claims", Timestamp: time.UnixMilli(1)})
		if err := c.ProduceSync(within(t), records...).FirstErr(); err != nil {
			t.Fatal(err)
		}
		c.Close()
	}
	if err := k.Close(); err != nil {
		t.Fatal(err)
	}
	k = startKafka(t, dir)
	got := read(t, k, 3*len(codecs))
	ended := time.Now()
	for _, r := range got {
		if r.Timestamp.Before(started) || r.Timestamp.After(ended) {
			t.Errorf("record at %v, want the broker's time, %v to %v", r.Timestamp, started, ended)
		}
		if string(r.Key) != "k" || string(r.Value) != text {
			t.Errorf("record %q: %d bytes", r.Key, len(r.Value))
		}
	}
	offsets, err := kadm.NewClient(client(t, k)).ListMaxTimestampOffsets(within(t), "claims")
	if err != nil {
		t.Fatal(err)
	}
	if o, _ := offsets.Lookup("claims", 0); o.Timestamp != 1 {
		t.Errorf("a topic of CreateTime has the time %d, want what the client claimed", o.Timestamp)
	}
}

// A photo of 15 MiB goes through a topic that allows 16, and through no other.
func TestKafkaBigMessages(t *testing.T) {
	t.Parallel()
	k := devtest.Kafka(t)
	createTopic(t, k, "photos", map[string]string{"max.message.bytes": "16777216"})
	createTopic(t, k, "small", nil)
	photo := make([]byte, 15<<20)
	if _, err := rand.Read(photo); err != nil {
		t.Fatal(err)
	}
	c := client(t, k, kgo.ProducerBatchMaxBytes(16<<20), kgo.ProducerBatchCompression(kgo.NoCompression()))
	if err := c.ProduceSync(within(t), &kgo.Record{Topic: "photos", Value: photo}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	if got := read(t, k, 1)[0]; len(got.Value) != len(photo) {
		t.Errorf("read %d bytes, want %d", len(got.Value), len(photo))
	}
	err := c.ProduceSync(within(t), &kgo.Record{Topic: "small", Value: photo}).FirstErr()
	if !errors.Is(err, kerr.MessageTooLarge) {
		t.Errorf("a topic of 1 MiB answered %v to a message of 15 MiB", err)
	}
}
