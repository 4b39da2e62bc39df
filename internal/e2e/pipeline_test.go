package e2e

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"image"
	"image/color"
	"image/gif"
	"image/jpeg"
	"image/png"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tintype/tintype/bench/synthetic"
	"github.com/tintype/tintype/blob"
	"github.com/tintype/tintype/event"
	"github.com/tintype/tintype/event/eventpb"
	"github.com/tintype/tintype/internal/deployment"
	"github.com/tintype/tintype/internal/produce"
)

// send produces records as they are and returns their offsets by partition.
func send(t *testing.T, d *deployment.Deployment, records ...*kgo.Record) {
	t.Helper()
	client, err := d.Kafka.Client(append(produce.ClientOptions(), kgo.DefaultProduceTopic(d.Topics.Uploads.Name))...)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := client.ProduceSync(ctx, records...).FirstErr(); err != nil {
		t.Fatal(err)
	}
}

// upload is the record of an inline upload.
func upload(t *testing.T, d *deployment.Deployment, id, name string, data []byte) *kgo.Record {
	t.Helper()
	at := time.Now().UnixMilli()
	value, err := d.Codecs.Upload.Encode(&eventpb.Upload{
		UploadId: id, Uploader: "e2e", Filename: name, UploadedAtMs: &at, Body: &eventpb.Upload_Inline{Inline: data},
	})
	if err != nil {
		t.Fatal(err)
	}
	return &kgo.Record{Key: []byte(id), Value: value}
}

// noisy is a picture that does not compress to nothing.
func noisy(w, h int) image.Image {
	r := rand.New(rand.NewPCG(uint64(w), uint64(h)))
	img := image.NewRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			img.Set(x, y, color.RGBA{uint8(x), uint8(y), uint8(r.UintN(256)), 255})
		}
	}
	return img
}

func jpegOf(t *testing.T, w, h int) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := jpeg.Encode(&b, noisy(w, h), nil); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func pngOf(t *testing.T, img image.Image) []byte {
	t.Helper()
	var b bytes.Buffer
	encoder := png.Encoder{CompressionLevel: png.BestSpeed}
	if err := encoder.Encode(&b, img); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// gifBomb claims a screen of 60000 × 30000 in a few bytes.
func gifBomb(t *testing.T) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := gif.Encode(&b, image.NewPaletted(image.Rect(0, 0, 1, 1), color.Palette{color.Black, color.White}), nil); err != nil {
		t.Fatal(err)
	}
	data := b.Bytes()
	data[6], data[7], data[8], data[9] = 0x60, 0xea, 0x30, 0x75
	return data
}

