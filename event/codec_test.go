package event

import (
	"encoding/hex"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"

	"github.com/tintype/tintype/event/eventpb"
)

var update = flag.Bool("update", false, "rewrite the golden files")

var origin = Position{TopicID: uuid.MustParse("0f0e0d0c-0b0a-4908-8706-050403020100"), Partition: 3, Offset: 1 << 40}

func stamp() *eventpb.Stamp {
	return &eventpb.Stamp{Origin: origin.Proto(), EventTimeMs: 1_700_000_000_123, AppendTimeMs: 1_700_000_001_000, StreamTimeMs: 1_700_000_000_500}
}

func sender() *eventpb.Sender {
	return &eventpb.Sender{UploadId: "u-1", Uploader: "ada", Filename: "a b.jpg", UploadedAtMs: new(int64(1_700_000_000_123))}
}

func facts() *eventpb.Facts {
	return &eventpb.Facts{
		Sha256: []byte(strings.Repeat("\xab", 32)), Format: "jpeg", Bytes: 4096, Width: 1024, Height: 768, Orientation: 6,
		CameraMake: new("Nikon"), CameraModel: new("FM2"), TakenAtLocalMs: new(int64(1_000)), TakenOffsetMin: new(int32(-150)),
		Latitude: new(48.2), Longitude: new(-16.3), Iso: new(uint32(400)), ExposureS: new(0.008), FNumber: new(1.4), FocalLengthMm: new(50.0),
	}
}

// wire lists one value of every message with its codec.
func wire() map[string]struct {
	message proto.Message
	codec   interface {
		Encode(any) ([]byte, error)
		Decode([]byte) (any, error)
	}
} {
	c := NewCodecs()
	type row = struct {
		message proto.Message
		codec   interface {
			Encode(any) ([]byte, error)
			Decode([]byte) (any, error)
		}
	}
	upload := &eventpb.Upload{UploadId: "u-1", Uploader: "ada", Filename: "a b.jpg", UploadedAtMs: new(int64(1_700_000_000_123)), Body: &eventpb.Upload_Inline{Inline: []byte{0xff, 0xd8}}}
	rendition := &eventpb.Rendition{Name: "512", Width: 512, Height: 384, Bytes: 900, Key: "renditions/ab/512-s.jpg"}
	return map[string]row{
		"upload": {upload, c.Upload},
		"upload_reference": {&eventpb.Upload{UploadId: "u-2", RedriveOf: origin.Proto(), Body: &eventpb.Upload_Reference{
			Reference: &eventpb.Reference{Key: "originals/ab", Sha256: []byte{1, 2, 3}, Bytes: 7},
		}}, c.Upload},
		"rekeyed": {&eventpb.Rekeyed{Stamp: stamp(), Upload: upload}, c.Rekeyed},
		"photo":   {&eventpb.Photo{Stamp: stamp(), Sender: sender(), Key: "originals/ab", Facts: facts(), ExtractMs: 1.5}, c.Photo},
		"developed": {&eventpb.Developed{
			Stamp: stamp(), Sender: sender(), Outcome: eventpb.Outcome_OUTCOME_DUPLICATE, DuplicateOf: new("u-0"), Facts: facts(),
			Renditions: []*eventpb.Rendition{rendition}, Spec: new("s"), Phash: new(uint64(0xfeedface)), KernelPath: new("jpeg/imaging"), ExtractMs: new(1.5), TransformMs: new(2.5),
		}, c.Developed},
		"dead_letter": {&eventpb.DeadLetter{Stamp: stamp(), Sender: sender(), Stage: "extract", Reason: "truncated", Detail: "unexpected EOF", RawKey: new("originals/ab"), FailedAtMs: 5}, c.DeadLetter},
		"seen_upload": {&eventpb.SeenUpload{EventTimeMs: 9}, c.SeenUpload},
		"sightings": {&eventpb.Sightings{BySpec: map[string]*eventpb.Sighting{
			"b": {UploadId: "u-1", EventTimeMs: 3, Renditions: []*eventpb.Rendition{rendition}, Phash: 7, KernelPath: "p", Origin: origin.Proto()},
			"a": {UploadId: "u-0"},
		}}, c.Sightings},
	}
}

