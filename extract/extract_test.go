package extract

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"image"
	"image/jpeg"
	"image/png"
	"testing"

	"github.com/tintype/tintype/blob"
	"github.com/tintype/tintype/event"
	"github.com/tintype/tintype/event/eventpb"
	"github.com/tintype/tintype/internal/header"
)

func newStore(t testing.TB) *blob.Store {
	t.Helper()
	store, err := blob.Open(context.Background(), "mem://")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	return store
}

func newExtractor(t testing.TB) *Extractor { return New(newStore(t), DefaultLimits()) }

func jpegOf(t testing.TB, w, h int) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := jpeg.Encode(&b, image.NewGray(image.Rect(0, 0, w, h)), nil); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func pngOf(t testing.TB, img image.Image) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := png.Encode(&b, img); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func inline(data []byte) *eventpb.Upload {
	return &eventpb.Upload{UploadId: "u", Body: &eventpb.Upload_Inline{Inline: data}}
}

func reasonOf(t *testing.T, err error) event.Reason {
	t.Helper()
	r, ok := event.AsRefusal(err)
	if err != nil && !ok {
		t.Fatalf("%v is no refusal", err)
	}
	if r == nil {
		return ""
	}
	return r.Reason
}

func TestOriginalIsStoredUnderItsHash(t *testing.T) {
	store := newStore(t)
	src := jpegOf(t, 30, 20)
	original, err := New(store, Limits{}).Extract(t.Context(), inline(src))
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(src)
	if want := "originals/" + hex.EncodeToString(sum[:]); original.Key != want || !bytes.Equal(original.Facts.Sha256, sum[:]) {
		t.Errorf("key %s, want %s", original.Key, want)
	}
	stored, err := store.Get(t.Context(), original.Key, 1<<20)
	if err != nil || !bytes.Equal(stored, src) {
		t.Errorf("stored %d bytes, %v", len(stored), err)
	}
	f := original.Facts
	if f.Format != "jpeg" || f.Width != 30 || f.Height != 20 || f.Orientation != 1 || f.Bytes != int64(len(src)) || f.Animated ||
		f.CameraMake != nil || f.TakenAtLocalMs != nil || f.Latitude != nil || f.Iso != nil {
		t.Errorf("facts %v", f)
	}
}

