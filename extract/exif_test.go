package extract

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"image"
	"math"
	"testing"
	"time"

	"github.com/tintype/tintype/event/eventpb"
)

// An entry is one EXIF value to write.
type entry struct {
	tag, kind uint16
	count     uint32
	data      []byte
}

func ascii(tag uint16, s string) entry { return entry{tag, typeASCII, uint32(len(s)), []byte(s)} }

func short(order binary.AppendByteOrder, tag, v uint16) entry {
	return entry{tag, typeShort, 1, order.AppendUint16(nil, v)}
}

func rationals(order binary.AppendByteOrder, tag uint16, parts ...uint32) entry {
	var data []byte
	for _, part := range parts {
		data = order.AppendUint32(data, part)
	}
	return entry{tag, typeRational, uint32(len(parts) / 2), data}
}

// appendDirectory writes a directory behind block.
func appendDirectory(block []byte, order binary.AppendByteOrder, next uint32, entries []entry) []byte {
	values := len(block) + 2 + 12*len(entries) + 4
	var behind []byte
	block = order.AppendUint16(block, uint16(len(entries)))
	for _, e := range entries {
		block = order.AppendUint32(order.AppendUint16(order.AppendUint16(block, e.tag), e.kind), e.count)
		if len(e.data) <= 4 {
			block = append(block, append(bytes.Clone(e.data), 0, 0, 0, 0)[:4]...)
			continue
		}
		block = order.AppendUint32(block, uint32(values+len(behind)))
		behind = append(behind, e.data...)
	}
	return append(order.AppendUint32(block, next), behind...)
}

// exifOf writes EXIF: the Exif and the GPS directory, then the first one, which
// points to them.
func exifOf(order binary.AppendByteOrder, main, exif, gps []entry) []byte {
	block := []byte("II\x2a\x00\x00\x00\x00\x00")
	if order == binary.AppendByteOrder(binary.BigEndian) {
		block = []byte("MM\x00\x2a\x00\x00\x00\x00")
	}
	for tag, entries := range map[uint16][]entry{tagExifIFD: exif, tagGPSIFD: gps} {
		if entries == nil {
			continue
		}
		main = append(main, entry{tag, typeLong, 1, order.AppendUint32(nil, uint32(len(block)))})
		block = appendDirectory(block, order, 0, entries)
	}
	at := order.AppendUint32(nil, uint32(len(block)))
	return append(block[:4:4], append(at, appendDirectory(block, order, 0, main)[8:]...)...)
}

func segment(marker byte, body string) []byte {
	return append(binary.BigEndian.AppendUint16([]byte{0xff, marker}, uint16(len(body)+2)), body...)
}

// jpegWith puts segments before those of a JPEG.
func jpegWith(t testing.TB, segments ...[]byte) []byte {
	t.Helper()
	src := jpegOf(t, 30, 20)
	return append(append([]byte{0xff, 0xd8}, bytes.Join(segments, nil)...), src[2:]...)
}

func pngChunk(kind string, body []byte) []byte {
	chunk := append(binary.BigEndian.AppendUint32(nil, uint32(len(body))), kind...)
	return append(append(chunk, body...), 0, 0, 0, 0)
}

// pngWith puts a chunk behind a PNG's header.
func pngWith(t testing.TB, kind string, body []byte) []byte {
	t.Helper()
	src := pngOf(t, image.NewGray(image.Rect(0, 0, 30, 20)))
	return append(append(bytes.Clone(src[:33]), pngChunk(kind, body)...), src[33:]...)
}

func factsOf(src []byte, format string) *eventpb.Facts {
	facts := &eventpb.Facts{Orientation: 1}
	readEXIF(src, format, facts)
	return facts
}

func TestEXIFIsFoundInEveryContainer(t *testing.T) {
	le := binary.LittleEndian
	block := exifOf(le, []entry{ascii(tagMake, "Maker\x00"), short(le, tagOrientation, 6)}, nil, nil)
	app1 := segment(0xe1, exifHeader+string(block))
	profile := fmt.Appendf(nil, "\nexif\n%8d\n%s\n", len(block)+6, hex.EncodeToString([]byte(exifHeader+string(block))))
	var packed bytes.Buffer
	z := zlib.NewWriter(&packed)
	if _, err := z.Write(profile); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	webp := append([]byte("RIFF\x00\x00\x00\x00WEBPVP8L\x05\x00\x00\x00/1234\x00EXIF"), le.AppendUint32(nil, uint32(len(block)))...)
	half := len(block) - 7
	for name, c := range map[string]struct {
		format string
		src    []byte
	}{
		"jpeg":                        {"jpeg", jpegWith(t, app1)},
		"jpeg, behind xmp":            {"jpeg", jpegWith(t, segment(0xe0, "JFIF\x00"), segment(0xe1, "http://ns.adobe.com/xap/1.0/\x00<x/>"), app1)},
		"jpeg, behind stray bytes":    {"jpeg", jpegWith(t, []byte{0xff, 0xff, 1, 2, 3}, app1)},
		"jpeg, another byte than NUL": {"jpeg", jpegWith(t, segment(0xe1, "Exif\x00\x01"+string(block)))},
		"jpeg, in two segments":       {"jpeg", jpegWith(t, segment(0xe1, exifHeader+string(block[:half])), segment(0xe1, exifHeader+string(block[half:])))},
		"png":                         {"png", pngWith(t, "eXIf", block)},
		"png, with a jpeg's header":   {"png", pngWith(t, "eXIf", append([]byte(exifHeader), block...))},
		"png, raw profile":            {"png", pngWith(t, "tEXt", append([]byte("Raw profile type exif\x00"), profile...))},
		"png, packed raw profile":     {"png", pngWith(t, "zTXt", append([]byte("Raw profile type APP1\x00\x00"), packed.Bytes()...))},
		"webp, not in its flags":      {"webp", append(webp, block...)},
		"tiff":                        {"tiff", block},
	} {
		if f := factsOf(c.src, c.format); f.GetCameraMake() != "Maker" || f.Orientation != 6 {
			t.Errorf("%s: %v", name, f)
		}
	}
}

