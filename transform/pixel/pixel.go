// Package pixel is the kernel: it decodes a photo, turns it upright, resizes
// it, encodes the renditions and hashes what it looks like. Its face holds no
// image type, so that what is inside can change.
//
// It is pure: the same bytes, meta and specs give the same renditions.
package pixel

import (
	"context"
	"fmt"

	"github.com/tintype/tintype/event"
	"github.com/tintype/tintype/internal/header"
)

// Meta is what extract found out about a photo.
type Meta struct {
	// Format is the sniffed format: jpeg, png, gif, webp, tiff, bmp.
	Format string
	// Orientation is EXIF's, 1 to 8; 0 counts as 1.
	Orientation int
}

// Encoded is one rendition: a JPEG without metadata.
type Encoded struct {
	Name          string
	Width, Height int // pixels
	Data          []byte
}

// Report tells how the renditions came about.
type Report struct {
	// KernelPath names the way through the kernel, such as jpeg/imaging.
	KernelPath string
	// PHash is the 64-bit perceptual hash of the upright photo.
	PHash uint64
	// Width and Height are the decoded photo's pixels, upright.
	Width, Height int
}

// Need is about how many bytes Render will hold for these bytes at most, beside
// them; what it cannot read needs little, since it will be refused.
func Need(src []byte, meta Meta, specs []Spec) int64 {
	h, err := header.Read(src)
	if err != nil || h.Format != meta.Format {
		return 1 << 20
	}
	widest, largest := hashSide, int64(hashSide*hashSide)
	for _, s := range specs {
		widest, largest = max(widest, s.Width, s.Height), max(largest, int64(s.Width)*int64(s.Height))
	}
	// The first resize holds its result for full-height columns, four bytes a
	// pixel; then there are two renditions at a time, and what they are encoded to.
	return h.DecodedBytes() + int64(max(h.Width, h.Height))*int64(widest)*4 + 12*largest + 4<<20
}

// Render makes the renditions of specs, in their order. A photo that cannot be
// developed gives an event.Refusal. Once ctx has ended, Render returns its
// error: decoders read through it, and the steps between look at it.
func Render(ctx context.Context, src []byte, meta Meta, specs []Spec) (encoded []Encoded, report Report, err error) {
	defer func() {
		// Decoders are fed by strangers. What panics in a goroutine of a
		// library's own cannot be caught here: see resize.
		if r := recover(); r != nil {
			encoded, err = nil, event.Refuse(event.ReasonDecoderPanic, "%v", r)
		}
	}()
	report.KernelPath = meta.Format + "/imaging"
	decoded, err := decode(ctx, src, meta.Format)
	if err != nil {
		return nil, report, err
	}
	orientation := max(meta.Orientation, 1)
	bounds := decoded.Bounds()
	report.Width, report.Height = upright(orientation, bounds.Dx(), bounds.Dy())
	r := newResizer(ctx, decoded, orientation)
	if report.PHash, err = r.perceptualHash(specs); err != nil {
		return nil, report, err
	}
	encoded = make([]Encoded, len(specs))
	for _, i := range largestFirst(specs, report.Width, report.Height) {
		rendition, err := r.resize(specs[i])
		if err != nil {
			return nil, report, err
		}
		data, err := encode(rendition, specs[i].Quality, r.gray)
		if err != nil {
			return nil, report, fmt.Errorf("pixel: encode rendition %s: %w", specs[i].Name, err)
		}
		size := rendition.Bounds()
		encoded[i] = Encoded{Name: specs[i].Name, Width: size.Dx(), Height: size.Dy(), Data: data}
	}
	return encoded, report, nil
}
