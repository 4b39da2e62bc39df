package extract

import (
	"bytes"
	"encoding/binary"
	"math"
	"strconv"
	"strings"
)

// The tags that make facts, and those that lead to them (Exif 2.32, 4.6).
const (
	tagMake               = 0x010f
	tagModel              = 0x0110
	tagOrientation        = 0x0112
	tagModifyDate         = 0x0132
	tagExposureTime       = 0x829a
	tagFNumber            = 0x829d
	tagExifIFD            = 0x8769
	tagGPSIFD             = 0x8825
	tagISO                = 0x8827
	tagRecommendedISO     = 0x8832
	tagDateTimeOriginal   = 0x9003
	tagCreateDate         = 0x9004
	tagOffsetTime         = 0x9010
	tagOffsetTimeOriginal = 0x9011
	tagOffsetDigitized    = 0x9012
	tagFocalLength        = 0x920a
	tagLensModel          = 0xa434

	// The GPS directory numbers its tags from zero.
	tagLatitudeRef  = gpsSpace | 0x0001
	tagLatitude     = gpsSpace | 0x0002
	tagLongitudeRef = gpsSpace | 0x0003
	tagLongitude    = gpsSpace | 0x0004
)

// gpsSpace is set in the keys of the GPS directory's tags.
const gpsSpace = 1 << 16

// Bounds on reading EXIF, which is written by strangers.
const (
	maxEntries = 10_000 // of all directories of one photo
	maxValue   = 4096   // bytes of one value
	maxDefects = 10     // in one directory; exiftool gives up on it too
	maxBlocks  = 16     // in one photo
)

// typeSize is the length of each TIFF type in bytes; types 0 and from 14 on are
// no EXIF.
var typeSize = [...]int64{0, 1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8, 4}

// The TIFF types that are told apart (TIFF 6.0, section 2).
const (
	typeByte      = 1
	typeASCII     = 2
	typeShort     = 3
	typeLong      = 4
	typeRational  = 5
	typeSByte     = 6
	typeUndefined = 7
	typeSShort    = 8
	typeSLong     = 9
	typeSRational = 10
	typeFloat     = 11
	typeDouble    = 12
	typeIFD       = 13
)

// A value is one EXIF value as it stands in the file.
type value struct {
	kind  uint16
	order binary.ByteOrder
	data  []byte
}

// tags are the values of one photo. Where a tag comes twice, the last one
// counts; of orientations the first. That is exiftool's rule.
type tags map[int]value

// add reads a TIFF structure: the first directory and the two that it points
// to. What is broken in it is left out, and what is not is kept.
func (t tags) add(block []byte) {
	if len(block) < 8 {
		return
	}
	d := directory{tags: t, block: block, left: maxEntries, seen: map[uint32]bool{}}
	switch string(block[:2]) {
	case "II":
		d.order = binary.LittleEndian
	case "MM":
		d.order = binary.BigEndian
	default:
		return
	}
	d.read(d.order.Uint32(block[4:]), 0)
}

// A directory is what reading one EXIF block has to know.
type directory struct {
	tags  tags
	block []byte
	order binary.ByteOrder
	// left bounds the entries that are still read, and seen the directories.
	left int
	seen map[uint32]bool
}

// read reads the directory at an offset; space is gpsSpace for that of GPS.
func (d *directory) read(at uint32, space int) {
	length := int64(len(d.block))
	start := int64(at)
	if start < 8 || start+2 > length || d.seen[at] {
		return
	}
	d.seen[at] = true
	count := int64(d.order.Uint16(d.block[start:]))
	end := start + 2 + 12*count
	if end > length {
		return
	}
	defects := 0
	for i := range count {
		if d.left--; d.left < 0 || defects > maxDefects {
			return
		}
		entry := d.block[start+2+12*i:][:12]
		kind := d.order.Uint16(entry[2:])
		if kind == 0 || int(kind) >= len(typeSize) {
			if i == 0 {
				return // No directory begins like this.
			}
			if kind != 0 {
				defects++
			}
			continue
		}
		data := entry[8:]
		if size := typeSize[kind] * int64(d.order.Uint32(entry[4:])); size <= 4 {
			data = data[:size]
		} else {
			from := int64(d.order.Uint32(data))
			if from < 8 || from+size > length || from < end && from+size > start {
				defects++ // Outside, or within the directory itself.
				continue
			}
			data = d.block[from : from+min(size, maxValue)]
		}
		d.keep(int(d.order.Uint16(entry))|space, value{kind: kind, order: d.order, data: data})
	}
}

