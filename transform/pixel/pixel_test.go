package pixel

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"image"
	"image/color"
	"image/gif"
	"image/jpeg"
	"image/png"
	"math"
	"math/bits"
	"testing"
	"time"

	"github.com/disintegration/imaging"
	"golang.org/x/image/bmp"
	"golang.org/x/image/tiff"
	"pgregory.net/rapid"

	"github.com/tintype/tintype/event"
)

// scene is a smooth picture whose corners differ, so that every turn shows.
func scene(w, h int) *image.NRGBA {
	img := image.NewNRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			u, v := float64(x)/float64(w), float64(y)/float64(h)
			img.SetNRGBA(x, y, color.NRGBA{uint8(255 * u), uint8(255 * v), uint8(127 + 120*math.Sin(7*u)*math.Cos(5*v)), 255})
		}
	}
	return img
}

func jpegOf(t testing.TB, img image.Image) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := jpeg.Encode(&b, img, &jpeg.Options{Quality: 95}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func pngOf(t testing.TB, img image.Image) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := png.Encode(&b, img); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// tinyWebP is a lossless WebP of one pixel, and animatedWebP the same pixel as
// the first frame of an animation.
var (
	tinyWebP = append([]byte("RIFF\x22\x00\x00\x00WEBP"), vp8l...)
	vp8l     = []byte("VP8L\x0d\x00\x00\x00\x2f\x00\x00\x00\x10\x07\x10\x11\x11\x88\x88\xfe\x07\x00\x00")

	animatedWebP = append(append([]byte("RIFF\x58\x00\x00\x00WEBPVP8X\x0a\x00\x00\x00\x02\x00\x00\x00\x00\x00\x00\x00\x00\x00"),
		"ANIM\x06\x00\x00\x00\x00\x00\x00\x00\x00\x00ANMF\x26\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x64\x00\x00\x00"...), vp8l...)
)

func decodeRendition(t testing.TB, e Encoded) image.Image {
	t.Helper()
	img, err := jpeg.Decode(bytes.NewReader(e.Data))
	if err != nil {
		t.Fatal(err)
	}
	if img.Bounds().Dx() != e.Width || img.Bounds().Dy() != e.Height {
		t.Fatalf("rendition %s has %v pixels and claims %d × %d", e.Name, img.Bounds(), e.Width, e.Height)
	}
	return img
}

// distance is the mean difference of two pictures of one size, in levels.
func distance(t testing.TB, a, b image.Image) float64 {
	t.Helper()
	if a.Bounds().Size() != b.Bounds().Size() {
		t.Fatalf("sizes %v and %v", a.Bounds(), b.Bounds())
	}
	x, y := imaging.Clone(a), imaging.Clone(b)
	var sum float64
	for i := range x.Pix {
		sum += math.Abs(float64(x.Pix[i]) - float64(y.Pix[i]))
	}
	return sum / float64(len(x.Pix))
}

func TestRenditionsOfEveryOrientation(t *testing.T) {
	stored := scene(900, 600)
	src := jpegOf(t, stored)
	turns := []func(image.Image) *image.NRGBA{
		imaging.Clone, imaging.FlipH, imaging.Rotate180, imaging.FlipV, imaging.Transpose, imaging.Rotate270, imaging.Transverse, imaging.Rotate90,
	}
	var hashes []uint64
	for i, turned := range turns {
		want := turned(stored)
		encoded, report, err := Render(t.Context(), src, Meta{Format: "jpeg", Orientation: i + 1}, DefaultSpecs())
		if err != nil {
			t.Fatal(err)
		}
		if report.Width != want.Rect.Dx() || report.Height != want.Rect.Dy() || report.KernelPath != "jpeg/imaging" {
			t.Errorf("orientation %d: report %+v, want %v", i+1, report, want.Rect)
		}
		for k, reference := range []image.Image{
			imaging.Fit(want, 1024, 1024, imaging.Lanczos), imaging.Fit(want, 512, 512, imaging.Lanczos), imaging.Fill(want, 128, 128, imaging.Center, imaging.Lanczos),
		} {
			if d := distance(t, decodeRendition(t, encoded[k]), reference); d > 3 {
				t.Errorf("orientation %d, rendition %s: %.1f levels away from imaging's own", i+1, encoded[k].Name, d)
			}
		}
		upright, err := hashOf(want)
		if err != nil {
			t.Fatal(err)
		}
		if d := bits.OnesCount64(report.PHash ^ upright); d > 4 {
			t.Errorf("orientation %d: the hash is %d bits away from the upright photo's", i+1, d)
		}
		hashes = append(hashes, report.PHash)
	}
	if hashes[0] == hashes[2] {
		t.Error("a photo upside down has the same hash")
	}
}

func hashOf(img image.Image) (uint64, error) {
	r := newResizer(context.Background(), img, 1)
	return r.perceptualHash(nil)
}

// The sizes are imaging's own, for any photo and any specs, turned or not.
func TestSizesAreImagings(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w, h := rapid.IntRange(1, 400).Draw(t, "w"), rapid.IntRange(1, 400).Draw(t, "h")
		orientation := rapid.IntRange(1, 8).Draw(t, "orientation")
		boxW, boxH := rapid.IntRange(1, 300).Draw(t, "boxW"), rapid.IntRange(1, 300).Draw(t, "boxH")
		specs := []Spec{
			{Name: "a", Width: boxW, Height: boxH, Mode: Fit, Quality: 80},
			{Name: "b", Width: boxH, Height: boxW, Mode: Fill, Quality: 80},
			{Name: "c", Width: boxW/2 + 1, Height: boxH/2 + 1, Mode: Fit, Quality: 80},
		}
		photo := turn(image.NewNRGBA(image.Rect(0, 0, w, h)), orientation)
		r := newResizer(context.Background(), image.NewNRGBA(image.Rect(0, 0, w, h)), orientation)
		if _, err := r.perceptualHash(specs); err != nil {
			t.Fatal(err)
		}
		for _, i := range largestFirst(specs, r.width, r.height) {
			s := specs[i]
			want := imaging.Fit(photo, s.Width, s.Height, imaging.NearestNeighbor).Rect
			if s.Mode == Fill {
				want = imaging.Fill(photo, s.Width, s.Height, imaging.Center, imaging.NearestNeighbor).Rect
			}
			got, err := r.resize(s)
			if err != nil {
				t.Fatal(err)
			}
			if got.Rect != want {
				t.Fatalf("%d × %d, orientation %d, %+v: %v, imaging has %v", w, h, orientation, s, got.Rect, want)
			}
		}
	})
}

