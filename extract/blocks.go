package extract

import (
	"bytes"
	"compress/zlib"
	"encoding/hex"
	"io"
	"strings"

	"github.com/tintype/tintype/internal/header"
)

// exifHeader stands before EXIF in a JPEG, and before what some programs put
// into a PNG.
const exifHeader = "Exif\x00\x00"

// exifBlocks finds the EXIF of a photo: TIFF structures, in the order in which
// they stand.
func exifBlocks(src []byte, format string) [][]byte {
	switch format {
	case header.JPEG:
		return jpegBlocks(src)
	case header.PNG:
		return pngBlocks(src)
	case header.WebP:
		var blocks [][]byte
		for kind, body := range header.WebPChunks(src) {
			// It counts whatever the container's flags say, but not behind a JPEG's
			// header, which RFC 9649 does not have.
			if kind == "EXIF" {
				blocks = append(blocks, body)
			}
		}
		return blocks
	case header.TIFF:
		return [][]byte{src}
	}
	return nil
}

// jpegBlocks finds the APP1 segments that hold EXIF. EXIF longer than a segment
// goes on in the next one, which then does not begin like TIFF.
func jpegBlocks(src []byte) [][]byte {
	const app1 = 0xe1
	var blocks [][]byte
	adjacent := false
	for marker, body := range header.Segments(src) {
		block, ok := app1Block(body)
		if marker != app1 || !ok {
			adjacent = false
			continue
		}
		if len(blocks) == maxBlocks {
			break
		}
		if last := len(blocks) - 1; adjacent && !beginsTIFF(block) {
			blocks[last] = append(bytes.Clone(blocks[last]), block...)
		} else {
			blocks = append(blocks, block)
		}
		adjacent = true
	}
	return blocks
}

// app1Block is the EXIF in an APP1 segment. A few bytes before its name, and
// another byte than NUL after it, have been seen.
func app1Block(body []byte) ([]byte, bool) {
	for skip := range 5 {
		if len(body) < skip+len(exifHeader) {
			return nil, false
		}
		if strings.EqualFold(string(body[skip:skip+5]), exifHeader[:5]) {
			return body[skip+len(exifHeader):], true
		}
	}
	return nil, false
}

func beginsTIFF(b []byte) bool {
	return bytes.HasPrefix(b, []byte("II\x2a\x00")) || bytes.HasPrefix(b, []byte("MM\x00\x2a"))
}

// maxProfile bounds a raw profile, inflated, in bytes.
const maxProfile = 1 << 20

// pngBlocks finds eXIf chunks (PNG, third edition), and the text chunks that
// ImageMagick wrote before there were such.
func pngBlocks(src []byte) [][]byte {
	var blocks [][]byte
	for kind, body := range header.PNGChunks(src) {
		var block []byte
		switch kind {
		case "eXIf":
			block = body
		case "tEXt":
			if name, text, ok := bytes.Cut(body, []byte{0}); ok && isProfile(name) {
				block = unhex(text)
			}
		case "zTXt":
			if name, packed, ok := bytes.Cut(body, []byte{0, 0}); ok && isProfile(name) {
				block = unhex(inflate(packed))
			}
		}
		if block = bytes.TrimPrefix(block, []byte(exifHeader)); len(block) > 0 && len(blocks) < maxBlocks {
			blocks = append(blocks, block)
		}
	}
	return blocks
}

func isProfile(name []byte) bool {
	return string(name) == "Raw profile type exif" || string(name) == "Raw profile type APP1"
}

// inflate inflates as much as can be.
func inflate(packed []byte) []byte {
	r, err := zlib.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil
	}
	text, err := io.ReadAll(io.LimitReader(r, maxProfile))
	if err != nil && len(text) == 0 {
		return nil
	}
	return text
}

// unhex reads a raw profile: a line feed, its name, its length, and hexadecimal
// lines.
func unhex(text []byte) []byte {
	parts := bytes.SplitN(text[:min(len(text), maxProfile)], []byte{'\n'}, 4)
	if len(parts) < 4 {
		return nil
	}
	digits := bytes.Join(bytes.Fields(parts[3]), nil)
	block := make([]byte, hex.DecodedLen(len(digits)))
	n, err := hex.Decode(block, digits)
	if err != nil {
		return nil
	}
	return block[:n]
}