func TestTextIsAsExiftoolPrintsIt(t *testing.T) {
	for written, want := range map[string]string{
		"Canon\x00": "Canon", "Canon": "Canon", "Canon  \x00\x00": "Canon", "a\x00b\x00": "a", "  Leading\x00": "  Leading",
		"\x00": "", "   \x00": "", "": "", "\x00abc\x00": "", "Caf\xc3\xa9\x00": "Café", "Caf\xe9\xff\x00": "Caf??", "tab\there\x00": "tab\there",
	} {
		block := exifOf(binary.BigEndian, []entry{ascii(tagModel, written)}, nil, nil)
		if got := factsOf(block, "tiff").GetCameraModel(); got != want {
			t.Errorf("%q: %q, want %q", written, got, want)
		}
	}
}

// What is broken in EXIF costs nothing but itself.
func TestBrokenValuesAreLeftOut(t *testing.T) {
	be := binary.BigEndian
	outside := ascii(0x013b, "nobody's")
	outside.count = 1 << 20
	unknown := entry{0x0150, 99, 3, []byte{1}}
	exif := []entry{ascii(tagDateTimeOriginal, "2020:01:02 03:04:05\x00"), {tagISO, typeShort, 2, []byte{0, 100, 0, 200}}, rationals(be, tagExposureTime, 1, 0)}
	block := exifOf(be, []entry{ascii(tagMake, "M\x00"), outside, unknown, short(be, tagOrientation, 8)}, exif, nil)
	f := factsOf(block, "tiff")
	if f.GetCameraMake() != "M" || f.Orientation != 8 || f.GetIso() != 100 || f.ExposureS != nil || f.TakenAtLocalMs == nil {
		t.Errorf("%v", f)
	}
	// A directory that points to itself ends.
	loop := exifOf(be, []entry{ascii(tagMake, "M\x00"), {tagExifIFD, typeLong, 1, []byte{0, 0, 0, 8}}, {tagGPSIFD, typeLong, 1, []byte{0, 0, 0, 8}}}, nil, nil)
	if f := factsOf(loop, "tiff"); f.GetCameraMake() != "M" {
		t.Errorf("loop: %v", f)
	}
}

func TestTheThumbnailsTagsDoNotCount(t *testing.T) {
	le := binary.LittleEndian
	block := appendDirectory([]byte("II\x2a\x00\x08\x00\x00\x00"), le, 26, []entry{short(le, tagOrientation, 6)})
	block = appendDirectory(block, le, 0, []entry{short(le, tagOrientation, 3), ascii(tagMake, "abc\x00")})
	if f := factsOf(block, "tiff"); f.Orientation != 6 || f.CameraMake != nil {
		t.Errorf("%v", f)
	}
}

