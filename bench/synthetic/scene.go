package synthetic

import (
	"image"
	"math"
	"math/rand/v2"
)

// scene is a picture without a size: gradients and noise of several scales on
// each plane, shapes before them, and grain. Its coordinates run from 0 to 1
// over the picture as it is seen, with the sky, lighter, at the top.
type scene struct {
	// light, blue and red are the layers of the planes Y, Cb and Cr.
	light, blue, red []lattice
	shapes           []shape
	grain            []int32
}

// shape is a convex outline with a colour that covers what is behind it by
// opacity, in 1/256.
type shape struct {
	outline   []point
	light     int32
	blue, red int32
	opacity   int32
}

type point struct{ x, y float64 }

// grainLength is a power of two longer than what the eye sees repeat.
const grainLength = 1 << 12

func newScene(r *rand.Rand, small bool) *scene {
	s := &scene{
		light: []lattice{sky(r, 205, 75, 30), noise(r, 3, 38), noise(r, 5, 30), noise(r, 9, 22)},
		blue:  []lattice{sky(r, 150, 118, 16), noise(r, 3, 22), noise(r, 7, 10)},
		red:   []lattice{sky(r, 112, 136, 16), noise(r, 3, 22), noise(r, 7, 10)},
	}
	shapes, amplitude := 8+r.IntN(12), 1+r.IntN(5)
	if small {
		shapes, amplitude = 4+r.IntN(3), 1
	} else {
		s.light = append(s.light, noise(r, 31, 14), noise(r, 113, 8))
	}
	for range shapes {
		s.shapes = append(s.shapes, randomShape(r))
	}
	s.grain = make([]int32, grainLength)
	bits := uint64(0)
	for i := range s.grain {
		if i%16 == 0 {
			bits = r.Uint64()
		}
		s.grain[i] = (int32(bits&15) - 7) * int32(amplitude) / 7
		bits >>= 4
	}
	return s
}

func randomShape(r *rand.Rand) shape {
	s := shape{light: int32(20 + r.IntN(216)), blue: int32(70 + r.IntN(116)), red: int32(70 + r.IntN(116)), opacity: int32(120 + r.IntN(130))}
	corners := pick(r, []int{3, 4, 4, 6, 32})
	center := point{r.Float64(), r.Float64()}
	width, height := 0.04+0.22*r.Float64(), 0.04+0.22*r.Float64()
	turn := r.Float64() * 2 * math.Pi
	for i := range corners {
		sin, cos := math.Sincos(turn + float64(i)*2*math.Pi/float64(corners))
		s.outline = append(s.outline, point{center.x + cos*width, center.y + sin*height})
	}
	return s
}

// toStored maps a point of the picture as it is seen to the picture as it is
// stored with an EXIF orientation.
func toStored(p point, orientation int) point {
	switch orientation {
	case 2:
		return point{1 - p.x, p.y}
	case 3:
		return point{1 - p.x, 1 - p.y}
	case 4:
		return point{p.x, 1 - p.y}
	case 5:
		return point{p.y, p.x}
	case 6:
		return point{p.y, 1 - p.x}
	case 7:
		return point{1 - p.y, 1 - p.x}
	case 8:
		return point{1 - p.y, p.x}
	}
	return p
}

// paint makes the pixels as they are stored of a picture that is width×height
// after orientation.
func (s *scene) paint(width, height, orientation int) *image.YCbCr {
	if orientation >= 5 {
		width, height = height, width
	}
	m := image.NewYCbCr(image.Rect(0, 0, width, height), image.YCbCrSubsampleRatio420)
	y := plane{m.Y, m.YStride, width, height}
	cb := plane{m.Cb, m.CStride, (width + 1) / 2, (height + 1) / 2}
	cr := plane{m.Cr, m.CStride, cb.width, cb.height}
	y.fill(storedAll(s.light, orientation), s.grain)
	cb.fill(storedAll(s.blue, orientation), nil)
	cr.fill(storedAll(s.red, orientation), nil)
	outline := make([]point, 0, 32)
	for _, shape := range s.shapes {
		outline = outline[:0]
		for _, p := range shape.outline {
			outline = append(outline, toStored(p, orientation))
		}
		y.cover(outline, shape.light, shape.opacity)
		cb.cover(outline, shape.blue, shape.opacity)
		cr.cover(outline, shape.red, shape.opacity)
	}
	return m
}
