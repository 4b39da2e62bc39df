package pixel

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"image"
	"image/png"
	"io"
)

// pngEnd is a PNG's last chunk.
var pngEnd = []byte("\x00\x00\x00\x00IEND\xae\x42\x60\x82")

// decodePNG decodes a PNG by the chunks that matter for its pixels. In the
// others the decoder would mind a wrong checksum, as no browser does.
func decodePNG(ctx context.Context, src []byte) (image.Image, error) {
	parts := []io.Reader{newReader(ctx, src[:8])}
	whole, ended := true, false
	for at := 8; at+8 <= len(src) && !ended; {
		end := int64(at) + 12 + int64(binary.BigEndian.Uint32(src[at:]))
		kind := src[at+4 : at+8]
		ended = string(kind) == "IEND"
		if critical := kind[0]&0x20 == 0; critical && !ended || string(kind) == "tRNS" {
			whole = end <= int64(len(src))
			parts = append(parts, newReader(ctx, src[at:min(end, int64(len(src)))]))
		}
		at = int(min(end, int64(len(src))))
	}
	if whole { // What lacks but its end has all its pixels.
		parts = append(parts, bytes.NewReader(pngEnd))
	}
	img, err := png.Decode(io.MultiReader(parts...))
	if !ended && errors.Is(err, png.FormatError("not enough pixel data")) {
		err = io.ErrUnexpectedEOF
	}
	return img, err
}