func TestOrientations(t *testing.T) {
	le := binary.LittleEndian
	for name, c := range map[string]struct {
		entries []entry
		want    int32
	}{
		"short":           {[]entry{short(le, tagOrientation, 5)}, 5},
		"long":            {[]entry{{tagOrientation, typeLong, 1, []byte{7, 0, 0, 0}}}, 7},
		"byte":            {[]entry{{tagOrientation, typeByte, 1, []byte{3}}}, 3},
		"text":            {[]entry{ascii(tagOrientation, "6\x00")}, 6},
		"zero":            {[]entry{short(le, tagOrientation, 0)}, 1},
		"nine":            {[]entry{short(le, tagOrientation, 9)}, 1},
		"twice":           {[]entry{short(le, tagOrientation, 8), short(le, tagOrientation, 3)}, 8},
		"without a value": {[]entry{{tagOrientation, typeShort, 0, nil}}, 1},
	} {
		if got := factsOf(exifOf(le, c.entries, nil, nil), "tiff").Orientation; got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
}

func TestTimes(t *testing.T) {
	for _, c := range []struct {
		time, offset string
		want         string
		minutes      int32 // -1: none
	}{
		{"2020:01:02 03:04:05\x00", "+05:30\x00", "2020-01-02T03:04:05", 330},
		{"2020:01:02 03:04:05\x00", "-03:00", "2020-01-02T03:04:05", -180},
		{"2020:01:02 03:04:05", "Z\x00", "2020-01-02T03:04:05", 0},
		{"2020:01:02 03:04:05.678+01:00\x00", "", "2020-01-02T03:04:05", 60},
		{"2020-01-02T03:04:05\x00", "   :  \x00", "2020-01-02T03:04:05", -1},
		{" 2020:01:02  03:04:05  \x00", "+15:00\x00", "2020-01-02T03:04:05", -1},
		{"0000:00:00 00:00:00\x00", "+01:00\x00", "", -1},
		{"2020:02:30 03:04:05\x00", "", "", -1},
		{"    :  :     :  :  \x00", "", "", -1},
	} {
		exif := []entry{ascii(tagDateTimeOriginal, c.time), ascii(tagOffsetTimeOriginal, c.offset)}
		f := factsOf(exifOf(binary.LittleEndian, nil, exif, nil), "tiff")
		got, minutes := "", int32(-1)
		if f.TakenAtLocalMs != nil {
			got = time.UnixMilli(*f.TakenAtLocalMs).UTC().Format("2006-01-02T15:04:05")
		}
		if f.TakenOffsetMin != nil {
			minutes = *f.TakenOffsetMin
		}
		if got != c.want || minutes != c.minutes {
			t.Errorf("%q %q: %s %d", c.time, c.offset, got, minutes)
		}
	}
	exif := []entry{ascii(tagDateTimeOriginal, "0000:00:00 00:00:00\x00"), ascii(tagCreateDate, "1999:12:31 23:59:59\x00"), ascii(tagOffsetDigitized, "+02:00\x00")}
	if f := factsOf(exifOf(binary.BigEndian, nil, exif, nil), "tiff"); f.GetTakenAtLocalMs() != 946684799000 || f.GetTakenOffsetMin() != 120 {
		t.Errorf("the second clock: %v", f)
	}
}

func TestPlaces(t *testing.T) {
	be := binary.BigEndian
	lat, lon := []uint32{45, 1, 30, 1, 1800, 100}, []uint32{7, 1, 15, 1, 0, 1}
	for name, c := range map[string]struct {
		gps      []entry
		lat, lon float64 // NaN: none
	}{
		"north east":          {[]entry{ascii(1, "N\x00"), rationals(be, 2, lat...), ascii(3, "E\x00"), rationals(be, 4, lon...)}, 45.505, 7.25},
		"south west":          {[]entry{ascii(1, "s\x00"), rationals(be, 2, lat...), ascii(3, "W"), rationals(be, 4, lon...)}, -45.505, -7.25},
		"degrees alone":       {[]entry{ascii(1, "S\x00"), rationals(be, 2, 455, 10), ascii(3, "E\x00"), rationals(be, 4, 7, 1, 15, 1)}, -45.5, 7.25},
		"the reference signs": {[]entry{ascii(1, "N\x00"), {2, typeSRational, 1, be.AppendUint32(be.AppendUint32(nil, 1<<32-45), 1)}, ascii(3, "E\x00"), rationals(be, 4, 7, 1)}, 45, 7},
		"no fix":              {[]entry{ascii(1, "N\x00"), rationals(be, 2, 0, 1, 0, 1, 0, 1), ascii(3, "E\x00"), rationals(be, 4, 0, 1)}, math.NaN(), math.NaN()},
		"by zero":             {[]entry{ascii(1, "N\x00"), rationals(be, 2, 45, 1, 30, 1, 0, 0), ascii(3, "E\x00"), rationals(be, 4, lon...)}, math.NaN(), math.NaN()},
		"latitude alone":      {[]entry{ascii(1, "N\x00"), rationals(be, 2, lat...)}, math.NaN(), math.NaN()},
		"off the globe":       {[]entry{rationals(be, 2, 91, 1), rationals(be, 4, lon...)}, math.NaN(), math.NaN()},
	} {
		f := factsOf(exifOf(be, nil, nil, c.gps), "tiff")
		if math.IsNaN(c.lat) != (f.Latitude == nil) || f.Latitude != nil && (math.Abs(*f.Latitude-c.lat) > 1e-9 || math.Abs(*f.Longitude-c.lon) > 1e-9) {
			t.Errorf("%s: %v %v", name, f.GetLatitude(), f.GetLongitude())
		}
	}
}

func TestSensitivityBeyondItsTag(t *testing.T) {
	le := binary.LittleEndian
	exif := []entry{short(le, tagISO, 65535), {tagRecommendedISO, typeLong, 1, le.AppendUint32(nil, 102400)}}
	if got := factsOf(exifOf(le, nil, exif, nil), "tiff").GetIso(); got != 102400 {
		t.Errorf("iso %d", got)
	}
}
