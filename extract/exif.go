package extract

import (
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/tintype/tintype/event/eventpb"
)

// maxTextBytes bounds a text fact.
const maxTextBytes = 256

// readEXIF adds to facts what EXIF tells. Broken EXIF is no reason to refuse a
// photo: what can be read is kept. Where programs differ, exiftool is followed.
func readEXIF(src []byte, format string, facts *eventpb.Facts) {
	t := tags{}
	for _, block := range exifBlocks(src, format) {
		t.add(block)
	}
	facts.CameraMake, facts.CameraModel, facts.LensModel = t.text(tagMake), t.text(tagModel), t.text(tagLensModel)
	if o, ok := t[tagOrientation].first(); ok && o >= 1 && o <= 8 && o == math.Trunc(o) {
		facts.Orientation = int32(o)
	}
	facts.TakenAtLocalMs, facts.TakenOffsetMin = t.taken()
	facts.Latitude, facts.Longitude = t.place()
	facts.Iso = t.iso()
	facts.ExposureS, facts.FNumber, facts.FocalLengthMm = t.positive(tagExposureTime), t.positive(tagFNumber), t.positive(tagFocalLength)
}

// text is a string tag without the blanks behind it; nil when nothing is left.
// A byte that is no UTF-8 becomes a question mark.
func (t tags) text(tag int) *string {
	s := strings.TrimRight(t[tag].text(), " \t\r\n\v\f")
	for len(s) > maxTextBytes {
		_, size := utf8.DecodeLastRuneInString(s)
		s = s[:len(s)-size]
	}
	if s == "" {
		return nil
	}
	if !utf8.ValidString(s) {
		s = questioned(s)
	}
	return &s
}

func questioned(s string) string {
	var b strings.Builder
	for _, r := range s { // Each bad byte comes as one RuneError.
		if r == utf8.RuneError {
			r = '?'
		}
		b.WriteRune(r)
	}
	return b.String()
}

// iso is the sensitivity. 65535 says that it is larger, and stands elsewhere
// (Exif 2.3, 4.6.5, PhotographicSensitivity).
func (t tags) iso() *uint32 {
	iso, ok := t[tagISO].first()
	if !ok || iso < 1 || iso > math.MaxUint32 {
		return nil
	}
	if larger, ok := t[tagRecommendedISO].first(); ok && iso == math.MaxUint16 && larger > iso && larger <= math.MaxUint32 {
		iso = larger
	}
	n := uint32(iso)
	return &n
}

// positive is a number above zero: a camera that does not know writes 0.
func (t tags) positive(tag int) *float64 {
	n, ok := t[tag].first()
	if !ok || n <= 0 {
		return nil
	}
	return &n
}

// place is where the photo was taken; both or none, and only if they are on the
// globe. Zero north and zero east is what a receiver without a fix writes.
func (t tags) place() (latitude, longitude *float64) {
	lat, ok1 := t.degrees(tagLatitude, tagLatitudeRef, "S")
	lon, ok2 := t.degrees(tagLongitude, tagLongitudeRef, "W")
	if !ok1 || !ok2 || math.Abs(lat) > 90 || math.Abs(lon) > 180 || lat == 0 && lon == 0 {
		return nil, nil
	}
	return &lat, &lon
}

// degrees reads degrees, minutes and seconds. Their sign is in the reference
// alone.
func (t tags) degrees(tag, ref int, negative string) (float64, bool) {
	parts, ok := t[tag].numbers(3)
	if !ok || len(parts) == 0 {
		return 0, false
	}
	degrees, unit := 0.0, 1.0
	for _, part := range parts {
		degrees += part / unit
		unit *= 60
	}
	degrees = math.Abs(degrees)
	if strings.HasPrefix(strings.ToUpper(t[ref].text()), negative) {
		degrees = -degrees
	}
	return degrees, true
}

// clocks are the tags that tell when a photo was taken, the best first, with
// their offsets (Exif 2.31). Fractions of a second are left out.
var clocks = []struct{ time, offset int }{
	{tagDateTimeOriginal, tagOffsetTimeOriginal},
	{tagCreateDate, tagOffsetDigitized},
	{tagModifyDate, tagOffsetTime},
}

var (
	clockForm  = regexp.MustCompile(`^\s*(\d{4})[:\-/.](\d\d)[:\-/.](\d\d)[ T]+(\d\d):(\d\d):(\d\d)(?:[.,]\d*)?(.*)$`)
	offsetForm = regexp.MustCompile(`^([+-])(\d\d?):?(\d\d)$`)
)

// taken is the wall time as written, in Unix milliseconds as if it were UTC, and
// its offset in minutes, where the photo tells one: in a tag of its own, or
// behind the time.
func (t tags) taken() (localMS *int64, offsetMin *int32) {
	for _, clock := range clocks {
		at, rest, ok := t.clock(clock.time)
		if !ok {
			continue
		}
		ms := at.UnixMilli()
		if offset := minutesEast(t[clock.offset].text()); offset != nil {
			return &ms, offset
		}
		return &ms, minutesEast(rest)
	}
	return nil, nil
}

// clock reads a time, if there ever was such a moment, and what stands behind
// it.
func (t tags) clock(tag int) (at time.Time, rest string, ok bool) {
	m := clockForm.FindStringSubmatch(t[tag].text())
	if m == nil {
		return time.Time{}, "", false
	}
	at, err := time.Parse("2006-01-02T15:04:05", m[1]+"-"+m[2]+"-"+m[3]+"T"+m[4]+":"+m[5]+":"+m[6])
	return at, m[7], err == nil && at.Year() > 0
}

// minutesEast reads an offset from UTC.
func minutesEast(s string) *int32 {
	s = strings.TrimSpace(s)
	if s == "Z" {
		return new(int32)
	}
	m := offsetForm.FindStringSubmatch(s)
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
