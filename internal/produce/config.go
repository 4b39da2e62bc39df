// Package produce uploads photos: it reads them from files or from a
// generator, sends them to the topic uploads, small ones inside the event and
// large ones by way of the blob store, and watches until ClickHouse can tell
// what became of each.
package produce

import (
	"errors"
	"fmt"
	"runtime"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tintype/tintype/blob"
	"github.com/tintype/tintype/event"
	"github.com/tintype/tintype/event/eventpb"
)

// Carry says how a photo's bytes travel.
type Carry string

// The ways to carry bytes.
const (
	// CarryAuto sends photos up to the inline limit inline, others by reference.
	CarryAuto Carry = "auto"
	// CarryInline sends every photo inside its event.
	CarryInline Carry = "inline"
	// CarryReference puts every photo into the blob store and sends its hash.
	CarryReference Carry = "reference"
)

// DefaultInlineLimit is the longest photo that [CarryAuto] sends inline.
const DefaultInlineLimit = 256 << 10

// Config says how to upload. Client, Topic and Codec are required, and Blobs
// for everything that is carried by reference.
type Config struct {
	// Client produces; see [ClientOptions] for what it must be made with.
	Client *kgo.Client
	Topic  string
	Codec  *event.Codec[*eventpb.Upload]
	Blobs  *blob.Store
	// Carry is CarryAuto when empty.
	Carry Carry
	// InlineLimit is in bytes; 0: [DefaultInlineLimit].
	InlineLimit int64
	// Rate is how many uploads are sent a second; 0: as many as go.
	Rate float64
	// Repeat is how often each photo is sent, each time as another upload, unless
	// the item names the upload id; 0: once.
	Repeat int
	// Uploader is the uploader of items that name none.
	Uploader string
	// UploadIDs gives the id of the n-th upload, counted from 0 over all items,
	// failed ones too, and repeats; nil gives UUIDv7.
	UploadIDs func(n int) string
	// MaxInFlight bounds the uploads that wait for their acknowledgement; 0: 64.
	MaxInFlight int
	// MaxBytes bounds the bytes of photos read and not sent yet, and those of
	// records in flight, but for a single photo that is longer; 0: 64 MiB.
	MaxBytes int64
	// Workers bounds the photos that are read or put into the blob store at one
	// time; 0: one a processor.
	Workers int
	// AckTimeout is how long no acknowledgement may come while uploads wait for
	// one, and how long they are waited for once the context has ended; 0: 30 s.
	AckTimeout time.Duration
	// OnAck and OnFail hear of every upload, one at a time. They must not block
	// for long: acknowledgements wait for them.
	OnAck  func(Acked)
	OnFail func(Failed)
	// Now is the clock of uploaded_at; nil: the wall clock.
	Now func() time.Time
}

// ClientOptions are what a client must be made with: acknowledged by all
// in-sync replicas, idempotent, partitioned by Kafka's own hash of the key, no
// compression of photos, no waiting for a batch to fill.
func ClientOptions() []kgo.Opt {
	return []kgo.Opt{
		kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.RecordPartitioner(kgo.StickyKeyPartitioner(nil)),
		kgo.ProducerBatchCompression(kgo.NoCompression()),
		kgo.ProducerBatchMaxBytes(event.MaxUploadRecordBytes),
		kgo.ProducerLinger(0),
	}
}

// PrefixedIDs gives the upload ids prefix-0, prefix-1 and so on: who sends the
// same files under the same prefix again sends repeats.
func PrefixedIDs(prefix string) func(n int) string {
	return func(n int) string { return fmt.Sprintf("%s-%d", prefix, n) }
}

// withDefaults checks the configuration and fills what is left out.
func (c Config) withDefaults() (Config, error) {
	switch {
	case c.Client == nil || c.Topic == "" || c.Codec == nil:
		return c, errors.New("produce: configure: a client, a topic and a codec are required")
	case c.Carry != "" && c.Carry != CarryAuto && c.Carry != CarryInline && c.Carry != CarryReference:
		return c, fmt.Errorf("produce: configure: carry %q: want auto, inline or reference", c.Carry)
	case c.Carry == CarryReference && c.Blobs == nil:
		return c, errors.New("produce: configure: to carry by reference a blob store is required")
	case c.Rate < 0 || c.Repeat < 0 || c.InlineLimit < 0:
		return c, errors.New("produce: configure: rate, repeat and inline limit are never negative")
	case c.Client.OptValue(kgo.DisableIdempotentWrite) != false || c.Client.OptValue(kgo.RequiredAcks) != kgo.AllISRAcks():
		return c, errors.New("produce: configure: the client is not idempotent with acks from all in-sync replicas")
	}
	setDefault(&c.Carry, CarryAuto)
	setDefault(&c.InlineLimit, DefaultInlineLimit)
	setDefault(&c.Repeat, 1)
	setDefault(&c.MaxInFlight, 64)
	setDefault(&c.MaxBytes, 64<<20)
	setDefault(&c.Workers, runtime.GOMAXPROCS(0))
	setDefault(&c.AckTimeout, 30*time.Second)
	if c.UploadIDs == nil {
		c.UploadIDs = func(int) string { return uuid.Must(uuid.NewV7()).String() }
	}
	if c.OnAck == nil {
		c.OnAck = func(Acked) {}
	}
	if c.OnFail == nil {
		c.OnFail = func(Failed) {}
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return c, nil
}

// setDefault fills a field that was left out.
func setDefault[T comparable](field *T, value T) {
	if *field == *new(T) {
		*field = value
	}
}

// An Acked is an upload that the brokers hold. Topic id, Partition and Offset
// are its origin.
type Acked struct {
	UploadID  string `json:"upload_id"`
	Partition int32  `json:"partition"`
	Offset    int64  `json:"offset"`
	// File is the item's name.
	File string `json:"file"`
	// Bytes is the photo's length.
	Bytes int64 `json:"bytes"`
	// Carry is inline or reference.
	Carry Carry `json:"carry"`
	// UploadedAt is the event time.
	UploadedAt time.Time `json:"uploaded_at"`
	// SentAt is when it was handed to the client; latency counts from there.
	SentAt time.Time `json:"-"`
}

// A Failed is a photo that was not sent, or an upload of it that the brokers
// did not take.
type Failed struct {
	File string
	// UploadID is empty where none was given yet.
	UploadID string
	Err      error
}

// A Summary counts what a run did.
type Summary struct {
	Acked  int `json:"acked"`
	Failed int `json:"failed"`
	// Unknown are the uploads without an answer when the run gave up: the brokers
	// may hold them or not.
	Unknown int `json:"unknown"`
	// Bytes are the bytes of the photos acknowledged.
	Bytes   int64         `json:"bytes"`
	Elapsed time.Duration `json:"elapsed_ns"`
}
