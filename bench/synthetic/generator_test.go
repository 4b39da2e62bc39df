package synthetic

import (
	"bytes"
	"crypto/sha256"
	"image"
	"math/bits"
	"reflect"
	"sync"
	"testing"

	"github.com/corona10/goimagehash"
	"github.com/disintegration/imaging"
)

func TestPhotoDependsOnSeedAndIndexAlone(t *testing.T) {
	const n = 30
	inOrder := make([]Photo, n)
	for i := range n {
		inOrder[i] = New(Options{Seed: 1, Small: true}).Photo(i)
	}
	g := New(Options{Seed: 1, Small: true})
	var wg sync.WaitGroup
	for i := n - 1; i >= 0; i-- {
		wg.Go(func() {
			if got := g.Photo(i); !reflect.DeepEqual(got, inOrder[i]) {
				t.Errorf("photo %d differs when asked for concurrently and in another order", i)
			}
		})
	}
	wg.Wait()
	other := New(Options{Seed: 2, Small: true})
	for i := range n {
		if bytes.Equal(other.Photo(i).Data, inOrder[i].Data) {
			t.Errorf("photo %d is the same for two seeds", i)
		}
	}
}

func TestDuplicatesAreEarlierOriginals(t *testing.T) {
	const n = 200
	g := New(Options{Seed: 3, Small: true})
	indexOf := map[[32]byte]int{}
	names := map[string]bool{}
	duplicates := 0
	for i := range n {
		p := g.Photo(i)
		if names[p.Name] {
			t.Errorf("the name %s comes twice", p.Name)
		}
		names[p.Name] = true
		if name, uploader := g.Sender(i); name != p.Name || uploader != p.Uploader {
			t.Errorf("photo %d is sent as %s by %s, Sender says %s by %s", i, p.Name, p.Uploader, name, uploader)
		}
		first, seen := indexOf[sha256.Sum256(p.Data)]
		switch {
		case seen && p.DuplicateOf != first:
			t.Errorf("photo %d has the bytes of %d and claims DuplicateOf %d", i, first, p.DuplicateOf)
		case !seen && p.DuplicateOf != -1:
			t.Errorf("photo %d claims DuplicateOf %d and has bytes of its own", i, p.DuplicateOf)
		case seen:
			duplicates++
		default:
			indexOf[sha256.Sum256(p.Data)] = i
		}
	}
	if duplicates < n/20 || duplicates > n/5 {
		t.Errorf("%d of %d are duplicates, want about a tenth", duplicates, n)
	}
	none := New(Options{Seed: 3, Small: true, DuplicateShare: -1})
	for i := range 200 {
		if d := none.originalOf(i); d != i {
			t.Errorf("photo %d duplicates %d where none should", i, d)
		}
	}
}

func TestOriginalsLookDifferent(t *testing.T) {
	const n, near = 100, 8
	g := New(Options{Seed: 1, Small: true, DuplicateShare: -1})
	hashes := make([]uint64, n)
	for i := range n {
		hash, err := goimagehash.PerceptionHash(seen(t, g.Photo(i)))
		if err != nil {
			t.Fatal(err)
		}
		hashes[i] = hash.GetHash()
		for j := range i {
			if d := bits.OnesCount64(hashes[i] ^ hashes[j]); d <= near {
				t.Errorf("photos %d and %d differ in %d bits of their perceptual hash", j, i, d)
			}
		}
	}
}

// seen is the picture as a viewer shows it, turned by a decoder that is not
// this package's.
func seen(t *testing.T, p Photo) image.Image {
	t.Helper()
	m, err := imaging.Decode(bytes.NewReader(p.Data), imaging.AutoOrientation(true))
	if err != nil {
		t.Fatalf("%s: %v", p.Name, err)
	}
	return m
}

// TestOrientationTurnsTheSceneUpright paints one scene under each orientation:
// a viewer must see the same picture every time.
func TestOrientationTurnsTheSceneUpright(t *testing.T) {
	scene := newScene(New(Options{Seed: 5}).random(streamScene, 0), true)
	scene.grain = make([]int32, grainLength)
	var want image.Image
	for orientation := 1; orientation <= 8; orientation++ {
		data := encode(scene.paint(96, 64, orientation), "jpeg", 95, &Exif{Orientation: orientation})
		got := seen(t, Photo{Name: "scene", Data: data})
		if size := got.Bounds().Size(); size != image.Pt(96, 64) {
			t.Fatalf("orientation %d: %v pixels, want 96×64", orientation, size)
		}
		if want == nil {
			want = got
		}
		if d := difference(want, got); d > 4 {
			t.Errorf("orientation %d: pixels differ by %.1f on average from orientation 1", orientation, d)
		}
	}
}

// difference is the mean difference of two pictures' luma, 0 to 255.
func difference(a, b image.Image) float64 {
	x, y := imaging.Grayscale(a), imaging.Grayscale(b)
	sum := 0
	for i := 0; i < len(x.Pix); i += 4 {
		d := int(x.Pix[i]) - int(y.Pix[i])
		sum += max(d, -d)
	}
	return float64(sum) * 4 / float64(len(x.Pix))
}

func TestSizesAndFormats(t *testing.T) {
	formats := map[string]int{}
	total := 0
	g := New(Options{Seed: 1, Small: true})
	const n = 100
	for i := range n {
		p := g.Photo(i)
		total += len(p.Data)
		config, format, err := image.DecodeConfig(bytes.NewReader(p.Data))
		if err != nil || format != p.Format {
			t.Fatalf("%s is %s, want %s (%v)", p.Name, format, p.Format, err)
		}
		formats[format]++
		if p.Orientation >= 5 {
			config.Width, config.Height = config.Height, config.Width
		}
		if config.Width != p.Width || config.Height != p.Height || max(p.Width, p.Height) > 320 {
			t.Errorf("%s: %d×%d pixels, claims %d×%d", p.Name, config.Width, config.Height, p.Width, p.Height)
		}
	}
	if formats["png"] == 0 || formats["jpeg"] < n*9/10 {
		t.Errorf("formats are %v, want JPEG and a few PNG", formats)
	}
	if mean := total / n; mean > 8<<10 {
		t.Errorf("small photos have %d bytes on average, want a few kilobytes", mean)
	}
}

// TestFullSizes looks at what would be drawn, without painting all of it.
func TestFullSizes(t *testing.T) {
	g := New(Options{Seed: 1, DuplicateShare: -1})
	sizes := map[int]int{}
	for i := range 3000 {
		s := pickWeighted(g.random(streamPhoto, i), photoSizes)
		sizes[s.width]++
	}
	for _, s := range photoSizes {
		if sizes[s.width] == 0 {
			t.Errorf("no photo is %d×%d", s.width, s.height)
		}
	}
	p := g.Photo(0)
	if m := seen(t, p); m.Bounds().Dx() != p.Width || m.Bounds().Dy() != p.Height {
		t.Errorf("%s is seen as %v, claims %d×%d", p.Name, m.Bounds(), p.Width, p.Height)
	}
}

func BenchmarkSmall(b *testing.B) {
	g := New(Options{Seed: 1, Small: true})
	for i := 0; b.Loop(); i++ {
		b.SetBytes(int64(len(g.Photo(i % 500).Data)))
	}
}

func BenchmarkFull(b *testing.B) {
	g := New(Options{Seed: 1})
	for i := 0; b.Loop(); i++ {
		b.SetBytes(int64(len(g.Photo(i % 500).Data)))
	}
}