// Every record of the log ends as exactly one row, whatever it holds, and the
// row says why.
func TestEveryRecordHasOneFate(t *testing.T) {
	d := open(t)
	run(t, d, deployment.Work{})
	good := jpegOf(t, 640, 480)
	keyless := upload(t, d, "keyless", "k.jpg", jpegOf(t, 200, 100))
	keyless.Key = nil
	foreign := upload(t, d, "foreign", "f.jpg", jpegOf(t, 210, 100))
	foreign.Key = []byte("another key than the id")
	send(t, d,
		upload(t, d, "good", "good.jpg", good),
		upload(t, d, "png", "actually.jpg", pngOf(t, noisy(300, 1500))),
		keyless, foreign,
		upload(t, d, "truncated", "t.jpg", good[:len(good)/2]),
		upload(t, d, "empty", "e.jpg", []byte{}),
		upload(t, d, "svg", "s.jpg", []byte(`<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>`)),
		upload(t, d, "gif", "g.gif", gifBomb(t)),
		upload(t, d, "thin", "thin.png", pngOf(t, image.NewGray(image.Rect(0, 0, 20000, 1)))),
		upload(t, d, "huge", "huge.png", pngOf(t, image.NewPaletted(image.Rect(0, 0, 12000, 12000), color.Palette{color.Black}))),
		&kgo.Record{Key: []byte("junk"), Value: []byte("\xff\xfe not protobuf")},
		&kgo.Record{Key: []byte("null")},
	)
	const records = 12
	eventually(t, d, records, "SELECT count() FROM uploads")
	for id, want := range map[string]string{
		"good": "original", "png": "original", "keyless": "original", "foreign": "original",
		"truncated": "dead", "empty": "dead", "svg": "dead", "gif": "dead", "thin": "dead", "huge": "dead",
	} {
		var outcome string
		if err := d.ClickHouse.QueryRow(t.Context(), "SELECT toString(outcome) FROM uploads WHERE upload_id = ?", id).Scan(&outcome); err != nil || outcome != want {
			t.Errorf("%s ended as %q (%v), want %s", id, outcome, err, want)
		}
	}
	eventually(t, d, 8, "SELECT count() FROM dead_letters")
	for id, want := range map[string]string{
		"truncated": "truncated", "empty": "empty_file", "svg": "unsupported_svg", "gif": "too_large_for_format", "thin": "aspect_ratio", "huge": "too_large_for_format",
	} {
		if n := count(t, d, "SELECT count() FROM dead_letters WHERE upload_id = ? AND reason = ?", id, want); n != 1 {
			t.Errorf("%s has %d dead letters of reason %s", id, n, want)
		}
	}
	for _, reason := range []string{"not_protobuf", "empty_record"} {
		query := "SELECT count() FROM dead_letters AS d INNER JOIN uploads AS u USING (src_topic_id, src_partition, src_offset) WHERE d.reason = ? AND u.outcome = 'dead' AND u.event_time IS NOT NULL"
		if n := count(t, d, query, reason); n != 1 {
			t.Errorf("%d fates belong to a dead letter of reason %s", n, reason)
		}
	}
	if n := count(t, d, "SELECT uniqExact(src_topic_id, src_partition, src_offset) FROM uploads WHERE src_topic_id = ?", d.UploadsID); n != records {
		t.Errorf("%d origins, want %d", n, records)
	}
	checkRenditions(t, d, "png", map[string][2]int32{"1024": {205, 1024}, "512": {102, 512}, "128": {128, 128}})
}

