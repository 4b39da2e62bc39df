package pixel

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"image"
	"image/color"
	"image/draw"
	"image/gif"
	"image/jpeg"
	"image/png"
	"io"
	"math"

	"golang.org/x/image/webp"

	"github.com/tintype/tintype/event"
	"github.com/tintype/tintype/internal/header"
)

// decode decodes the first picture of a photo, as stored.
func decode(ctx context.Context, src []byte, format string) (image.Image, error) {
	h, err := header.Read(src)
	if err != nil {
		return nil, err
	}
	if h.Format != format {
		return nil, event.Refuse(event.ReasonCorrupt, "the bytes are %s where %s was extracted", h.Format, format)
	}
	var img image.Image
	r := newReader(ctx, src)
	switch format {
	case header.JPEG:
		// A JPEG that lacks but its last marker has all its pixels.
		img, err = jpeg.Decode(io.MultiReader(r, bytes.NewReader([]byte{0xff, 0xd9})))
	case header.PNG:
		img, err = decodePNG(ctx, src)
	case header.GIF:
		img, err = decodeGIF(r, h)
	case header.WebP:
		img, err = decodeWebP(ctx, src, h)
	case header.TIFF:
		img, err = decodeTIFF(ctx, src)
	case header.BMP:
		img, err = decodeBMP(ctx, src, h.Width, h.Height)
	}
	if err != nil {
		return nil, refusal(ctx, format, err, r.r.Len() == 0)
	}
	if b := img.Bounds(); b.Empty() || int64(b.Dx())*int64(b.Dy()) > h.Pixels() {
		return nil, event.Refuse(event.ReasonBadDimensions, "%s decoded to %d × %d pixels", format, b.Dx(), b.Dy())
	}
	return contained(img), nil
}

// refusal names the reason of a decoder's error; exhausted says that the decoder
// had read all there was.
func refusal(ctx context.Context, format string, err error, exhausted bool) error {
	var unsupportedJPEG jpeg.UnsupportedError
	var unsupportedPNG png.UnsupportedError
	_, refused := event.AsRefusal(err)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case refused:
		return err
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), exhausted && cutOff[err]:
		return event.Refuse(event.ReasonTruncated, "%s: %v", format, err)
	case errors.As(err, &unsupportedJPEG), errors.As(err, &unsupportedPNG):
		return event.Refuse(event.ReasonUnsupportedFeature, "%s: %v", format, err)
	}
	return event.Refuse(event.ReasonCorrupt, "%s: %v", format, err)
}

// cutOff are the errors of the JPEG decoder when it comes upon the end too early.
var cutOff = map[error]bool{
	jpeg.FormatError("short Huffman data"):      true,
	jpeg.FormatError("missing 0xff00 sequence"): true,
	jpeg.FormatError("bad RST marker"):          true,
	jpeg.FormatError("missing SOS marker"):      true,
}

// decodeGIF draws the first frame onto the logical screen.
func decodeGIF(r io.Reader, h header.Header) (image.Image, error) {
	frame, err := gif.Decode(r)
	if err != nil {
		return nil, err
	}
	canvas := image.NewNRGBA(image.Rect(0, 0, h.Width, h.Height))
	draw.Draw(canvas, frame.Bounds(), contained(frame), frame.Bounds().Min, draw.Src)
	return canvas, nil
}

// decodeWebP decodes a still, or the first frame of an animation: that frame's
// chunks are given a container of their own and drawn onto the canvas.
func decodeWebP(ctx context.Context, src []byte, h header.Header) (image.Image, error) {
	if h.Frame.End == 0 {
		img, err := webp.Decode(newReader(ctx, src))
		return fullRange(img), err
	}
	chunks := src[h.Frame.Start:h.Frame.End]
	still := make([]byte, 0, len(chunks)+30)
	still = append(still, "RIFF\x00\x00\x00\x00WEBP"...)
	if bytes.HasPrefix(chunks, []byte("ALPH")) {
		still = append(still, "VP8X\x0a\x00\x00\x00\x10\x00\x00\x00"...)
		still = appendUint24(appendUint24(still, h.Frame.Width-1), h.Frame.Height-1)
	}
	still = append(still, chunks...)
	binary.LittleEndian.PutUint32(still[4:], uint32(len(still)-8))
	frame, err := webp.Decode(newReader(ctx, still))
	if err != nil {
		return nil, err
	}
	frame = fullRange(contained(frame))
	canvas := image.NewNRGBA(image.Rect(0, 0, h.Width, h.Height))
	draw.Draw(canvas, frame.Bounds().Add(image.Pt(h.Frame.X, h.Frame.Y)), frame, frame.Bounds().Min, draw.Src)
	return canvas, nil
}

// luminances and chrominances bring the range of VP8's samples, 16 to 235 and 16
// to 240, to that of JPEG's, 0 to 255, which package image takes them for (RFC
// 6386, 9.2; ITU-R BT.601).
var luminances, chrominances = func() (y, c [256]uint8) {
	for i := range 256 {
		y[i] = uint8(min(max(math.Round(float64(i-16)*255/219), 0), 255))
		c[i] = uint8(min(max(math.Round(float64(i-128)*255/224)+128, 0), 255))
	}
	return y, c
}()

// fullRange does so in place, with a lossy WebP.
func fullRange(img image.Image) image.Image {
	var planes *image.YCbCr
	switch img := img.(type) {
	case *image.YCbCr:
		planes = img
	case *image.NYCbCrA:
		planes = &img.YCbCr
	default:
		return img
	}
	for i, y := range planes.Y {
		planes.Y[i] = luminances[y]
	}
	for i := range planes.Cb {
		planes.Cb[i], planes.Cr[i] = chrominances[planes.Cb[i]], chrominances[planes.Cr[i]]
	}
	return img
}

func appendUint24(b []byte, v int) []byte { return append(b, byte(v), byte(v>>8), byte(v>>16)) }

// contained makes an image safe for libraries that look up colours in
// goroutines of their own: a paletted image may name colours that its palette
// does not have, an alpha channel may be short, and that panic could not be
// caught.
func contained(img image.Image) image.Image {
	if alpha, ok := img.(*image.NYCbCrA); ok {
		if b := alpha.Rect; !b.Empty() && alpha.AOffset(b.Max.X-1, b.Max.Y-1) >= len(alpha.A) {
			return &alpha.YCbCr
		}
	}
	p, ok := img.(*image.Paletted)
	if !ok {
		return img
	}
	whole := make(color.Palette, 256)
	for i := range whole {
		whole[i] = color.NRGBA{}
		if i < len(p.Palette) {
			whole[i] = p.Palette[i]
		}
	}
	padded := *p
	padded.Palette = whole
	return &padded
}

// reader fails once its context has ended, and hands out little at a time, so
// that a decoder which makes much of few bytes comes back soon.
type reader struct {
	ctx context.Context
	r   *bytes.Reader
}

// readerChunk is how many bytes are handed out at once.
const readerChunk = 256

func newReader(ctx context.Context, src []byte) *reader {
	return &reader{ctx: ctx, r: bytes.NewReader(src)}
}

// Read implements io.Reader.
func (r *reader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.r.Read(p[:min(len(p), readerChunk)])
}
