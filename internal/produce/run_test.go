package produce

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tintype/tintype/bench/synthetic"
	"github.com/tintype/tintype/blob"
	"github.com/tintype/tintype/event"
	"github.com/tintype/tintype/event/eventpb"
)

func TestSmallPhotosTravelInlineAndLargeOnesByReference(t *testing.T) {
	b := newBench(t)
	b.config.InlineLimit = 100
	small, large := bytes.Repeat([]byte{1}, 100), bytes.Repeat([]byte{2}, 101)
	claimed := item("dir/claimed.jpg", small)
	claimed.UploadID, claimed.Uploader, claimed.UploadedAt = "given", "someone", time.UnixMilli(1_600_000_000_000)
	summary := b.run(t, items(item("dir/small.jpg", small), item("large.jpg", large), item("empty.jpg", nil), claimed, item("bad\xff.jpg", small)))
	if summary.Acked != 5 || summary.Failed != 0 || summary.Unknown != 0 || summary.Bytes != 401 {
		t.Errorf("summary %+v", summary)
	}
	found := b.consume(t, 5)
	for _, a := range b.acked {
		if len(found[a.UploadID]) != 1 {
			t.Fatalf("%s: %d records", a.File, len(found[a.UploadID]))
		}
		u := found[a.UploadID][0]
		if u.record.Partition != a.Partition || u.record.Offset != a.Offset || string(u.record.Key) != a.UploadID {
			t.Errorf("%s: acknowledged at %d/%d, stands at %d/%d with key %q", a.File, a.Partition, a.Offset, u.record.Partition, u.record.Offset, u.record.Key)
		}
		switch a.File {
		case "dir/small.jpg":
			id, err := uuid.Parse(a.UploadID)
			if err != nil || id.Version() != 7 {
				t.Errorf("upload id %q is no UUIDv7", a.UploadID)
			}
			if u.Filename != "small.jpg" || u.Uploader != "tester" || u.GetUploadedAtMs() != 1_700_000_000_123 || !bytes.Equal(u.GetInline(), small) || a.Carry != CarryInline {
				t.Errorf("small photo: %v", u.Upload)
			}
		case "large.jpg":
			sum := sha256.Sum256(large)
			ref := u.GetReference()
			if ref.GetKey() != blob.OriginalKey(hex.EncodeToString(sum[:])) || !bytes.Equal(ref.GetSha256(), sum[:]) || ref.GetBytes() != 101 || a.Carry != CarryReference {
				t.Errorf("large photo: %v", u.Upload)
			}
			stored, err := b.config.Blobs.Get(t.Context(), ref.GetKey(), 1000)
			if err != nil || !bytes.Equal(stored, large) {
				t.Errorf("blob of the large photo: %d bytes, %v", len(stored), err)
			}
		case "empty.jpg":
			if body, ok := u.Body.(*eventpb.Upload_Inline); !ok || len(body.Inline) != 0 {
				t.Errorf("empty photo: body %T, want inline of no bytes", u.Body)
			}
		case "dir/claimed.jpg":
			if u.UploadId != "given" || u.Uploader != "someone" || u.GetUploadedAtMs() != 1_600_000_000_000 {
				t.Errorf("photo with claims: %v", u.Upload)
			}
		default:
			if u.Filename != "bad\ufffd.jpg" {
				t.Errorf("filename %q", u.Filename)
			}
		}
	}
}

