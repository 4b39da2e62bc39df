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

	"golang.org/x/image/bmp"
	"golang.org/x/image/tiff"
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
		img, err = jpeg.Decode(r)
	case header.PNG:
		img, err = png.Decode(r)
	case header.GIF:
		img, err = decodeGIF(r, h)
	case header.WebP:
		img, err = decodeWebP(ctx, src, h)
	case header.TIFF:
		img, err = tiff.Decode(r)
	case header.BMP:
		img, err = bmp.Decode(r)
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
	var unsupportedTIFF tiff.UnsupportedError
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), exhausted && errors.Is(err, jpeg.FormatError("short Huffman data")):
		return event.Refuse(event.ReasonTruncated, "%s: %v", format, err)
	case errors.As(err, &unsupportedJPEG), errors.As(err, &unsupportedPNG), errors.As(err, &unsupportedTIFF), errors.Is(err, bmp.ErrUnsupported):
		return event.Refuse(event.ReasonUnsupportedFeature, "%s: %v", format, err)
	}
	return event.Refuse(event.ReasonCorrupt, "%s: %v", format, err)
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
	if !h.Animated {
		return webp.Decode(newReader(ctx, src))
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
	canvas := image.NewNRGBA(image.Rect(0, 0, h.Width, h.Height))
	draw.Draw(canvas, frame.Bounds().Add(image.Pt(h.Frame.X, h.Frame.Y)), frame, frame.Bounds().Min, draw.Src)
	return canvas, nil
}

func appendUint24(b []byte, v int) []byte { return append(b, byte(v), byte(v>>8), byte(v>>16)) }

// contained makes an image safe for libraries that look up colours in
// goroutines of their own: a paletted image may name colours that its palette
// does not have, and that panic could not be caught.
func contained(img image.Image) image.Image {
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
const readerChunk = 1024

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

// ReadAt implements io.ReaderAt, which the TIFF decoder asks for.
func (r *reader) ReadAt(p []byte, at int64) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.r.ReadAt(p, at)
}