// keep keeps a value that makes facts, and follows one that is a pointer.
func (d *directory) keep(tag int, v value) {
	switch tag {
	case tagExifIFD, tagGPSIFD:
		if n, ok := v.first(); ok && n >= 0 && n <= math.MaxUint32 && v.integer() {
			space := 0
			if tag == tagGPSIFD {
				space = gpsSpace
			}
			d.read(uint32(n), space)
		}
	case tagOrientation:
		if _, known := d.tags[tag]; !known {
			d.tags[tag] = v
		}
	case tagMake, tagModel, tagModifyDate, tagExposureTime, tagFNumber, tagISO, tagRecommendedISO, tagDateTimeOriginal, tagCreateDate,
		tagOffsetTime, tagOffsetTimeOriginal, tagOffsetDigitized, tagFocalLength, tagLensModel,
		tagLatitudeRef, tagLatitude, tagLongitudeRef, tagLongitude:
		d.tags[tag] = v
	}
}

func (v value) integer() bool {
	switch v.kind {
	case typeByte, typeShort, typeLong, typeSByte, typeSShort, typeSLong, typeIFD:
		return true
	}
	return false
}

// text is a string, as far as a NUL.
func (v value) text() string {
	switch v.kind {
	case typeASCII, typeUndefined, typeByte, typeSByte:
		head, _, _ := bytes.Cut(v.data, []byte{0})
		return string(head)
	}
	return ""
}

// first is the first number.
func (v value) first() (float64, bool) {
	numbers, ok := v.numbers(1)
	if !ok || len(numbers) == 0 {
		return 0, false
	}
	return numbers[0], true
}

// numbers are the first numbers, most at most; false if one of them is none,
// such as a fraction by zero.
func (v value) numbers(most int) ([]float64, bool) {
	if v.kind == typeASCII {
		return textNumbers(v.text(), most)
	}
	if v.kind == typeUndefined && len(v.data) != 1 {
		return nil, false
	}
	size := int(typeSize[v.kind])
	var numbers []float64
	for at := 0; at+size <= len(v.data) && len(numbers) < most; at += size {
		n := v.number(v.data[at:])
		if math.IsNaN(n) || math.IsInf(n, 0) {
			return nil, false
		}
		numbers = append(numbers, n)
	}
	return numbers, true
}

// number reads one number of the value's type.
func (v value) number(b []byte) float64 {
	switch v.kind {
	case typeByte, typeUndefined:
		return float64(b[0])
	case typeSByte:
		return float64(int8(b[0]))
	case typeShort:
		return float64(v.order.Uint16(b))
	case typeSShort:
		return float64(int16(v.order.Uint16(b)))
	case typeLong, typeIFD:
		return float64(v.order.Uint32(b))
	case typeSLong:
		return float64(int32(v.order.Uint32(b)))
	case typeRational:
		return float64(v.order.Uint32(b)) / float64(v.order.Uint32(b[4:]))
	case typeSRational:
		return float64(int32(v.order.Uint32(b))) / float64(int32(v.order.Uint32(b[4:])))
	case typeFloat:
		return float64(math.Float32frombits(v.order.Uint32(b)))
	case typeDouble:
		return math.Float64frombits(v.order.Uint64(b))
	}
	return math.NaN()
}

// textNumbers reads numbers that were written as text, with commas or blanks
// between them.
func textNumbers(s string, most int) ([]float64, bool) {
	var numbers []float64
	for field := range strings.FieldsFuncSeq(s, func(r rune) bool { return r == ' ' || r == ',' }) {
		if len(numbers) == most {
			break
		}
		n, err := strconv.ParseFloat(field, 64)
		if err != nil || math.IsNaN(n) || math.IsInf(n, 0) {
			return nil, false
		}
		numbers = append(numbers, n)
	}
	return numbers, true
}