func TestEveryFormatDecodes(t *testing.T) {
	picture := scene(300, 200)
	gray := image.NewGray(picture.Rect)
	deep := image.NewNRGBA64(picture.Rect)
	paletted := image.NewPaletted(picture.Rect, color.Palette{color.Black, color.White, color.NRGBA{200, 30, 30, 255}})
	for y := range 200 {
		for x := range 300 {
			gray.Set(x, y, picture.At(x, y))
			deep.Set(x, y, picture.At(x, y))
			paletted.Set(x, y, picture.At(x, y))
		}
	}
	encode := func(write func(*bytes.Buffer) error) []byte {
		var b bytes.Buffer
		if err := write(&b); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	for name, c := range map[string]struct {
		format string
		src    []byte
		want   image.Image
	}{
		"jpeg gray":     {"jpeg", jpegOf(t, gray), gray},
		"png 16 bit":    {"png", pngOf(t, deep), picture},
		"png gray":      {"png", pngOf(t, gray), gray},
		"png palette":   {"png", pngOf(t, paletted), paletted},
		"gif":           {"gif", encode(func(b *bytes.Buffer) error { return gif.Encode(b, paletted, nil) }), paletted},
		"tiff":          {"tiff", encode(func(b *bytes.Buffer) error { return tiff.Encode(b, picture, &tiff.Options{Compression: tiff.Deflate}) }), picture},
		"bmp":           {"bmp", encode(func(b *bytes.Buffer) error { return bmp.Encode(b, picture) }), picture},
		"webp":          {"webp", tinyWebP, nil},
		"webp animated": {"webp", animatedWebP, nil},
	} {
		encoded, report, err := Render(t.Context(), c.src, Meta{Format: c.format}, DefaultSpecs())
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if report.KernelPath != c.format+"/imaging" {
			t.Errorf("%s went by %s", name, report.KernelPath)
		}
		if c.want == nil {
			continue
		}
		rendition := decodeRendition(t, encoded[0])
		if d := distance(t, rendition, imaging.Clone(c.want)); d > 6 {
			t.Errorf("%s: %.1f levels away from what was encoded", name, d)
		}
		if _, isGray := rendition.(*image.Gray); isGray != (name == "jpeg gray" || name == "png gray") {
			t.Errorf("%s became %T", name, rendition)
		}
	}
}

func TestTransparencyIsLaidOnWhite(t *testing.T) {
	img := image.NewNRGBA(image.Rect(0, 0, 40, 40)) // Nothing but transparency.
	encoded, _, err := Render(t.Context(), pngOf(t, img), Meta{Format: "png"}, DefaultSpecs())
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range encoded {
		if r, g, b, _ := decodeRendition(t, e).At(e.Width/2, e.Height/2).RGBA(); min(r, g, b) < 0xfd00 {
			t.Errorf("rendition %s is %x %x %x in the middle", e.Name, r, g, b)
		}
	}
}

// A palette that is shorter than the indexes in use kills a process whose
// resizer looks colours up in goroutines of its own.
func TestShortPaletteIsContained(t *testing.T) {
	img := image.NewPaletted(image.Rect(0, 0, 64, 64), color.Palette{color.White})
	for i := range img.Pix {
		img.Pix[i] = uint8(i)
	}
	if r, _, _, a := contained(img).At(5, 0).RGBA(); r != 0 || a != 0 {
		t.Errorf("an index outside of the palette is %x, %x", r, a)
	}
	imaging.Resize(contained(img), 8, 8, imaging.Lanczos)
}

func TestRefusals(t *testing.T) {
	whole := jpegOf(t, scene(400, 300))
	flat := bytes.Clone(whole)
	at := bytes.Index(flat, []byte{0xff, 0xc0})
	flat[at+5], flat[at+6] = 0, 0
	for name, c := range map[string]struct {
		format string
		src    []byte
		want   event.Reason
	}{
		"half a jpeg":     {"jpeg", whole[:len(whole)/2], event.ReasonTruncated},
		"no height":       {"jpeg", flat, event.ReasonBadDimensions},
		"another format":  {"png", whole, event.ReasonCorrupt},
		"nothing":         {"jpeg", nil, event.ReasonUnknownFormat},
		"broken checksum": {"png", append(pngOf(t, scene(20, 20))[:60], make([]byte, 200)...), event.ReasonCorrupt},
	} {
		_, _, err := Render(t.Context(), c.src, Meta{Format: c.format}, DefaultSpecs())
		if r, ok := event.AsRefusal(err); !ok || r.Reason != c.want {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
	}
}

// whiteWebP is a lossy WebP of 16 white pixels a side, whose luminance is 235.
var whiteWebP = []byte("RIFF$\x00\x00\x00WEBPVP8 \x18\x00\x00\x000\x01\x00\x9d\x01*\x10\x00\x10\x00\x02\xc0L%\xa4\x00\x03p\x00\xfe\xf7\x8c\x00\x00")

func TestWhiteOfALossyWebPIsWhite(t *testing.T) {
	encoded, _, err := Render(t.Context(), whiteWebP, Meta{Format: "webp"}, DefaultSpecs())
	if err != nil {
		t.Fatal(err)
	}
	if r, g, b, _ := decodeRendition(t, encoded[0]).At(8, 8).RGBA(); min(r, g, b) < 0xfd00 {
		t.Errorf("it is %x %x %x", r, g, b)
	}
}

func TestAShortAlphaChannelIsContained(t *testing.T) {
	img := image.NewNYCbCrA(image.Rect(0, 0, 64, 64), image.YCbCrSubsampleRatio420)
	img.A = img.A[:100]
	imaging.Resize(contained(img), 8, 8, imaging.Lanczos)
}

// What lacks but the end of image has all its pixels, and what follows it is not
// looked at.
func TestTheEndOfAJPEG(t *testing.T) {
	whole := jpegOf(t, scene(200, 100))
	for name, src := range map[string][]byte{
		"no end marker": whole[:len(whole)-2], "half an end marker": whole[:len(whole)-1], "trailing bytes": append(bytes.Clone(whole), "and so on"...),
	} {
		if _, _, err := Render(t.Context(), src, Meta{Format: "jpeg"}, DefaultSpecs()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for cut := len(whole) - 5; cut > 200; cut -= 97 {
		_, _, err := Render(t.Context(), whole[:cut], Meta{Format: "jpeg"}, DefaultSpecs())
		if r, ok := event.AsRefusal(err); !ok || r.Reason != event.ReasonTruncated {
			t.Errorf("cut to %d of %d bytes: %v", cut, len(whole), err)
		}
	}
}

func TestPNGsThatBrowsersShow(t *testing.T) {
	whole := pngOf(t, scene(200, 100))
	comment := append([]byte("\x00\x00\x00\x05tEXtkey\x00v"), "none"...) // No checksum.
	for name, src := range map[string][]byte{
		"a wrong checksum in a comment": append(append(bytes.Clone(whole[:33]), comment...), whole[33:]...),
		"without its end":               whole[:len(whole)-12],
		"half its end":                  whole[:len(whole)-5],
		"trailing bytes":                append(bytes.Clone(whole), "and so on"...),
	} {
		if _, _, err := Render(t.Context(), src, Meta{Format: "png"}, DefaultSpecs()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for cut := len(whole) - 40; cut > 100; cut -= 997 {
		_, _, err := Render(t.Context(), whole[:cut], Meta{Format: "png"}, DefaultSpecs())
		if r, ok := event.AsRefusal(err); !ok || r.Reason != event.ReasonTruncated {
			t.Errorf("cut to %d of %d bytes: %v", cut, len(whole), err)
		}
	}
}

func TestRenderEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithDeadline(t.Context(), time.Unix(0, 0))
	defer cancel()
	if _, _, err := Render(ctx, jpegOf(t, scene(400, 300)), Meta{Format: "jpeg"}, DefaultSpecs()); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("rendered with %v after the end of its context", err)
	}
}

func TestRenderIsDeterministic(t *testing.T) {
	src := jpegOf(t, scene(700, 500))
	a, ra, err := Render(t.Context(), src, Meta{Format: "jpeg", Orientation: 6}, DefaultSpecs())
	if err != nil {
		t.Fatal(err)
	}
	b, rb, err := Render(t.Context(), src, Meta{Format: "jpeg", Orientation: 6}, DefaultSpecs())
	if err != nil {
		t.Fatal(err)
	}
	for i := range a {
		if !bytes.Equal(a[i].Data, b[i].Data) || ra != rb {
			t.Errorf("rendition %s differs from run to run", a[i].Name)
		}
	}
}

func FuzzRender(f *testing.F) {
	f.Add(jpegOf(f, scene(20, 10)), uint8(6))
	f.Add(pngOf(f, scene(10, 20)), uint8(1))
	f.Add(tinyWebP, uint8(0))
	f.Add(whiteWebP, uint8(0))
	f.Add(animatedWebP, uint8(5))
	f.Add(bmpOf(2, 2, 8, 1, make([]byte, 12), []byte{2, 0, 0, 0, 1, 1, 1, 2, 0, 1}), uint8(3))
	f.Add(tiffOf(binary.LittleEndian, map[uint16][]uint32{256: {16}, 257: {16}, 258: {8}, 259: {7}, 262: {1}}, jpegOf(f, scene(16, 16))), uint8(1))
	f.Fuzz(func(t *testing.T, src []byte, orientation uint8) {
		for _, format := range []string{"jpeg", "png", "gif", "webp", "tiff", "bmp"} {
			meta := Meta{Format: format, Orientation: int(orientation)}
			if Need(src, meta, DefaultSpecs()) > 64<<20 {
				t.Skip("extract refuses more than a worker can hold; here it is the fuzzer")
			}
			_, _, err := Render(t.Context(), src, meta, DefaultSpecs())
			if _, ok := event.AsRefusal(err); err != nil && !ok {
				t.Fatalf("%s: %v is neither a rendition nor a refusal", format, err)
			}
		}
	})
}

func BenchmarkRender12MP(b *testing.B) {
	src := jpegOf(b, scene(4000, 3000))
	for b.Loop() {
		if _, _, err := Render(b.Context(), src, Meta{Format: "jpeg"}, DefaultSpecs()); err != nil {
			b.Fatal(err)
		}
	}
}
