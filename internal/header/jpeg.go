package header

import (
	"encoding/binary"

	"github.com/tintype/tintype/event"
)

// readJPEG walks the segments to the frame header (ITU T.81, annex B).
func readJPEG(src []byte, h *Header) error {
	isRGB := false
	for marker, body := range Segments(src) {
		switch {
		case marker == 0xee && len(body) >= 12 && string(body[:5]) == "Adobe":
			isRGB = body[11] == 0
		case marker == markerEOI, marker == markerSOS:
			return event.Refuse(event.ReasonCorrupt, "jpeg without a frame header")
		case marker >= 0xc0 && marker <= 0xcf && marker != 0xc4 && marker != 0xc8 && marker != 0xcc:
			err := readFrame(body, marker, h)
			if isRGB && len(body) > 5 && body[5] == 3 {
				h.BytesPerPixel += 4 // The planes become one RGBA image.
			}
			return err
		}
	}
	return truncated(JPEG, len(src))
}

// readFrame reads a frame header: precision, height, width, components.
func readFrame(segment []byte, marker byte, h *Header) error {
	if len(segment) < 6 {
		return truncated(JPEG, len(segment))
	}
	h.Bits, h.Progressive = int(segment[0]), marker == 0xc2
	h.Height, h.Width = int(binary.BigEndian.Uint16(segment[1:])), int(binary.BigEndian.Uint16(segment[3:]))
	if marker > 0xc2 {
		return event.Refuse(event.ReasonUnsupportedFeature, "jpeg of frame type %x: neither baseline nor progressive", marker)
	}
	if h.Bits != 8 {
		return event.Refuse(event.ReasonUnsupportedFeature, "jpeg of %d bits a sample", h.Bits)
	}
	components := int(segment[5])
	if components != 1 && components != 3 && components != 4 {
		return event.Refuse(event.ReasonUnsupportedFeature, "jpeg of %d components", components)
	}
	if len(segment) < 6+3*components {
		return truncated(JPEG, len(segment))
	}
	var largest, sum float64
	for i := range components {
		factor := segment[6+3*i+1]
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
