// Package header reads what a photo's header claims, from its magic bytes and
// its first structures alone: the real format, the pixels, and what decoding
// them would hold in memory. No pixel is decoded, every loop is bounded by the
// bytes at hand, and nothing is allocated that the header asks for.
package header

import (
	"encoding/binary"
	"math"

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

// DecodedBytes is about what decoding the photo holds, bounded so
// that sums of it do not overflow.
func (h Header) DecodedBytes() int64 {
	return int64(min(float64(h.Pixels())*h.BytesPerPixel, math.MaxInt64/2))
}

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
	for kind, body := range PNGChunks(src) {
		switch kind {
		case "acTL":
			h.Animated = len(body) >= 4 && binary.BigEndian.Uint32(body) > 1
		case "tRNS":
			if gray || !palette { // Becomes NRGBA, or NRGBA64.
				h.BytesPerPixel = 4 * float64(max(h.Bits/8, 1))
			}
		}
		if kind == "IDAT" {
			break
		}
	}
	if src[28] != 0 {
		h.BytesPerPixel *= 1.75 // Each pass of an interlaced one is a picture of its own; the last has half the rows.
	}
	return nil
}

// readBMP reads the header of OS/2 (12 bytes), or one of its longer successors.
func readBMP(src []byte, h *Header) error {
	if len(src) < 26 {
		return truncated(BMP, len(src))
	}
	bits := 0
	if size := binary.LittleEndian.Uint32(src[14:]); size < 16 {
		h.Width, h.Height = int(binary.LittleEndian.Uint16(src[18:])), int(binary.LittleEndian.Uint16(src[20:]))
		bits = int(binary.LittleEndian.Uint16(src[24:]))
	} else {
		if len(src) < 30 {
			return truncated(BMP, len(src))
		}
		height := int64(int32(binary.LittleEndian.Uint32(src[22:])))
		h.Width, h.Height = int(int32(binary.LittleEndian.Uint32(src[18:]))), int(max(height, -height)) // Negative: the rows stand from top to bottom.
		if height == -1<<31 {
			h.Height = 0
		}
		bits = int(binary.LittleEndian.Uint16(src[28:]))
	}
	h.BytesPerPixel = 4
	if bits <= 8 {
		h.BytesPerPixel = 1
	}
	return nil
}