// checkRenditions compares sizes and looks for the blobs.
func checkRenditions(t *testing.T, d *deployment.Deployment, id string, want map[string][2]int32) {
	t.Helper()
	rows, err := d.ClickHouse.Query(t.Context(), `SELECT r.name, toInt32(r.width), toInt32(r.height), toInt64(r.bytes), r.key FROM renditions AS r
		INNER JOIN uploads AS u ON r.sha256 = u.sha256 WHERE u.upload_id = ?`, id)
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for rows.Next() {
		var name, key string
		var width, height int32
		var length int64
		if err := rows.Scan(&name, &width, &height, &length, &key); err != nil {
			t.Fatal(err)
		}
		found++
		if size := want[name]; abs(size[0]-width) > 1 || size[1] != height {
			t.Errorf("rendition %s of %s is %d×%d, want %v", name, id, width, height, size)
		}
		data, err := d.Blobs.Get(t.Context(), key, 1<<20)
		if err != nil || int64(len(data)) != length {
			t.Errorf("blob %s has %d bytes (%v), its row says %d", key, len(data), err, length)
			continue
		}
		config, format, err := image.DecodeConfig(bytes.NewReader(data))
		if err != nil || format != "jpeg" || config.Width != int(width) || config.Height != int(height) {
			t.Errorf("blob %s is a %s of %d×%d (%v)", key, format, config.Width, config.Height, err)
		}
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	if found != len(want) {
		t.Errorf("%s has %d renditions, want %d", id, found, len(want))
	}
}

func abs(n int32) int32 { return max(n, -n) }

// The same bytes twice are one original and a duplicate with the same
// renditions; the same upload id twice is one upload and a repeat; the same
// bytes by reference are a duplicate as well.
func TestDuplicatesAndRepeats(t *testing.T) {
	d := open(t)
	run(t, d, deployment.Work{})
	photo := jpegOf(t, 800, 600)
	send(t, d, upload(t, d, "first", "a.jpg", photo))
	eventually(t, d, 1, "SELECT count() FROM uploads")
	key := blob.OriginalKey("e2e")
	if err := d.Blobs.Put(t.Context(), key, photo, "image/jpeg"); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(photo)
	reference, err := d.Codecs.Upload.Encode(&eventpb.Upload{UploadId: "reference", Body: &eventpb.Upload_Reference{
		Reference: &eventpb.Reference{Key: key, Sha256: sum[:], Bytes: int64(len(photo))},
	}})
	if err != nil {
		t.Fatal(err)
	}
	send(t, d, upload(t, d, "second", "b.jpg", photo), upload(t, d, "first", "a.jpg", photo), &kgo.Record{Key: []byte("reference"), Value: reference})
	eventually(t, d, 4, "SELECT count() FROM uploads")
	for outcome, want := range map[string]uint64{"original": 1, "duplicate": 2, "repeat": 1} {
		if n := count(t, d, "SELECT count() FROM uploads WHERE outcome = ?", outcome); n != want {
			t.Errorf("%d uploads are %s, want %d", n, outcome, want)
		}
	}
	if n := count(t, d, "SELECT count() FROM uploads WHERE outcome = 'duplicate' AND duplicate_of = 'first'"); n != 2 {
		t.Errorf("%d duplicates name the first sighting", n)
	}
	if n := count(t, d, "SELECT count() FROM renditions"); n != 3 {
		t.Errorf("%d renditions, want the 3 of the original", n)
	}
	if n := count(t, d, "SELECT count() FROM uploads WHERE upload_id = 'reference' AND event_time IS NOT NULL AND uploaded_at IS NULL"); n != 1 {
		t.Error("an upload without a time has no event time, or one that it did not claim")
	}
}

// Stages that are stopped and started again, here or on another instance with
// no state, go on where they were.
func TestRestartsLoseAndRepeatNothing(t *testing.T) {
	d := open(t)
	generator := synthetic.New(synthetic.Options{Seed: 3, Small: true})
	const photos = 120
	var records []*kgo.Record
	for i := range photos {
		p := generator.Photo(i)
		records = append(records, upload(t, d, fmt.Sprintf("u%03d", i), p.Name, p.Data))
	}
	state := t.TempDir()
	for round := range 3 {
		w := deployment.Work{StateDir: state}
		if round == 2 {
			w = deployment.Work{} // Another machine: the tables come from their changelogs.
		}
		drain := run(t, d, w)
		third := photos / 3
		send(t, d, records[round*third:(round+1)*third]...)
		eventually(t, d, uint64(round*third+1), "SELECT least(count(), ?) FROM uploads", round*third+1)
		drain()
	}
	run(t, d, deployment.Work{StateDir: state})
	eventually(t, d, photos, "SELECT count() FROM uploads")
	if n := count(t, d, "SELECT uniqExact(upload_id) FROM uploads WHERE outcome IN ('original', 'duplicate')"); n != photos {
		t.Errorf("%d uploads were developed, want %d", n, photos)
	}
	if n := count(t, d, "SELECT uniqExact(sha256) FROM uploads"); n != count(t, d, "SELECT count() FROM uploads WHERE outcome = 'original'") {
		t.Errorf("%d different photos, and another number of originals", n)
	}
	originals := count(t, d, "SELECT count() FROM uploads WHERE outcome = 'original'")
	if n := count(t, d, "SELECT count() FROM renditions"); n != 3*originals {
		t.Errorf("%d renditions of %d originals", n, originals)
	}
}

// Redriven uploads pass the idempotent receiver: the fate of the dead one
// stays, the new event has its own.
func TestRedriveIsANewEvent(t *testing.T) {
	d := open(t)
	run(t, d, deployment.Work{})
	send(t, d, upload(t, d, "r", "r.jpg", []byte("no photo at all")))
	eventually(t, d, 1, "SELECT count() FROM uploads WHERE outcome = 'dead'")
	var partition int32
	var offset int64
	if err := d.ClickHouse.QueryRow(t.Context(), "SELECT src_partition, src_offset FROM uploads").Scan(&partition, &offset); err != nil {
		t.Fatal(err)
	}
	dead := event.Position{TopicID: uuid.UUID(d.UploadsID), Partition: partition, Offset: offset}
	value, err := d.Codecs.Upload.Encode(&eventpb.Upload{UploadId: "r", RedriveOf: dead.Proto(), Body: &eventpb.Upload_Inline{Inline: jpegOf(t, 50, 40)}})
	if err != nil {
		t.Fatal(err)
	}
	send(t, d, &kgo.Record{Key: []byte("r"), Value: value})
	eventually(t, d, 1, "SELECT count() FROM uploads WHERE outcome = 'original' AND redrive_of = ?", dead.String())
}
