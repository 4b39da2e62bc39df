package header

import (
	"encoding/binary"

	"github.com/tintype/tintype/event"
)

// readJPEG walks the segments to the frame header (ITU T.81, annex B).
func readJPEG(src []byte, h *Header) error {
	for at := 2; ; {
		for at < len(src) && src[at] != 0xff { // Decoders pass over stray bytes between segments.
			at++
		}
		for at < len(src) && src[at] == 0xff {
			at++
		}
		if at+3 > len(src) {
			return truncated(JPEG, len(src))
		}
		marker := src[at]
		at++
		switch {
		case marker == 0x00, marker == 0x01, marker >= 0xd0 && marker <= 0xd8:
			continue
		case marker == 0xd9 || marker == 0xda:
			return event.Refuse(event.ReasonCorrupt, "jpeg without a frame header")
		case marker >= 0xc0 && marker <= 0xcf && marker != 0xc4 && marker != 0xc8 && marker != 0xcc:
			return readFrame(src[at:], marker, h)
		}
		at += max(int(binary.BigEndian.Uint16(src[at:])), 2)
	}
}

// readFrame reads a frame header: length, precision, height, width, components.
func readFrame(segment []byte, marker byte, h *Header) error {
	if len(segment) < 8 {
		return truncated(JPEG, len(segment))
	}
	h.Bits, h.Progressive = int(segment[2]), marker == 0xc2
	h.Height, h.Width = int(binary.BigEndian.Uint16(segment[3:])), int(binary.BigEndian.Uint16(segment[5:]))
	if marker > 0xc2 {
		return event.Refuse(event.ReasonUnsupportedFeature, "jpeg of frame type %x: neither baseline nor progressive", marker)
	}
	if h.Bits != 8 {
		return event.Refuse(event.ReasonUnsupportedFeature, "jpeg of %d bits a sample", h.Bits)
	}
	components := int(segment[7])
	if components != 1 && components != 3 && components != 4 {
		return event.Refuse(event.ReasonUnsupportedFeature, "jpeg of %d components", components)
	}
	if len(segment) < 8+3*components {
		return truncated(JPEG, len(segment))
	}
	var largest, sum float64
	for i := range components {
		factor := segment[8+3*i+1]
		area := float64(factor>>4) * float64(factor&15)
		largest, sum = max(largest, area), sum+area
	}
	h.BytesPerPixel = float64(components)
	if largest > 0 {
		h.BytesPerPixel = sum / largest
	}
	if h.Progressive {
		h.BytesPerPixel *= 5 // The samples, and four bytes for each coefficient.
	}
	if components == 4 {
		h.BytesPerPixel += 4 // The planes become one CMYK image.
	}
	return nil
}
