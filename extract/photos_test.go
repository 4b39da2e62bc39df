package extract

import (
	"bufio"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/tintype/tintype/event"
	"github.com/tintype/tintype/event/eventpb"
)

// photosDir is the folder of real and hostile photos, which is not in the
// repository.
func photosDir(t *testing.T) string {
	t.Helper()
	dir := os.Getenv("TINTYPE_TEST_PHOTOS")
	if dir == "" {
		dir = filepath.Join("..", "..", "shared", "photos")
	}
	if _, err := os.Stat(filepath.Join(dir, "expected.jsonl")); err != nil {
		if os.Getenv("TINTYPE_REQUIRE_PHOTOS") != "" {
			t.Fatalf("the photos are required and not there: %v", err)
		}
		t.Skipf("SKIPPED: no photos to hold against exiftool (set TINTYPE_TEST_PHOTOS): %v", err)
	}
	return dir
}

// lines decodes a JSON-lines file.
func lines[T any](t *testing.T, path string) []T {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }() // It was only read.
	var all []T
	scanner := bufio.NewScanner(f)
	for scanner.Scan() {
		var v T
		if err := json.Unmarshal(scanner.Bytes(), &v); err != nil {
			t.Fatal(err)
		}
		all = append(all, v)
	}
	if err := scanner.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}

// expected is what exiftool says of a photo.
type expected struct {
	File, Format      string
	Width, Height     int32
	Orientation       int32
	Make, Model, Lens *string
	Taken, Offset     *string
	GPSLat            *float64 `json:"gps_lat"`
	GPSLon            *float64 `json:"gps_lon"`
	ISO               *float64
	Exposure, FNumber *float64
	Focal             *float64
	Flags             []string
}

func extractFile(t *testing.T, path string) (*Original, error) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return newExtractor(t).Extract(t.Context(), &eventpb.Upload{Body: &eventpb.Upload_Inline{Inline: data}})
}

func TestFactsAgreeWithExiftool(t *testing.T) {
	dir := photosDir(t)
	for _, want := range lines[expected](t, filepath.Join(dir, "expected.jsonl")) {
		t.Run(want.File, func(t *testing.T) {
			original, err := extractFile(t, filepath.Join(dir, "real", want.File))
			if want.Format == "heic" || want.Format == "avif" {
				if r, ok := event.AsRefusal(err); !ok || r.Reason != event.UnsupportedFormat(want.Format) {
					t.Fatalf("%v, want its format named", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			f := original.Facts
			if f.Format != want.Format || f.Width != want.Width || f.Height != want.Height {
				t.Errorf("%s of %d × %d, want %s of %d × %d", f.Format, f.Width, f.Height, want.Format, want.Width, want.Height)
			}
			if len(want.Flags) == 0 && f.Orientation != max(want.Orientation, 1) {
				t.Errorf("orientation %d, want %d", f.Orientation, want.Orientation)
			}
			same(t, "make", f.CameraMake, want.Make)
			same(t, "model", f.CameraModel, want.Model)
			same(t, "lens", f.LensModel, want.Lens)
			var taken *string
			if f.TakenAtLocalMs != nil {
				s := time.UnixMilli(*f.TakenAtLocalMs).UTC().Format("2006-01-02T15:04:05")
				taken = &s
			}
			same(t, "taken", taken, want.Taken)
			near(t, "latitude", f.Latitude, want.GPSLat)
			near(t, "longitude", f.Longitude, want.GPSLon)
			near(t, "exposure", f.ExposureS, want.Exposure)
			near(t, "f-number", f.FNumber, want.FNumber)
			near(t, "focal length", f.FocalLengthMm, want.Focal)
			if want.ISO != nil && (f.Iso == nil || float64(*f.Iso) != *want.ISO) {
				t.Errorf("iso %v, want %v", f.GetIso(), *want.ISO)
			}
		})
	}
}

func same(t *testing.T, what string, got, want *string) {
	t.Helper()
	if (got == nil) != (want == nil) || got != nil && *got != *want {
		t.Errorf("%s: %v, want %v", what, deref(got), deref(want))
	}
}

func near(t *testing.T, what string, got, want *float64) {
	t.Helper()
	if want != nil && *want == 0 {
		want = nil // Unknown, written as zero.
	}
	if (got == nil) != (want == nil) || got != nil && math.Abs(*got-*want) > 1e-4*math.Max(1, math.Abs(*want)) {
		t.Errorf("%s: %v, want %v", what, deref(got), deref(want))
	}
}

func deref[T any](p *T) any {
	if p == nil {
		return nil
	}
	return *p
}

// hostile is one file of the hostile set.
type hostile struct{ File, Class, Expect string }

func TestHostileFilesEndInFactsOrARefusal(t *testing.T) {
	dir := photosDir(t)
	for _, h := range lines[hostile](t, filepath.Join(dir, "hostile.jsonl")) {
		_, err := extractFile(t, filepath.Join(dir, "hostile", h.File))
		if _, refused := event.AsRefusal(err); err != nil && !refused {
			t.Errorf("%s: %v is no refusal", h.File, err)
		} else if h.Expect == "accept" && refused {
			t.Errorf("%s (%s): refused: %v", h.File, h.Class, err)
		}
	}
}
