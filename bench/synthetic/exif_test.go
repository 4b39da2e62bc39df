package synthetic

import (
	"bytes"
	"math"
	"testing"
	"time"

	"github.com/bep/imagemeta"
)

// readBack reads the EXIF of a photo with a reader that is not this package's.
func readBack(t *testing.T, p Photo) imagemeta.Tags {
	t.Helper()
	format := imagemeta.JPEG
	if p.Format == "png" {
		format = imagemeta.PNG
	}
	var tags imagemeta.Tags
	_, err := imagemeta.Decode(imagemeta.Options{
		R: bytes.NewReader(p.Data), ImageFormat: format, Sources: imagemeta.EXIF,
		HandleTag: func(tag imagemeta.TagInfo) error {
			tags.Add(tag)
			return nil
		},
		Warnf: func(format string, args ...any) { t.Errorf("%s: "+format, append([]any{p.Name}, args...)...) },
	})
	if err != nil {
		t.Fatalf("%s: %v", p.Name, err)
	}
	return tags
}

func TestExifReadsBack(t *testing.T) {
	var gps, western, offsets, noOffset, subSec, bare, big, png int
	orientations := map[int]int{}
	models := map[string]int{}
	g := New(Options{Seed: 1, Small: true, DuplicateShare: -1})
	for i := range 200 {
		p := g.Photo(i)
		tags := readBack(t, p)
		e := p.Exif
		if e == nil {
			bare++
			if len(tags.EXIF()) != 0 || p.Orientation != 1 {
				t.Errorf("%s: has EXIF and claims none", p.Name)
			}
			continue
		}
		check(t, p, tags.EXIF())
		orientations[e.Orientation]++
		models[e.Model]++
		latitude, longitude, err := tags.GetLatLong()
		if e.GPS == nil {
			if _, ok := tags.EXIF()["GPSLatitude"]; ok {
				t.Errorf("%s: has a place and claims none", p.Name)
			}
		} else {
			gps++
			if e.GPS.Longitude < 0 && e.GPS.Latitude > 0 {
				western++
			}
			if err != nil || math.Abs(latitude-e.GPS.Latitude) > 1e-9 || math.Abs(longitude-e.GPS.Longitude) > 1e-9 {
				t.Errorf("%s: taken at %v %v, want %v (%v)", p.Name, latitude, longitude, *e.GPS, err)
			}
		}
		count(&offsets, e.OffsetMin != nil)
		count(&noOffset, e.OffsetMin == nil)
		count(&subSec, e.SubSec)
		count(&big, e.BigEndian)
		count(&png, p.Format == "png")
	}
	if len(orientations) != 8 || len(models) != len(cameras) {
		t.Errorf("orientations %v, models %v: want all", orientations, models)
	}
	for name, n := range map[string]int{
		"GPS": gps, "GPS in the north-west": western, "offset": offsets, "no offset": noOffset, "subseconds": subSec,
		"no EXIF": bare, "big-endian": big, "PNG": png,
	} {
		if n == 0 {
			t.Errorf("no photo with %s", name)
		}
	}
}

func count(n *int, yes bool) {
	if yes {
		*n++
	}
}

// check holds the tags of a file to what the photo claims.
func check(t *testing.T, p Photo, tags map[string]imagemeta.TagInfo) {
	t.Helper()
	e := p.Exif
	want := map[string]any{
		"Make": e.Make, "Model": e.Model, "Orientation": uint16(e.Orientation),
		"DateTimeOriginal": e.TakenLocal.Format("2006:01:02 15:04:05"), "ISO": uint16(e.ISO),
	}
	if e.Lens != "" {
		want["LensModel"] = e.Lens
	}
	if e.OffsetMin != nil {
		want["OffsetTimeOriginal"] = time.Time{}.In(time.FixedZone("", *e.OffsetMin*60)).Format("-07:00")
	} else if _, ok := tags["OffsetTimeOriginal"]; ok {
		t.Errorf("%s: has an offset and claims none", p.Name)
	}
	if e.SubSec {
		want["SubSecTimeOriginal"] = e.TakenLocal.Nanosecond() / 1e6 // The reader makes a number of it.
	} else if e.TakenLocal.Nanosecond() != 0 {
		t.Errorf("%s: claims %v without subseconds", p.Name, e.TakenLocal)
	}
	for name, value := range want {
		if got := tags[name].Value; got != value {
			t.Errorf("%s: %s is %v (%T), want %v (%T)", p.Name, name, got, got, value, value)
		}
	}
	for name, value := range map[string]Rational{"ExposureTime": e.Exposure, "FNumber": e.FNumber, "FocalLength": e.FocalLengthMM} {
		got, ok := tags[name].Value.(interface{ Float64() float64 })
		if !ok || math.Abs(got.Float64()-value.Float()) > 1e-12 {
			t.Errorf("%s: %s is %v, want %v", p.Name, name, tags[name].Value, value.Float())
		}
	}
}
