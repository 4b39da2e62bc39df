package extract

import (
	"bytes"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/bep/imagemeta"

	"github.com/tintype/tintype/event/eventpb"
	"github.com/tintype/tintype/internal/header"
)

// Bounds on reading EXIF, which is written by strangers.
const (
	exifTimeout  = 500 * time.Millisecond
	exifMaxTags  = 2000
	exifMaxBytes = 4096
	maxTextBytes = 256
)

// exifFormats are the formats that carry EXIF, as imagemeta names them.
var exifFormats = map[string]imagemeta.ImageFormat{
	header.JPEG: imagemeta.JPEG, header.PNG: imagemeta.PNG, header.WebP: imagemeta.WebP, header.TIFF: imagemeta.TIFF,
}

// wanted are the tags that make facts.
var wanted = map[string]bool{
	"Make": true, "Model": true, "LensModel": true, "Orientation": true,
	"DateTimeOriginal": true, "CreateDate": true, "ModifyDate": true,
	"OffsetTime": true, "OffsetTimeOriginal": true, "OffsetTimeDigitized": true,
	"GPSLatitude": true, "GPSLatitudeRef": true, "GPSLongitude": true, "GPSLongitudeRef": true,
	"ISO": true, "ExposureTime": true, "FNumber": true, "FocalLength": true,
}

// tags are the values of one photo; the first of a name counts.
type tags map[string]any

// readEXIF adds to facts what EXIF tells. Broken EXIF is no reason to refuse a
// photo: what was read before it broke is kept.
func readEXIF(src []byte, format string, facts *eventpb.Facts) {
	image, ok := exifFormats[format]
	if !ok {
		return
	}
	t := tags{}
	t.read(src, image)
	facts.CameraMake, facts.CameraModel, facts.LensModel = t.text("Make"), t.text("Model"), t.text("LensModel")
	if o, ok := t.number("Orientation"); ok && o >= 1 && o <= 8 {
		facts.Orientation = int32(o)
	}
	facts.TakenAtLocalMs, facts.TakenOffsetMin = t.taken()
	facts.Latitude, facts.Longitude = t.place()
	if iso, ok := t.number("ISO"); ok && iso >= 1 && iso <= math.MaxUint32 {
		n := uint32(iso)
		facts.Iso = &n
	}
	facts.ExposureS, facts.FNumber, facts.FocalLengthMm = t.positive("ExposureTime"), t.positive("FNumber"), t.positive("FocalLength")
}

// read collects the wanted tags, until EXIF ends or breaks.
func (t tags) read(src []byte, format imagemeta.ImageFormat) {
	// The library's panics are not the photo's end either.
	defer func() { _ = recover() }()
	_, err := imagemeta.Decode(imagemeta.Options{
		R: bytes.NewReader(src), ImageFormat: format, Sources: imagemeta.EXIF,
		Timeout: exifTimeout, LimitNumTags: exifMaxTags, LimitTagSize: exifMaxBytes,
		ShouldHandleTag: func(tag imagemeta.TagInfo) bool { return wanted[tag.Tag] && !strings.HasPrefix(tag.Namespace, "IFD1") },
		HandleTag: func(tag imagemeta.TagInfo) error {
			if _, known := t[tag.Tag]; !known {
				t[tag.Tag] = tag.Value
			}
			return nil
		},
		Warnf: func(string, ...any) {},
	})
	_ = err // Partial tags come with an error; they are kept.
}

// text is a string tag, trimmed of blanks and what follows a NUL; nil when
// nothing is left.
func (t tags) text(name string) *string {
	s, ok := t[name].(string)
	if !ok {
		return nil
	}
	s, _, _ = strings.Cut(s, "\x00")
	s = strings.ToValidUTF8(strings.TrimSpace(s), "\uFFFD")
	for len(s) > maxTextBytes {
		_, size := utf8.DecodeLastRuneInString(s)
		s = s[:len(s)-size]
	}
	if s == "" {
		return nil
	}
	return &s
}

// number is a numeric tag, or the first of its numbers.
func (t tags) number(name string) (float64, bool) {
	n, ok := numberOf(t[name])
	return n, ok && !math.IsNaN(n) && !math.IsInf(n, 0)
}