func TestUploadsKeepTheOrderOfTheSource(t *testing.T) {
	b := newBench(t)
	b.config.Workers, b.config.MaxInFlight, b.config.MaxBytes = 4, 3, 2000
	b.config.Repeat = 2
	b.config.UploadIDs = PrefixedIDs("P")
	const n = 100
	bad := errors.New("bad")
	summary := b.run(t, func(yield func(Item, error) bool) {
		for i := range n {
			var err error
			if i == 50 {
				err = bad
			}
			if !yield(item(fmt.Sprint(i), make([]byte, 900+i)), err) {
				return
			}
		}
	})
	if summary.Acked != 2*n-2 || summary.Failed != 1 || len(b.failed) != 1 || !errors.Is(b.failed[0].Err, bad) || b.failed[0].File != "50" {
		t.Fatalf("summary %+v, failed %+v", summary, b.failed)
	}
	for id, all := range b.consume(t, 2*n-2) {
		if len(all) != 1 {
			t.Errorf("%s was sent %d times", id, len(all))
		}
	}
	last := map[int32]int{}
	for _, a := range b.acked {
		var sequence int
		if _, err := fmt.Sscanf(a.UploadID, "P-%d", &sequence); err != nil {
			t.Fatal(err)
		}
		if want := fmt.Sprint(sequence / 2); a.File != want {
			t.Errorf("%s belongs to file %s, want %s", a.UploadID, a.File, want)
		}
		if before, ok := last[a.Partition]; ok && before > sequence {
			t.Errorf("partition %d holds %d before %d", a.Partition, before, sequence)
		}
		last[a.Partition] = sequence
	}
}

func TestAnItemsOwnIDIsRepeated(t *testing.T) {
	b := newBench(t)
	b.config.Repeat = 3
	own := item("a.jpg", []byte("a"))
	own.UploadID = "mine"
	b.run(t, items(own))
	if found := b.consume(t, 3); len(found["mine"]) != 3 {
		t.Errorf("found %v, want the id three times", found)
	}
}

// TestPartitionsAreKafkasOwn holds the partitions to the vectors of Kafka's
// own test of murmur2 (UtilsTest).
func TestPartitionsAreKafkasOwn(t *testing.T) {
	b := newBench(t)
	vectors := map[string]int32{"21": -973932308, "foobar": -790332482, "a-little-bit-long-string": -985981536, "abc": 479470107}
	var all []Item
	for id := range vectors {
		photo := item("a.jpg", nil)
		photo.UploadID = id
		all = append(all, photo)
	}
	b.run(t, items(all...))
	for _, a := range b.acked {
		if want := vectors[a.UploadID] & 0x7fffffff % partitions; a.Partition != want {
			t.Errorf("%s: on partition %d, want %d", a.UploadID, a.Partition, want)
		}
	}
}

func TestSyntheticPhotosArriveAsGenerated(t *testing.T) {
	b := newBench(t)
	g := synthetic.New(synthetic.Options{Seed: 4, Small: true})
	const n = 20
	summary := b.run(t, Synthetic(g, n))
	if summary.Acked != n {
		t.Fatalf("summary %+v", summary)
	}
	byName := map[string]*eventpb.Upload{}
	for _, all := range b.consume(t, n) {
		byName[all[0].Filename] = all[0].Upload
	}
	for i := range n {
		p := g.Photo(i)
		u := byName[p.Name]
		if u.GetUploader() != p.Uploader || !bytes.Equal(u.GetInline(), p.Data) {
			t.Errorf("photo %d: sent by %q with %d bytes, want %q, %d", i, u.GetUploader(), len(u.GetInline()), p.Uploader, len(p.Data))
		}
	}
}

func TestTooLargeForOneRecord(t *testing.T) {
	b := newBench(t)
	huge := item("huge.tiff", make([]byte, event.MaxUploadRecordBytes))
	b.config.Carry = CarryInline
	summary := b.run(t, items(huge, item("small.jpg", []byte("s"))))
	if summary.Acked != 1 || summary.Failed != 1 || !strings.Contains(b.failed[0].Err.Error(), "--carry reference") || b.failed[0].File != "huge.tiff" {
		t.Errorf("inline: %+v, %+v", summary, b.failed)
	}
	b.config.Carry, b.config.InlineLimit = CarryAuto, 1<<40
	b.acked = nil
	if b.run(t, items(huge)); len(b.acked) != 1 || b.acked[0].Carry != CarryReference {
		t.Errorf("auto: %+v", b.acked)
	}
}

