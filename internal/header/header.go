// Package header reads what a photo's header claims, from its magic bytes and
// its first structures alone: the real format, the pixels, and what decoding
// them would hold in memory. No pixel is decoded, every loop is bounded by the
// bytes at hand, and nothing is allocated that the header asks for.
package header

import (
	"encoding/binary"

	"github.com/tintype/tintype/event"
)

// The formats that are developed.
const (
	JPEG = "jpeg"
	PNG  = "png"
	GIF  = "gif"
	WebP = "webp"
	TIFF = "tiff"
	BMP  = "bmp"
)

// A Header is what a photo claims to be.
type Header struct {
	Format string
	// Width and Height are pixels as stored, before orientation; for a GIF and
	// an animated WebP those of the canvas.
	Width, Height int
	// Animated photos have more than one frame.
	Animated bool
	// Progressive JPEGs keep every coefficient until the last scan.
	Progressive bool
	// Bits is the length of a sample.
	Bits int
	// BytesPerPixel is what the decoders hold for one pixel, at most.
	BytesPerPixel float64
	// Frame is where an animated WebP's first frame lies.
	Frame Frame
}

// Frame is the first frame of an animated WebP.
type Frame struct {
	// X, Y is its place on the canvas, Width and Height its size, in pixels.
	X, Y, Width, Height int
	// Start and End bound its chunks in the file.
	Start, End int
}

// Pixels is the number of pixels that the photo claims.
func (h Header) Pixels() int64 { return int64(h.Width) * int64(h.Height) }

// DecodedBytes is about what decoding the photo holds.
func (h Header) DecodedBytes() int64 { return int64(float64(h.Pixels()) * h.BytesPerPixel) }

// Read sniffs the format and reads the header. Its error is an event.Refusal.
func Read(src []byte) (Header, error) {
	format, err := Sniff(src)
	if err != nil {
		return Header{Format: format}, err
	}
	h := Header{Format: format, Bits: 8}
	switch format {
	case JPEG:
		err = readJPEG(src, &h)
	case PNG:
		err = readPNG(src, &h)
	case GIF:
		err = readGIF(src, &h)
	case WebP:
		err = readWebP(src, &h)
	case TIFF:
		err = readTIFF(src, &h)
	case BMP:
		err = readBMP(src, &h)
	}
	if err != nil {
		return h, err
	}
	if h.Width <= 0 || h.Height <= 0 {
		return h, event.Refuse(event.ReasonBadDimensions, "%s of %d × %d pixels", format, h.Width, h.Height)
	}
	return h, nil
}

func truncated(format string, length int) error {
	return event.Refuse(event.ReasonTruncated, "%s header cut off after %d bytes", format, length)
}

func readPNG(src []byte, h *Header) error {
	if len(src) < 33 {
		return truncated(PNG, len(src))
	}
	if string(src[12:16]) != "IHDR" {
		return event.Refuse(event.ReasonCorrupt, "png does not begin with IHDR")
	}
	width, height := binary.BigEndian.Uint32(src[16:]), binary.BigEndian.Uint32(src[20:])
	if width > 1<<31-1 || height > 1<<31-1 {
		return event.Refuse(event.ReasonBadDimensions, "png of %d × %d pixels", width, height)
	}
	h.Width, h.Height, h.Bits = int(width), int(height), int(src[24])
	palette, gray := src[25] == 3, src[25] == 0
	switch {
	case h.Bits == 16 && gray:
		h.BytesPerPixel = 2
	case h.Bits == 16:
		h.BytesPerPixel = 8
	case palette || gray:
		h.BytesPerPixel = 1
	default:
		h.BytesPerPixel = 4
	}
	for at := 8; at+12 <= len(src); {
		length := int64(binary.BigEndian.Uint32(src[at:]))
		switch string(src[at+4 : at+8]) {
		case "acTL":
			h.Animated = true
		case "tRNS":
			if gray || !palette { // Becomes NRGBA, or NRGBA64.
				h.BytesPerPixel = 4 * float64(max(h.Bits/8, 1))
			}
		case "IDAT", "IEND":
			return nil
		}
		next := int64(at) + 12 + length
		if next > int64(len(src)) {
			return nil // Its decoder tells how it is cut off.
		}
		at = int(next)
	}
	return nil
}

func readBMP(src []byte, h *Header) error {
	if len(src) < 54 {
		return truncated(BMP, len(src))
	}
	if size := binary.LittleEndian.Uint32(src[14:]); size < 40 {
		return event.Refuse(event.ReasonUnsupportedFeature, "bmp with a header of %d bytes (OS/2)", size)
	}
	width, height := int32(binary.LittleEndian.Uint32(src[18:])), int64(int32(binary.LittleEndian.Uint32(src[22:])))
	h.Width, h.Height = int(width), int(max(height, -height)) // Negative: the rows stand from top to bottom.
	if height == -1<<31 {
		h.Height = 0
	}
	h.BytesPerPixel = 4
	if bits := binary.LittleEndian.Uint16(src[28:]); bits <= 8 {
		h.BytesPerPixel = 1
	}
	return nil
}

// readTIFF reads the first directory.
func readTIFF(src []byte, h *Header) error {
	if len(src) < 8 {
		return truncated(TIFF, len(src))
	}
	var order binary.ByteOrder = binary.LittleEndian
	if src[0] == 'M' {
		order = binary.BigEndian
	}
	at := int64(order.Uint32(src[4:]))
	if at+2 > int64(len(src)) {
		return truncated(TIFF, len(src))
	}
	count := int64(order.Uint16(src[at:]))
	if at+2+12*count > int64(len(src)) {
		return truncated(TIFF, len(src))
	}
	samples := 1
	for i := range count {
		entry := src[at+2+12*i:]
		value := int(order.Uint32(entry[8:]))
		if order.Uint16(entry[2:]) == 3 { // SHORT.
			value = int(order.Uint16(entry[8:]))
			if order.Uint32(entry[4:]) > 2 { // The values lie elsewhere; the first one will do.
				if p := int64(order.Uint32(entry[8:])); p+2 <= int64(len(src)) {
					value = int(order.Uint16(src[p:]))
				}
			}
		}
		switch order.Uint16(entry) {
		case 256:
			h.Width = value
		case 257:
			h.Height = value
		case 258:
			h.Bits = value
		case 277:
			samples = value
		}
	}
	h.BytesPerPixel = 4
	if samples == 1 {
		h.BytesPerPixel = 1
	}
	if h.Bits == 16 {
		h.BytesPerPixel *= 2
	}
	return nil
}
