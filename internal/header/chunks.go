package header

import (
	"encoding/binary"
	"iter"
)

// The JPEG markers that end a walk over Segments.
const (
	markerEOI = 0xd9
	markerSOS = 0xda
)

// Segments yields a JPEG's markers up to its first scan, each with what stands
// behind its length (ITU T.81, annex B). Stray bytes between segments are passed
// over, as decoders do; a segment that the file ends in is yielded as far as it
// goes.
func Segments(src []byte) iter.Seq2[byte, []byte] {
	return func(yield func(byte, []byte) bool) {
		for at := 2; at < len(src); {
			for at < len(src) && src[at] != 0xff {
				at++
			}
			for at < len(src) && src[at] == 0xff {
				at++
			}
			if at >= len(src) {
				return
			}
			marker := src[at]
			at++
			switch {
			case marker == 0x00, marker == 0x01, marker >= 0xd0 && marker <= 0xd8:
				continue // These have no length.
			case marker == markerEOI, marker == markerSOS:
				yield(marker, nil)
				return
			case at+2 > len(src):
				return
			}
			length := max(int(binary.BigEndian.Uint16(src[at:])), 2)
			if !yield(marker, src[at+2:min(at+length, len(src))]) {
				return
			}
			at += length
		}
	}
}

// PNGChunks yields a PNG's chunks, without their checksums. It ends where the
// file does; a chunk that the file ends in is not yielded.
func PNGChunks(src []byte) iter.Seq2[string, []byte] {
	return func(yield func(string, []byte) bool) {
		for at := int64(8); at+12 <= int64(len(src)); {
			end := at + 8 + int64(binary.BigEndian.Uint32(src[at:]))
			if end+4 > int64(len(src)) || !yield(string(src[at+4:at+8]), src[at+8:end]) {
				return
			}
			at = end + 4
		}
	}
}

// WebPChunks yields the chunks of a WebP's container (RFC 9649). A chunk that
// the file ends in is yielded as far as it goes.
func WebPChunks(src []byte) iter.Seq2[string, []byte] {
	return func(yield func(string, []byte) bool) {
		for at := int64(12); at+8 <= int64(len(src)); {
			size := int64(binary.LittleEndian.Uint32(src[at+4:]))
			if !yield(string(src[at:at+4]), src[at+8:min(at+8+size, int64(len(src)))]) {
				return
			}
			at += 8 + size + size&1
		}
	}
}
