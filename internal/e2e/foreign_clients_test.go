package e2e

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"hash/fnv"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tintype/tintype/event/eventpb"
	"github.com/tintype/tintype/internal/deployment"
	"github.com/tintype/tintype/internal/kafkatest"
)

// A client is a producer that is not ours.
type client struct {
	name    string
	keyless bool
	// java are the settings of Kafka's own producer; none: franz-go, with FNV.
	java []string
}

var clients = []client{
	{name: "default", java: []string{"compression.type=lz4"}},
	{name: "sticky", keyless: true, java: []string{"compression.type=zstd", "batch.size=4096"}},
	{name: "fnv", java: []string{"compression.type=gzip", "partitioner.class=fnv"}},
	{name: "robin", java: []string{
		"compression.type=snappy", "partitioner.class=org.apache.kafka.clients.producer.RoundRobinPartitioner", "enable.idempotence=false", "acks=1",
	}},
	{name: "transactional", java: []string{"compression.type=zstd", "partitioner.class=fnv", "linger.ms=5"}},
	{name: "go"},
	{name: "go-keyless", keyless: true},
}

// A script is what Kafka's own producer is to do; see testdata/ForeignProducer.java.
type script struct {
	bytes.Buffer
	topic string
}

func (s *script) say(words ...string) { _, _ = s.WriteString(strings.Join(words, "\t") + "\n") }

func (s *script) send(producer string, key, value []byte, headers ...string) {
	word := func(b []byte) string {
		if b == nil {
			return "-"
		}
		return base64.StdEncoding.EncodeToString(b)
	}
	s.say(append([]string{"send", producer, s.topic, word(key), word(value)}, headers...)...)
}

// needJava finds the class path of Kafka's own clients, or skips the test.
func needJava(t *testing.T) string {
	t.Helper()
	_, err := exec.LookPath("java")
	if err != nil {
		err = errors.Join(kafkatest.ErrMissing, err)
	}
	var classpath string
	if err == nil {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		classpath, err = kafkatest.Jars(ctx)
	}
	if errors.Is(err, kafkatest.ErrMissing) && os.Getenv("TINTYPE_REQUIRE_KAFKA") != "1" {
		t.Skipf("SKIPPED, it needs Kafka's own producer: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return classpath
}

// produce runs a script and returns how many records were acknowledged. Java
// unpacks its compression libraries into the folder.
func (s *script) produce(ctx context.Context, classpath, dir string) (int, error) {
	cmd := exec.CommandContext(ctx, "java", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Djava.io.tmpdir="+dir,
		"-cp", classpath, filepath.Join("testdata", "ForeignProducer.java"))
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var stderr bytes.Buffer
	cmd.Stdin, cmd.Stderr = &s.Buffer, &stderr
	out, err := cmd.Output()
	if err != nil {
		return 0, fmt.Errorf("ForeignProducer.java: %w\n%s", err, stderr.String())
	}
	return bytes.Count(out, []byte("\n")), nil
}

// foreignUploads makes uploads with few different photos, so that contents
// repeat as well as ids.
type foreignUploads struct {
	t      *testing.T
	d      *deployment.Deployment
	photos [][]byte
}

func (f *foreignUploads) value(id string, photo int) []byte {
	f.t.Helper()
	value, err := f.d.Codecs.Upload.Encode(&eventpb.Upload{
		UploadId: id, Uploader: "foreign", UploadedAtMs: new(time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC).Add(time.Duration(photo) * time.Second).UnixMilli()),
		Body: &eventpb.Upload_Inline{Inline: f.photos[photo%len(f.photos)]},
	})
	if err != nil {
		f.t.Fatal(err)
	}
	return value
}

// send has each client send some ids, all at once: Java in one process, franz-go
// in this one. It returns how many records were acknowledged.
func (f *foreignUploads) send(classpath string, ids map[string][]string, more func(*script)) int {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(f.t.Context(), patience)
	defer cancel()
	s := &script{topic: f.d.Topics.Uploads.Name}
	brokers := "bootstrap.servers=" + strings.Join(f.d.Kafka.Brokers, ",")
	var ours []*kgo.Record
	for n, c := range clients {
		if c.java != nil {
			settings := append([]string{"producer", c.name, brokers}, c.java...)
			if c.name == "transactional" {
				settings = append(settings, "transactional.id="+f.d.Name+"-foreign")
			}
			s.say(settings...)
			if c.name == "transactional" {
				s.say("begin", c.name)
			}
		}
		for i, id := range ids[c.name] {
			key := []byte(id)
			if c.keyless || id == "" {
				key = nil
			}
			value := f.value(id, n+i)
			if c.java != nil {
				s.send(c.name, key, value, "client="+c.name, "traceparent=00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
				continue
			}
			ours = append(ours, &kgo.Record{Key: key, Value: value, Headers: []kgo.RecordHeader{{Key: "client", Value: []byte(c.name)}}})
		}
		if c.name == "transactional" {
			s.say("commit", c.name)
		}
	}
	if more != nil {
		more(s)
	}
	type result struct {
		acked int
		err   error
	}
	java, dir := make(chan result, 1), f.t.TempDir()
	go func() {
		acked, err := s.produce(ctx, classpath, dir)
		java <- result{acked, err}
	}()
	sarama := kgo.SaramaCompatHasher(func(key []byte) uint32 {
		h := fnv.New32a()
		_, _ = h.Write(key) // It never fails.
		return h.Sum32()
	})
	client, err := f.d.Kafka.Client(kgo.DefaultProduceTopic(f.d.Topics.Uploads.Name), kgo.RecordPartitioner(kgo.StickyKeyPartitioner(sarama)),
		kgo.ProducerBatchCompression(kgo.Lz4Compression()))
	if err == nil {
		defer client.Close()
		err = client.ProduceSync(ctx, ours...).FirstErr()
	}
	r := <-java
	if err := errors.Join(err, r.err); err != nil {
		f.t.Fatal(err)
	}
	return len(ours) + r.acked
}
