// Package synthetic generates photos: picture-like pixels in JPEG or PNG, with
// EXIF as cameras write it, from a seed. What a photo's EXIF says stands
// beside its bytes, so that a test can hold an extractor to it.
package synthetic

import (
	"fmt"
	"math/rand/v2"
)

// Options say what to generate.
type Options struct {
	// Seed decides everything: the same seed gives the same photos.
	Seed uint64
	// Small makes photos of at most 320×240 pixels and a few kilobytes, for
	// loads of thousands a second. Without it they have up to 4000×3000.
	Small bool
	// DuplicateShare is the share of photos whose bytes are an earlier photo's.
	// 0 is the default, 0.1; a negative share means none.
	DuplicateShare float64
}

// A Generator makes photos. It holds no state but its options, so it is safe
// for concurrent use and photos can be asked for in any order.
type Generator struct {
	options Options
}

// New makes a generator.
func New(o Options) *Generator {
	if o.DuplicateShare == 0 {
		o.DuplicateShare = 0.1
	}
	return &Generator{options: o}
}

// A Photo is one generated upload.
type Photo struct {
	// Name is the file's name, another one for every index.
	Name string
	// Data is the file: JPEG or PNG.
	Data []byte
	// Format is jpeg or png.
	Format string
	// DuplicateOf is the index of the original that has the same bytes, -1 where
	// this photo is an original. An original is never itself a duplicate.
	DuplicateOf int
	// Uploader is who sends it; the sender of a duplicate may be another.
	Uploader string
	// Width and Height are pixels after orientation.
	Width, Height int
	// Orientation is the EXIF orientation, 1 to 8; 1 without EXIF.
	Orientation int
	// Exif is what the EXIF says; nil for a photo without EXIF.
	Exif *Exif
}

// Separate streams of random numbers for separate questions, so that the
// answer to one does not move the others.
const (
	streamDuplicate = 1 + iota
	streamSender
	streamPhoto
	streamScene
)

// random is the stream of random numbers of one photo and one question.
func (g *Generator) random(stream, i int) *rand.Rand {
	return rand.New(rand.NewPCG(g.options.Seed, mix(uint64(i)<<3|uint64(stream))))
}

// mix spreads the bits of a number: the finalizer of splitmix64 (Steele, Lea,
// Flood 2014), since PCG's streams of neighbouring numbers are alike.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// originalOf is the index of the original of photo i, i itself mostly.
func (g *Generator) originalOf(i int) int {
	for i > 0 {
		r := g.random(streamDuplicate, i)
		if r.Float64() >= g.options.DuplicateShare {
			break
		}
		i = r.IntN(i)
	}
	return i
}

// Sender tells the name and the uploader of photo i, without painting it.
func (g *Generator) Sender(i int) (name, uploader string) {
	p, _ := g.draw(g.originalOf(i))
	return g.sender(i, p.Format)
}

func (g *Generator) sender(i int, format string) (name, uploader string) {
	r := g.random(streamSender, i)
	uploader = pick(r, uploaders)
	return fmt.Sprintf("%s%05d.%s", pick(r, prefixes), i, pick(r, extensions[format])), uploader
}

// Photo makes photo i, counted from 0. It panics on a negative index.
func (g *Generator) Photo(i int) Photo {
	if i < 0 {
		panic(fmt.Sprintf("synthetic: photo %d: an index is never negative", i))
	}
	original := g.originalOf(i)
	p, quality := g.draw(original)
	scene := newScene(g.random(streamScene, original), g.options.Small)
	p.Data = encode(scene.paint(p.Width, p.Height, p.Orientation), p.Format, quality, p.Exif)
	p.DuplicateOf = -1
	if original != i {
		p.DuplicateOf = original
	}
	p.Name, p.Uploader = g.sender(i, p.Format)
	return p
}

// draw decides all of an original but its pixels, its name and its sender.
func (g *Generator) draw(i int) (p Photo, quality int) {
	r := g.random(streamPhoto, i)
	size := pickWeighted(r, photoSizes)
	if g.options.Small {
		size = pickWeighted(r, smallSizes)
	}
	// A screenshot is a PNG, and a large PNG would cost more than all the rest.
	png := r.Float64() < 0.04 && size.width <= 1024
	width, height := size.width, size.height
	if r.Float64() < 0.3 {
		width, height = height, width
	}
	p = Photo{Format: "jpeg", Width: width, Height: height, Orientation: 1}
	if png {
		p.Format = "png"
	}
	if bare := r.Float64() < 0.06; !bare {
		p.Exif = randomExif(r, !png)
		p.Orientation = p.Exif.Orientation
	}
	return p, 75 + r.IntN(15)
}

// size is a photo's size with its weight among all sizes.
type size struct{ width, height, weight int }

func (s size) share() int { return s.weight }

// photoSizes average one megapixel: two hundred photos take seconds.
var photoSizes = []size{
	{320, 240, 18},
	{640, 480, 24},
	{800, 600, 8},
	{1024, 768, 20},
	{1200, 800, 8},
	{1600, 1200, 11},
	{2048, 1536, 5},
	{3264, 2448, 2},
	{4000, 3000, 1},
}

var smallSizes = []size{{96, 72, 40}, {128, 96, 40}, {160, 120, 15}, {240, 180, 4}, {320, 240, 1}}

var (
	uploaders  = []string{"amelie", "bashir", "chidi", "dora", "emre", "fatou", "goran", "hana", "ines", "jonas", "kavya", "liam"}
	prefixes   = []string{"IMG_", "DSC", "P", "photo-", "PXL_"}
	extensions = map[string][]string{"jpeg": {"jpg", "jpg", "JPG", "jpeg"}, "png": {"png"}}
)

// pick chooses one of several values, all alike.
func pick[T any](r *rand.Rand, from []T) T { return from[r.IntN(len(from))] }

// pickWeighted chooses one of several values by their shares.
func pickWeighted[T interface{ share() int }](r *rand.Rand, from []T) T {
	total := 0
	for _, v := range from {
		total += v.share()
	}
	n := r.IntN(total)
	for _, v := range from {
		if n -= v.share(); n < 0 {
			return v
		}
	}
	panic("synthetic: the shares changed while they were added")
}