// The bytes on the topics are an interface: other programs and older versions
// of this one read them.
func TestGoldenBytes(t *testing.T) {
	for name, row := range wire() {
		t.Run(name, func(t *testing.T) {
			data, err := row.codec.Encode(row.message)
			if err != nil {
				t.Fatal(err)
			}
			path := filepath.Join("testdata", name+".hex")
			if *update {
				if err := os.WriteFile(path, []byte(hex.EncodeToString(data)+"\n"), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			golden, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			want, err := hex.DecodeString(strings.TrimSpace(string(golden)))
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(data, want) {
				t.Errorf("the bytes of %s changed:\n got %x\nwant %x", name, data, want)
			}
			again, err := row.codec.Decode(want)
			if err != nil {
				t.Fatal(err)
			}
			reencoded, err := row.codec.Encode(messageOf(t, again))
			if err != nil || !slices.Equal(reencoded, want) {
				t.Errorf("a round trip changed the bytes (%v)", err)
			}
		})
	}
}

func messageOf(t *testing.T, decoded any) proto.Message {
	t.Helper()
	switch d := decoded.(type) {
	case *Decoded[*eventpb.Upload]:
		return d.Message
	case *Decoded[*eventpb.Rekeyed]:
		return d.Message
	case *Decoded[*eventpb.Photo]:
		return d.Message
	case *Decoded[*eventpb.Developed]:
		return d.Message
	case *Decoded[*eventpb.DeadLetter]:
		return d.Message
	case *Decoded[*eventpb.SeenUpload]:
		return d.Message
	case *Decoded[*eventpb.Sightings]:
		return d.Message
	}
	t.Fatalf("decoded %T", decoded)
	return nil
}

func TestDecodeNeverFails(t *testing.T) {
	codec := NewCodecs().Upload
	if d := codec.Read(nil); !errors.Is(d.Err, ErrNull) || d.Message != nil {
		t.Errorf("a null value decoded to %+v", d)
	}
	if d := codec.Read([]byte{}); d.Err != nil || d.Message == nil {
		t.Errorf("no bytes are the empty message, not %+v", d)
	}
	for _, raw := range []string{"\xff", "{\"not\":\"protobuf\"}", "\x00", "\x00\x00\x00\x00\x01", "\x00\x00\x00\x00\x01\x02", "\x00\x00\x00\x00\x01\x01", "\x0a\x05ab"} {
		d := codec.Read([]byte(raw))
		if d.Err == nil || d.Message != nil || string(d.Raw) != raw {
			t.Errorf("%q decoded to %+v", raw, d)
		}
	}
}

func TestEncodeRefusesAnotherMessage(t *testing.T) {
	if _, err := NewCodecs().Upload.Encode(&eventpb.Photo{}); err == nil {
		t.Error("a Photo was encoded as an Upload")
	}
}

func TestFrame(t *testing.T) {
	message := &eventpb.Upload{UploadId: "u"}
	plain := NewCodecs().Upload
	framed := plain.Framed(0x01020304)
	data, err := framed.Encode(message)
	if err != nil {
		t.Fatal(err)
	}
	if want := "\x00\x01\x02\x03\x04\x00\x0a\x01u"; string(data) != want {
		t.Fatalf("framed %q, want %q", data, want)
	}
	for _, codec := range []*Codec[*eventpb.Upload]{plain, framed} {
		if d := codec.Read(data); d.Err != nil || d.Message.GetUploadId() != "u" {
			t.Errorf("the frame was not read: %+v", d)
		}
	}
	// Sender is the third message of its file: its index is written in full.
	sender := NewCodec(func() *eventpb.Sender { return new(eventpb.Sender) }).Framed(7)
	data, err = sender.Encode(&eventpb.Sender{UploadId: "u"})
	if err != nil {
		t.Fatal(err)
	}
	if want := "\x00\x00\x00\x00\x07\x02\x04\x0a\x01u"; string(data) != want {
		t.Fatalf("framed %q, want %q", data, want)
	}
	if d := sender.Read(data); d.Err != nil || d.Message.GetUploadId() != "u" {
		t.Errorf("the frame was not read: %+v", d)
	}
}

func FuzzDecode(f *testing.F) {
	for _, row := range wire() {
		data, err := row.codec.Encode(row.message)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte("\x00\x00\x00\x00\x01\x02\x04\x0a\x01u"))
	c := NewCodecs()
	f.Fuzz(func(t *testing.T, data []byte) {
		d := c.Upload.Read(data)
		if (d.Err == nil) == (d.Message == nil) {
			t.Fatalf("neither a message nor an error: %+v", d)
		}
		if d.Err != nil {
			return
		}
		again, err := c.Upload.Encode(d.Message)
		if err != nil {
			t.Fatal(err)
		}
		if !proto.Equal(c.Upload.Read(again).Message, d.Message) {
			t.Fatal("a round trip changed the message")
		}
	})
}
