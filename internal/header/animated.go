package header

import (
	"encoding/binary"

	"github.com/tintype/tintype/event"
)

// readGIF reads the logical screen, and looks for a second frame (GIF89a, 17
// to 23).
func readGIF(src []byte, h *Header) error {
	if len(src) < 13 {
		return truncated(GIF, len(src))
	}
	h.Width, h.Height = int(binary.LittleEndian.Uint16(src[6:])), int(binary.LittleEndian.Uint16(src[8:]))
	h.BytesPerPixel = 5 // The paletted frame, and the canvas it is drawn on.
	at := 13
	if src[10]&0x80 != 0 {
		at += 3 << (src[10]&7 + 1)
	}
	for frames := 0; at < len(src); {
		switch src[at] {
		case 0x21:
			at = skipBlocks(src, at+2)
		case 0x2c:
			if frames++; frames > 1 {
				h.Animated = true
				return nil
			}
			if at+10 > len(src) {
				return nil // Its decoder tells how it is cut off.
			}
			flags := src[at+9]
			at += 10
			if flags&0x80 != 0 {
				at += 3 << (flags&7 + 1)
			}
			at = skipBlocks(src, at+1)
		default:
			return nil
		}
	}
	return nil
}

// skipBlocks returns where a run of data sub-blocks ends.
func skipBlocks(src []byte, at int) int {
	for at < len(src) && src[at] != 0 {
		at += 1 + int(src[at])
	}
	return at + 1
}

// readWebP reads the chunks of the container (RFC 9649).
func readWebP(src []byte, h *Header) error {
	h.BytesPerPixel = 1.5 // YCbCr.
	canvas := false
	for at := 12; at+8 <= len(src); {
		size := int64(binary.LittleEndian.Uint32(src[at+4:]))
		body := src[at+8:]
		switch kind := string(src[at : at+4]); kind {
		case "VP8X":
			if len(body) < 10 {
				return truncated(WebP, len(src))
			}
			canvas, h.Animated = true, body[0]&0x02 != 0
			h.Width, h.Height = uint24(body[4:])+1, uint24(body[7:])+1
		case "ALPH":
			h.BytesPerPixel = 8 // A lossless alpha channel is decoded to a picture of its own.
		case "VP8 ", "VP8L":
			if size > int64(len(body)) { // The decoder allocates what the chunk claims.
				return truncated(WebP, len(src))
			}
			width, height, err := readBitstream(kind, body, h)
			if err == nil && canvas && (width != h.Width || height != h.Height) {
				return event.Refuse(event.ReasonCorrupt, "webp of %d × %d pixels on a canvas of %d × %d", width, height, h.Width, h.Height)
			}
			if err == nil && kind == "VP8 " {
				h.BytesPerPixel += float64(size) / float64(max(width*height, 1)) // A copy of the chunk.
			}
			h.Width, h.Height, h.Animated = width, height, false // Whatever the container says: here is a still.
			return err
		case "ANMF":
			if h.Animated {
				return readAnimation(src, at, size, h)
			}
		}
		next := int64(at) + 8 + size + size&1
		if next > int64(len(src)) {
			return truncated(WebP, len(src))
		}
		at = int(next)
	}
	return truncated(WebP, len(src))
}

func uint24(b []byte) int { return int(b[0]) | int(b[1])<<8 | int(b[2])<<16 }

// readBitstream reads the size off a lossy (RFC 6386, 9.1) or a lossless frame.
func readBitstream(kind string, body []byte, h *Header) (width, height int, err error) {
	if len(body) < 10 {
		return 0, 0, truncated(WebP, len(body))
	}
	if kind == "VP8 " {
		return int(binary.LittleEndian.Uint16(body[6:]) & 0x3fff), int(binary.LittleEndian.Uint16(body[8:]) & 0x3fff), nil
	}
	h.BytesPerPixel = 8 // The pixels, and the decoder's own copy of them.
	bits := binary.LittleEndian.Uint32(body[1:])
	return int(bits&0x3fff) + 1, int(bits>>14&0x3fff) + 1, nil
}

// readAnimation finds the first frame of an animated WebP.
func readAnimation(src []byte, at int, size int64, h *Header) error {
	end := int64(at) + 8 + size
	if size < 16 || end > int64(len(src)) {
		return truncated(WebP, len(src))
	}
	body := src[at+8:]
	h.Frame = Frame{
		X: 2 * uint24(body), Y: 2 * uint24(body[3:]), Width: uint24(body[6:]) + 1, Height: uint24(body[9:]) + 1,
		Start: at + 24, End: int(end),
	}
	if h.Frame.X+h.Frame.Width > h.Width || h.Frame.Y+h.Frame.Height > h.Height {
		return event.Refuse(event.ReasonCorrupt, "webp frame of %d × %d at %d, %d lies outside of its canvas of %d × %d",
			h.Frame.Width, h.Frame.Height, h.Frame.X, h.Frame.Y, h.Width, h.Height)
	}
	h.BytesPerPixel = 12 // The frame by either bitstream, and the canvas.
	frames := 0
	for kind := range WebPChunks(src) {
		if kind == "ANMF" {
			frames++
		}
	}
	h.Animated = frames > 1
	for at := h.Frame.Start; at+8 <= h.Frame.End; {
		size := int64(binary.LittleEndian.Uint32(src[at+4:]))
		if kind := string(src[at : at+4]); kind == "VP8 " || kind == "VP8L" {
			if size > int64(h.Frame.End-at-8) {
				return truncated(WebP, len(src))
			}
			inner := *h
			width, height, err := readBitstream(kind, src[at+8:h.Frame.End], &inner)
			if err == nil && (width != h.Frame.Width || height != h.Frame.Height) {
				return event.Refuse(event.ReasonCorrupt, "webp frame of %d × %d claims %d × %d", width, height, h.Frame.Width, h.Frame.Height)
			}
			return err
		}
		at = int(min(int64(at)+8+size+size&1, int64(h.Frame.End)))
	}
	return event.Refuse(event.ReasonCorrupt, "webp animation without a frame")
}