// TestTheBrokersOwnLimit has a broker that takes less than the client believes.
func TestTheBrokersOwnLimit(t *testing.T) {
	b := newBench(t)
	b.refuse(t, kerr.MessageTooLarge.Code)
	b.config.Carry = CarryInline
	summary := b.run(t, items(item("a.jpg", []byte("a"))))
	if summary.Failed != 1 || !errors.Is(b.failed[0].Err, kerr.MessageTooLarge) || !strings.Contains(b.failed[0].Err.Error(), "--carry reference") {
		t.Errorf("%+v, %+v", summary, b.failed)
	}
}

func TestARefusalOfTheBrokersEndsTheRun(t *testing.T) {
	b := newBench(t)
	b.refuse(t, kerr.TopicAuthorizationFailed.Code)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	endless := func(yield func(Item, error) bool) {
		for yield(item("a.jpg", []byte("a")), nil) {
		}
	}
	summary, err := Run(ctx, b.config, endless)
	if !errors.Is(err, kerr.TopicAuthorizationFailed) || summary.Acked != 0 || summary.Failed == 0 {
		t.Errorf("run: %v, %+v", err, summary)
	}
}

func TestSilentBrokersEndTheRun(t *testing.T) {
	b := newBench(t)
	release := make(chan struct{})
	defer close(release)
	b.cluster.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
		b.cluster.KeepControl()
		b.cluster.SleepControl(func() { <-release })
		return nil, nil, false
	})
	b.config.AckTimeout = 50 * time.Millisecond
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	summary, err := Run(ctx, b.config, items(item("a.jpg", []byte("a"))))
	if !errors.Is(err, errSilent) || summary.Unknown != 1 || summary.Acked != 0 {
		t.Errorf("run: %v, %+v", err, summary)
	}
}

// TestTheEndOfTheContextFinishesWhatIsInFlight ends the context while the
// broker holds back its answer to the first of ten uploads.
func TestTheEndOfTheContextFinishesWhatIsInFlight(t *testing.T) {
	b := newBench(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	enough := errors.New("enough")
	const n = 10
	allSent := make(chan struct{})
	b.config.MaxInFlight = n
	b.config.UploadIDs = func(i int) string {
		if i == n-1 {
			close(allSent)
		}
		return fmt.Sprint(i)
	}
	b.cluster.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
		b.cluster.SleepControl(func() {
			<-allSent
			cancel(enough)
		})
		return nil, nil, false
	})
	endless := func(yield func(Item, error) bool) {
		for yield(item("a.jpg", []byte("a")), nil) {
		}
	}
	summary, err := Run(ctx, b.config, endless)
	if !errors.Is(err, enough) || summary.Acked != n || summary.Failed != 0 || summary.Unknown != 0 {
		t.Errorf("run: %v, %+v, %+v", err, summary, b.failed)
	}
	b.consume(t, n)
}

func TestMemoryIsBounded(t *testing.T) {
	t.Run("size known", func(t *testing.T) { memoryIsBounded(t, 400, 1000) })
	t.Run("size unknown", func(t *testing.T) { memoryIsBounded(t, 0, 2*unknownSize) })
}

// memoryIsBounded sends photos of which two fit into the budget.
func memoryIsBounded(t *testing.T, size, budget int64) {
	b := newBench(t)
	b.config.MaxBytes, b.config.Repeat, b.config.Workers = budget, 3, 4
	var mu sync.Mutex
	held := 0 // Photos that were opened and are not sent yet, as far as one can see from outside.
	b.config.UploadIDs = func(n int) string {
		mu.Lock()
		defer mu.Unlock()
		if n%3 == 2 {
			held-- // The last upload of a photo is about to be sent.
		}
		return fmt.Sprint(n)
	}
	photo := Item{Name: "a.jpg", Size: size, Open: func() ([]byte, error) {
		mu.Lock()
		defer mu.Unlock()
		if held++; held > 3 { // Two that fit, and one that is just being sent.
			t.Errorf("%d photos are held", held)
		}
		return make([]byte, 400), nil
	}}
	longer := Item{Name: "longer.jpg", Size: 5000, Open: func() ([]byte, error) {
		mu.Lock()
		defer mu.Unlock()
		held++
		return make([]byte, 5000), nil
	}}
	all := slices.Repeat([]Item{photo}, 20)
	if summary := b.run(t, items(slices.Insert(all, 10, longer)...)); summary.Acked != 63 {
		t.Errorf("%+v, %+v", summary, b.failed)
	}
}