func numberOf(value any) (float64, bool) {
	switch v := value.(type) {
	case interface{ Float64() float64 }:
		return v.Float64(), true
	case float64:
		return v, true
	case float32:
		return float64(v), true
	case uint8:
		return float64(v), true
	case uint16:
		return float64(v), true
	case uint32:
		return float64(v), true
	case int8:
		return float64(v), true
	case int16:
		return float64(v), true
	case int32:
		return float64(v), true
	case int:
		return float64(v), true
	case int64:
		return float64(v), true
	case string:
		n, err := strconv.ParseFloat(strings.TrimSpace(v), 64)
		return n, err == nil
	case []uint16:
		if len(v) > 0 {
			return float64(v[0]), true
		}
	case []any:
		if len(v) > 0 {
			return numberOf(v[0])
		}
	}
	return 0, false
}

// positive is a number above zero: a camera that does not know writes 0.
func (t tags) positive(name string) *float64 {
	n, ok := t.number(name)
	if !ok || n <= 0 {
		return nil
	}
	return &n
}

// place is where the photo was taken; both or none, and only if they are on the
// globe. Zero north and zero east is what a receiver without a fix writes.
func (t tags) place() (latitude, longitude *float64) {
	lat, ok1 := t.number("GPSLatitude")
	lon, ok2 := t.number("GPSLongitude")
	if !ok1 || !ok2 || math.Abs(lat) > 90 || math.Abs(lon) > 180 || lat == 0 && lon == 0 {
		return nil, nil
	}
	if ref := t.text("GPSLatitudeRef"); ref != nil && strings.HasPrefix(strings.ToUpper(*ref), "S") {
		lat = -math.Abs(lat)
	}
	if ref := t.text("GPSLongitudeRef"); ref != nil && strings.HasPrefix(strings.ToUpper(*ref), "W") {
		lon = -math.Abs(lon)
	}
	return &lat, &lon
}

// clocks are the tags that tell when a photo was taken, the best first, with
// their offsets (Exif 2.31). Fractions of a second are left out: imagemeta gives
// them as numbers, without their leading zeros.
var clocks = []struct{ time, offset string }{
	{"DateTimeOriginal", "OffsetTimeOriginal"},
	{"CreateDate", "OffsetTimeDigitized"},
	{"ModifyDate", "OffsetTime"},
}

var (
	clockForm  = regexp.MustCompile(`^(\d{4})[:\-/.](\d\d)[:\-/.](\d\d)[ T](\d\d):(\d\d):(\d\d)`)
	offsetForm = regexp.MustCompile(`^([+-])(\d\d):(\d\d)$`)
)

// taken is the wall time as written, in Unix milliseconds as if it were UTC, and
// its offset in minutes, where the photo tells one.
func (t tags) taken() (localMS *int64, offsetMin *int32) {
	for _, clock := range clocks {
		at, ok := t.clock(clock.time)
		if !ok {
			continue
		}
		ms := at.UnixMilli()
		return &ms, t.offset(clock.offset)
	}
	return nil, nil
}

// clock reads a time, if there ever was such a moment.
func (t tags) clock(name string) (time.Time, bool) {
	s := t.text(name)
	if s == nil {
		return time.Time{}, false
	}
	m := clockForm.FindStringSubmatch(*s)
	if m == nil {
		return time.Time{}, false
	}
	at, err := time.Parse("2006-01-02T15:04:05", m[1]+"-"+m[2]+"-"+m[3]+"T"+m[4]+":"+m[5]+":"+m[6])
	return at, err == nil && at.Year() > 0
}

// offset reads minutes east of UTC.
func (t tags) offset(name string) *int32 {
	s := t.text(name)
	if s == nil {
		return nil
	}
	if *s == "Z" {
		return new(int32)
	}
	m := offsetForm.FindStringSubmatch(*s)
	if m == nil {
		return nil
	}
	hours, err1 := strconv.Atoi(m[2])
	minutes, err2 := strconv.Atoi(m[3])
	if err1 != nil || err2 != nil || hours > 14 || minutes > 59 {
		return nil
	}
	total := int32(60*hours + minutes)
	if m[1] == "-" {
		total = -total
	}
	return &total
}