func TestReferencesAreHeldToTheirClaim(t *testing.T) {
	store := newStore(t)
	e := New(store, Limits{Bytes: 10_000})
	src := jpegOf(t, 30, 20)
	for key, data := range map[string][]byte{"photo": src, "long": make([]byte, 10_001)} {
		if err := store.Put(t.Context(), key, data, ""); err != nil {
			t.Fatal(err)
		}
	}
	sum := sha256.Sum256(src)
	other := sha256.Sum256(nil)
	for name, c := range map[string]struct {
		reference *eventpb.Reference
		want      event.Reason
	}{
		"right":        {&eventpb.Reference{Key: "photo", Sha256: sum[:], Bytes: int64(len(src))}, ""},
		"other hash":   {&eventpb.Reference{Key: "photo", Sha256: other[:], Bytes: int64(len(src))}, event.ReasonHashMismatch},
		"other length": {&eventpb.Reference{Key: "photo", Sha256: sum[:], Bytes: 1}, event.ReasonHashMismatch},
		"nothing":      {&eventpb.Reference{Key: "none", Sha256: sum[:], Bytes: 1}, event.ReasonReferenceNotFound},
		"too long":     {&eventpb.Reference{Key: "long", Sha256: sum[:], Bytes: 10_001}, event.ReasonTooManyBytes},
		"outside":      {&eventpb.Reference{Key: "../photo", Sha256: sum[:], Bytes: 1}, event.ReasonInvalidUpload},
		"no hash":      {&eventpb.Reference{Key: "photo"}, event.ReasonInvalidUpload},
		"empty":        {nil, event.ReasonInvalidUpload},
	} {
		_, err := e.Extract(t.Context(), &eventpb.Upload{Body: &eventpb.Upload_Reference{Reference: c.reference}})
		if got := reasonOf(t, err); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

func TestOperatingErrorsAreNoRefusals(t *testing.T) {
	store := newStore(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := New(store, Limits{}).Extract(ctx, inline(jpegOf(t, 3, 2)))
	if _, refused := event.AsRefusal(err); err == nil || refused {
		t.Errorf("a store that does not answer gave %v", err)
	}
}

// headerOf makes a PNG that claims a size and holds nothing.
func pngHeader(w, h uint32, bits, colour byte) []byte {
	src := []byte("\x89PNG\r\n\x1a\n\x00\x00\x00\x0dIHDR")
	src = binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(src, w), h)
	return append(src, bits, colour, 0, 0, 0, 0, 0, 0, 0)
}

func bmpHeader(w, h int32) []byte {
	src := make([]byte, 54)
	copy(src, "BM")
	src[14], src[26], src[28] = 40, 1, 24
	binary.LittleEndian.PutUint32(src[18:], uint32(w))
	binary.LittleEndian.PutUint32(src[22:], uint32(h))
	return src
}

func gifHeader(w, h uint16) []byte {
	src := binary.LittleEndian.AppendUint16(binary.LittleEndian.AppendUint16([]byte("GIF89a"), w), h)
	return append(src, 0, 0, 0, 0x3b)
}

func jpegHeader(w, h uint16, frame byte) []byte {
	src := []byte{0xff, 0xd8, 0xff, frame, 0, 17, 8}
	src = binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(src, h), w)
	return append(src, 3, 1, 0x22, 0, 2, 0x11, 0, 3, 0x11, 0)
}

func TestGuards(t *testing.T) {
	for name, c := range map[string]struct {
		src  []byte
		want event.Reason
	}{
		"no bytes":                 {nil, event.ReasonEmptyFile},
		"text":                     {[]byte("these are but words, and no photo"), event.ReasonUnknownFormat},
		"two bytes":                {[]byte{0xff, 0xd8}, event.ReasonUnknownFormat},
		"svg":                      {[]byte("\xef\xbb\xbf <?xml version='1.0'?><!-- hi --><svg/>"), "unsupported_svg"},
		"html":                     {[]byte("<!DOCTYPE html><p>hello"), "unsupported_html"},
		"pdf":                      {[]byte("%PDF-1.7 and so on"), "unsupported_pdf"},
		"heic":                     {[]byte("\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic"), "unsupported_heic"},
		"avif behind mif1":         {[]byte("\x00\x00\x00\x18ftypmif1\x00\x00\x00\x00mif1avif"), "unsupported_avif"},
		"video":                    {[]byte("\x00\x00\x00\x18ftypisom\x00\x00\x00\x00isommp42"), "unsupported_video"},
		"bigtiff":                  {[]byte("II\x2b\x00\x08\x00\x00\x00\x10\x00\x00\x00"), event.ReasonUnsupportedFeature},
		"png without pixels":       {pngHeader(0, 5, 8, 2), event.ReasonBadDimensions},
		"png of 144 megapixels":    {pngHeader(12000, 12000, 1, 3), event.ReasonTooLargeForFormat},
		"png of 70, four channels": {pngHeader(8400, 8400, 8, 6), event.ReasonTooLargeForFormat},
		"png of 70, a palette":     {pngHeader(8400, 8400, 8, 3), ""},
		"png too thin":             {pngHeader(20000, 1, 8, 0), event.ReasonAspectRatio},
		"panorama":                 {pngHeader(20000, 1000, 8, 0), ""},
		"gif bomb":                 {gifHeader(60000, 30000), event.ReasonTooLargeForFormat},
		"bmp upside down":          {bmpHeader(10, -10), ""},
		"bmp, most negative":       {bmpHeader(10, -1<<31), event.ReasonBadDimensions},
		"bmp, negative width":      {bmpHeader(-10, 10), event.ReasonBadDimensions},
		"bmp, huge":                {bmpHeader(1<<30, 1<<30), event.ReasonTooLargeForFormat},
		"jpeg of 108 megapixels":   {jpegHeader(12000, 9000, 0xc0), ""},
		"progressive, 108":         {jpegHeader(12000, 9000, 0xc2), event.ReasonTooLargeForFormat},
		"progressive, 24":          {jpegHeader(6000, 4000, 0xc2), ""},
		"jpeg, lossless":           {jpegHeader(100, 100, 0xc3), event.ReasonUnsupportedFeature},
		"jpeg without height":      {jpegHeader(100, 0, 0xc0), event.ReasonBadDimensions},
		"jpeg cut in its header":   {jpegHeader(100, 100, 0xc0)[:8], event.ReasonTruncated},
	} {
		original, err := newExtractor(t).Extract(t.Context(), inline(c.src))
		if got := reasonOf(t, err); got != c.want {
			t.Errorf("%s: %q (%v), want %q", name, got, err, c.want)
		}
		if c.want != event.ReasonEmptyFile && (original == nil || original.Key == "") {
			t.Errorf("%s: the bytes of a dead upload are not kept", name)
		}
	}
	if _, err := New(newStore(t), Limits{Bytes: 5}).Extract(t.Context(), inline(make([]byte, 6))); reasonOf(t, err) != event.ReasonTooManyBytes {
		t.Errorf("too many bytes: %v", err)
	}
	if _, err := newExtractor(t).Extract(t.Context(), &eventpb.Upload{}); reasonOf(t, err) != event.ReasonMissingBody {
		t.Errorf("no body: %v", err)
	}
}

func FuzzHeader(f *testing.F) {
	f.Add(jpegOf(f, 8, 8))
	f.Add(pngOf(f, image.NewGray(image.Rect(0, 0, 3, 3))))
	for _, seed := range [][]byte{gifHeader(5, 5), bmpHeader(3, -3), []byte("II\x2a\x00\x08\x00\x00\x00\x00\x00"), []byte("RIFF\x00\x00\x00\x00WEBPVP8L\x05\x00\x00\x00/123456789")} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		h, err := header.Read(src)
		if r, ok := event.AsRefusal(err); err != nil && (!ok || r.Reason == "") {
			t.Fatalf("%v is no refusal", err)
		}
		if err == nil && (h.Width <= 0 || h.Height <= 0 || h.DecodedBytes() < 0 || h.Frame.End > len(src)) {
			t.Fatalf("accepted %+v", h)
		}
	})
}

func FuzzEXIF(f *testing.F) {
	f.Add([]byte("\xff\xd8\xff\xe1\x00\x20Exif\x00\x00MM\x00\x2a\x00\x00\x00\x08\x00\x01\x01\x12\x00\x03\x00\x00\x00\x01\x00\x06\x00\x00\x00\x00\x00\x00"), "jpeg")
	f.Add([]byte("II\x2a\x00\x08\x00\x00\x00\x01\x00\x0f\x01\x02\x00\x04\x00\x00\x00abc\x00"), "tiff")
	f.Fuzz(func(t *testing.T, src []byte, format string) {
		facts := &eventpb.Facts{Orientation: 1}
		readEXIF(src, format, facts)
		if facts.Orientation < 1 || facts.Orientation > 8 || (facts.Latitude == nil) != (facts.Longitude == nil) {
			t.Fatalf("facts %v", facts)
		}
	})
}