func TestASourceThatBlocksDoesNotHoldTheRun(t *testing.T) {
	b := newBench(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	enough := errors.New("enough")
	b.config.OnAck = func(Acked) { cancel(enough) }
	release, ended := make(chan struct{}), make(chan struct{})
	summary, err := Run(ctx, b.config, func(yield func(Item, error) bool) {
		defer close(ended)
		if yield(item("a.jpg", nil), nil) {
			<-release // A terminal where nobody types.
			yield(Item{Name: "b.jpg", Open: func() ([]byte, error) { t.Error("a photo was opened after the end"); return nil, nil }}, nil)
		}
	})
	if !errors.Is(err, enough) || summary.Acked != 1 || summary.Unknown != 0 {
		t.Errorf("run: %v, %+v", err, summary)
	}
	close(release)
	<-ended
}

func TestConfigurationIsChecked(t *testing.T) {
	b := newBench(t)
	good := b.config
	for name, change := range map[string]func(*Config){
		"no client":      func(c *Config) { c.Client = nil },
		"carry":          func(c *Config) { c.Carry = "pigeon" },
		"no blobs":       func(c *Config) { c.Carry, c.Blobs = CarryReference, nil },
		"negative rate":  func(c *Config) { c.Rate = -1 },
		"not idempotent": func(c *Config) { c.Client = b.client(t, kgo.DisableIdempotentWrite()) },
		"too few to acks": func(c *Config) {
			c.Client = b.client(t, kgo.RequiredAcks(kgo.LeaderAck()), kgo.DisableIdempotentWrite())
		},
	} {
		c := good
		change(&c)
		if _, err := Run(t.Context(), c, items()); err == nil || !strings.Contains(err.Error(), "produce: configure") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if summary := b.run(t, items()); summary.Acked+summary.Failed != 0 {
		t.Errorf("an empty source: %+v", summary)
	}
}

func TestAutoWithoutBlobsFailsTheLargeOnes(t *testing.T) {
	b := newBench(t)
	b.config.Blobs, b.config.InlineLimit = nil, 3
	summary := b.run(t, items(item("large.jpg", []byte("large")), item("ok.jpg", []byte("ok"))))
	if summary.Acked != 1 || summary.Failed != 1 || !strings.Contains(b.failed[0].Err.Error(), "large.jpg") {
		t.Errorf("%+v, %+v", summary, b.failed)
	}
}

func TestBadUploadIDs(t *testing.T) {
	b := newBench(t)
	ids := []string{strings.Repeat("x", event.MaxUploadIDBytes+1), "\xff", "ok"}
	b.config.UploadIDs = func(n int) string { return ids[n] }
	summary := b.run(t, items(item("a", nil), item("b", nil), item("c", nil)))
	if summary.Acked != 1 || summary.Failed != 2 || b.acked[0].UploadID != "ok" {
		t.Errorf("%+v, %+v", summary, b.failed)
	}
}

func TestAckedAsJSON(t *testing.T) {
	line, err := json.Marshal(Acked{
		UploadID: "id", Partition: 2, Offset: 40, File: "a/b.jpg", Bytes: 3, Carry: CarryInline,
		UploadedAt: time.UnixMilli(1_700_000_000_123).UTC(), SentAt: time.Now(),
	})
	const want = `{"upload_id":"id","partition":2,"offset":40,"file":"a/b.jpg","bytes":3,"carry":"inline","uploaded_at":"2023-11-14T22:13:20.123Z"}`
	if err != nil || string(line) != want {
		t.Errorf("got %s (%v)\nwant %s", line, err, want)
	}
}
