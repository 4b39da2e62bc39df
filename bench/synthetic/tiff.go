package synthetic

import (
	"encoding/binary"
	"math"
)

// The field types of TIFF 6.0 that EXIF needs.
const (
	typeByte      = 1
	typeASCII     = 2
	typeShort     = 3
	typeLong      = 4
	typeRational  = 5
	typeUndefined = 7
)

// field is one entry of a directory; its value is in the file's byte order.
type field struct {
	tag, kind uint16
	count     uint32
	value     []byte
}

// directory is an image file directory (IFD). Its fields are added in the
// order of their tags, as TIFF wants them.
type directory struct {
	order  binary.AppendByteOrder
	fields []field
}

func (d *directory) ascii(tag uint16, s string) {
	d.fields = append(d.fields, field{tag, typeASCII, uint32(len(s) + 1), append([]byte(s), 0)})
}

func (d *directory) short(tag uint16, v int) {
	d.fields = append(d.fields, field{tag, typeShort, 1, d.order.AppendUint16(nil, uint16(v))})
}

func (d *directory) long(tag uint16, v int) {
	d.fields = append(d.fields, field{tag, typeLong, 1, d.order.AppendUint32(nil, uint32(v))})
}

func (d *directory) opaque(tag, kind uint16, v ...byte) {
	d.fields = append(d.fields, field{tag, kind, uint32(len(v)), v})
}

func (d *directory) rational(tag uint16, values ...Rational) {
	var b []byte
	for _, v := range values {
		b = d.order.AppendUint32(d.order.AppendUint32(b, v.Num), v.Den)
	}
	d.fields = append(d.fields, field{tag, typeRational, uint32(len(values)), b})
}

// size is the number of bytes of the directory and of the values behind it.
func (d *directory) size() int {
	n := 2 + 12*len(d.fields) + 4
	for _, f := range d.fields {
		if len(f.value) > 4 {
			n += len(f.value) + len(f.value)%2
		}
	}
	return n
}

// appendTo writes the directory, which begins at an offset of len(b) into the
// TIFF, and the values too long for their entries behind it.
func (d *directory) appendTo(b []byte) []byte {
	behind := len(b) + 2 + 12*len(d.fields) + 4
	var tail []byte
	b = d.order.AppendUint16(b, uint16(len(d.fields)))
	for _, f := range d.fields {
		b = d.order.AppendUint16(b, f.tag)
		b = d.order.AppendUint16(b, f.kind)
		b = d.order.AppendUint32(b, f.count)
		if len(f.value) <= 4 {
			b = append(b, f.value...)
			b = append(b, make([]byte, 4-len(f.value))...)
			continue
		}
		b = d.order.AppendUint32(b, uint32(behind+len(tail)))
		tail = append(tail, f.value...)
		tail = append(tail, make([]byte, len(f.value)%2)...) // Values begin on words.
	}
	b = d.order.AppendUint32(b, 0) // No directory follows.
	return append(b, tail...)
}

// tiff writes the EXIF as a TIFF file of three directories: the image's, the
// photo's and the place's. Width and height are pixels as stored.
func (e *Exif) tiff(width, height int) []byte {
	var order binary.AppendByteOrder = binary.LittleEndian
	b := []byte("II*\x00")
	if e.BigEndian {
		order = binary.BigEndian
		b = []byte("MM\x00*")
	}
	const firstDirectory = 8
	b = order.AppendUint32(b, firstDirectory)

	photo, place := e.photoDirectory(order, width, height), e.placeDirectory(order)
	image := e.imageDirectory(order, 0, 0)
	photoAt := firstDirectory + image.size()
	image = e.imageDirectory(order, photoAt, photoAt+photo.size())
	b = photo.appendTo(image.appendTo(b))
	if e.GPS != nil {
		b = place.appendTo(b)
	}
	return b
}

func (e *Exif) imageDirectory(order binary.AppendByteOrder, photoAt, placeAt int) *directory {
	d := &directory{order: order}
	d.ascii(0x010f, e.Make)
	d.ascii(0x0110, e.Model)
	d.short(0x0112, e.Orientation)
	d.rational(0x011a, Rational{72, 1})            // XResolution
	d.rational(0x011b, Rational{72, 1})            // YResolution
	d.short(0x0128, 2)                             // ResolutionUnit: inch
	d.ascii(0x0132, e.TakenLocal.Format(exifTime)) // DateTime
	d.short(0x0213, 1)                             // YCbCrPositioning: centered
	d.long(0x8769, photoAt)
	if e.GPS != nil {
		d.long(0x8825, placeAt)
	}
	return d
}

// exifTime is how EXIF writes wall time.
const exifTime = "2006:01:02 15:04:05"

func (e *Exif) photoDirectory(order binary.AppendByteOrder, width, height int) *directory {
	d := &directory{order: order}
	d.rational(0x829a, e.Exposure)
	d.rational(0x829d, e.FNumber)
	d.short(0x8827, e.ISO)
	d.opaque(0x9000, typeUndefined, '0', '2', '3', '1') // ExifVersion
	d.ascii(0x9003, e.TakenLocal.Format(exifTime))      // DateTimeOriginal
	d.ascii(0x9004, e.TakenLocal.Format(exifTime))      // DateTimeDigitized
	if e.OffsetMin != nil {
		d.ascii(0x9011, offset(*e.OffsetMin)) // OffsetTimeOriginal
	}
	d.opaque(0x9101, typeUndefined, 1, 2, 3, 0) // ComponentsConfiguration: YCbCr
	d.rational(0x920a, e.FocalLengthMM)
	if e.SubSec {
		d.ascii(0x9291, e.TakenLocal.Format(".000")[1:]) // SubSecTimeOriginal
	}
	d.opaque(0xa000, typeUndefined, '0', '1', '0', '0') // FlashpixVersion
	d.short(0xa001, 1)                                  // ColorSpace: sRGB
	d.long(0xa002, width)
	d.long(0xa003, height)
	if e.Lens != "" {
		d.ascii(0xa434, e.Lens)
	}
	return d
}

func (e *Exif) placeDirectory(order binary.AppendByteOrder) *directory {
	d := &directory{order: order}
	if e.GPS == nil {
		return d
	}
	latitude, longitude := "N", "E"
	if e.GPS.Latitude < 0 {
		latitude = "S"
	}
	if e.GPS.Longitude < 0 {
		longitude = "W"
	}
	d.opaque(0x0000, typeByte, 2, 3, 0, 0) // GPSVersionID
	d.ascii(0x0001, latitude)
	d.rational(0x0002, arc(e.GPS.Latitude)...)
	d.ascii(0x0003, longitude)
	d.rational(0x0004, arc(e.GPS.Longitude)...)
	return d
}

// arc is an angle's size as degrees, minutes and seconds.
func arc(degrees float64) []Rational {
	units := uint64(math.Round(math.Abs(degrees) * arcUnits)) // 180 degrees do not fit into 32 bits.
	return []Rational{{uint32(units / arcUnits), 1}, {uint32(units / (60 * 10000) % 60), 1}, {uint32(units % (60 * 10000)), 10000}}
}
