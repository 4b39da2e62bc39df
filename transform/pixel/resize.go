package pixel

import (
	"bytes"
	"context"
	"image"
	"image/color"
	"image/draw"
	"image/jpeg"

	"github.com/corona10/goimagehash"
	"github.com/disintegration/imaging"
)

// A resizer makes renditions in a cascade, each of the last one that was not
// cropped. The first resize reads the photo as it was decoded; turning it
// upright comes after, when little is left to turn.
type resizer struct {
	ctx         context.Context
	decoded     image.Image
	orientation int
	// width and height are the upright photo's.
	width, height int
	// gray photos stay of one channel.
	gray bool
	// current is the upright, opaque result of the last resize; nil before.
	current *image.NRGBA
	// hashed is what the perceptual hash was taken of.
	hashed *image.NRGBA
}

func newResizer(ctx context.Context, decoded image.Image, orientation int) *resizer {
	r := &resizer{ctx: ctx, decoded: decoded, orientation: orientation}
	r.width, r.height = upright(orientation, decoded.Bounds().Dx(), decoded.Bounds().Dy())
	switch decoded.(type) {
	case *image.Gray, *image.Gray16:
		r.gray = true
	}
	return r
}

// resize makes the rendition of one spec.
func (r *resizer) resize(s Spec) (*image.NRGBA, error) {
	if err := r.ctx.Err(); err != nil {
		return nil, err
	}
	w, h := s.size(r.width, r.height)
	if s.Mode == Fit {
		return r.to(w, h), nil
	}
	return imaging.Fill(r.current, w, h, imaging.Center, imaging.Lanczos), nil
}

// to resizes to w × h upright pixels and makes the result the base of what
// follows.
func (r *resizer) to(w, h int) *image.NRGBA {
	switch {
	case r.current != nil && r.current.Rect.Dx() == w && r.current.Rect.Dy() == h:
	case r.hashed != nil && r.hashed.Rect.Dx() == w && r.hashed.Rect.Dy() == h:
		r.current = r.hashed
	case r.current != nil:
		r.current = imaging.Resize(r.current, w, h, imaging.Lanczos)
	case w == r.width && h == r.height:
		r.current = r.finish(imaging.Clone(r.decoded))
	default:
		storedW, storedH := upright(r.orientation, w, h)
		r.current = r.finish(imaging.Resize(r.decoded, storedW, storedH, imaging.Lanczos))
	}
	return r.current
}

// finish turns an image upright and lays it on white, and lets go of the
// decoded photo, the largest thing in memory.
func (r *resizer) finish(img *image.NRGBA) *image.NRGBA {
	r.decoded = nil
	img = turn(img, r.orientation)
	if img.Opaque() {
		return img
	}
	matte := image.NewNRGBA(img.Rect)
	draw.Draw(matte, matte.Rect, image.NewUniform(color.White), image.Point{}, draw.Src)
	draw.Draw(matte, matte.Rect, img, img.Rect.Min, draw.Over)
	return matte
}

// hashSide is the side in pixels that photos are brought to before hashing.
const hashSide = 512

// perceptualHash hashes the upright photo within 512 pixels (pHash: the signs of
// its lowest frequencies against their median). It comes before all renditions,
// so that the hash does not depend on which sizes were asked for.
func (r *resizer) perceptualHash(specs []Spec) (uint64, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	w, h := Spec{Width: hashSide, Height: hashSide, Mode: Fit}.size(r.width, r.height)
	baseW, baseH := w, h
	for _, s := range specs {
		if s.Mode == Fit {
			specW, specH := s.size(r.width, r.height)
			baseW, baseH = max(baseW, specW), max(baseH, specH)
			continue
		}
		scale := s.scale(r.width, r.height)
		baseW, baseH = max(baseW, int(float64(r.width)*scale+0.5)), max(baseH, int(float64(r.height)*scale+0.5))
	}
	r.hashed = r.to(baseW, baseH)
	if baseW > w || baseH > h {
		r.hashed = imaging.Resize(r.hashed, w, h, imaging.Lanczos)
	}
	hash, err := goimagehash.PerceptionHash(r.hashed)
	if err != nil {
		return 0, err
	}
	return hash.GetHash(), nil
}

// upright swaps the sides of an image that orientation lays on its side. It is
// its own inverse.
func upright(orientation, w, h int) (int, int) {
	if orientation >= 5 && orientation <= 8 {
		return h, w
	}
	return w, h
}

// turn undoes an EXIF orientation (Exif 2.3, tag 0x0112).
func turn(img *image.NRGBA, orientation int) *image.NRGBA {
	switch orientation {
	case 2:
		return imaging.FlipH(img)
	case 3:
		return imaging.Rotate180(img)
	case 4:
		return imaging.FlipV(img)
	case 5:
		return imaging.Transpose(img)
	case 6:
		return imaging.Rotate270(img)
	case 7:
		return imaging.Transverse(img)
	case 8:
		return imaging.Rotate90(img)
	}
	return img
}

// encode makes a JPEG without metadata.
func encode(img *image.NRGBA, quality int, gray bool) ([]byte, error) {
	var source image.Image = &image.RGBA{Pix: img.Pix, Stride: img.Stride, Rect: img.Rect} // The same bytes, since it is opaque.
	if gray {
		plane := image.NewGray(img.Rect)
		for i := range plane.Pix {
			plane.Pix[i] = img.Pix[4*i]
		}
		source = plane
	}
	var out bytes.Buffer
	if err := jpeg.Encode(&out, source, &jpeg.Options{Quality: quality}); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}
