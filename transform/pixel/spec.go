package pixel

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Mode is how a photo is brought to a size.
type Mode string

// The modes.
const (
	// Fit keeps the aspect ratio within the size and never enlarges.
	Fit Mode = "fit"
	// Fill covers the size exactly, cropped around the centre.
	Fill Mode = "fill"
)

// A Spec is one rendition to make.
type Spec struct {
	Name          string
	Width, Height int // pixels
	Mode          Mode
	Quality       int // JPEG, 1 to 100
}

const (
	defaultQuality = 85
	// maxSide bounds a rendition's sides, in pixels.
	maxSide = 8192
	// policy is the version of all that decides about pixels beside the specs:
	// the filter, the encoder and what becomes of colours. Another policy is
	// another rendition.
	policy = "lanczos;stdlib-jpeg;white-matte;v2"
)

// DefaultSpecs are 1024 and 512 pixels to fit, and a square of 128.
func DefaultSpecs() []Spec {
	return []Spec{
		{Name: "1024", Width: 1024, Height: 1024, Mode: Fit, Quality: defaultQuality},
		{Name: "512", Width: 512, Height: 512, Mode: Fit, Quality: defaultQuality},
		{Name: "128", Width: 128, Height: 128, Mode: Fill, Quality: defaultQuality},
	}
}

// specForm is [NAME=]WIDTH[xHEIGHT]:MODE[:QUALITY].
var specForm = regexp.MustCompile(`^(?:([a-z0-9_]{1,32})=)?([0-9]{1,5})(?:x([0-9]{1,5}))?:(fit|fill)(?::([0-9]{1,3}))?$`)

// ParseSpecs reads a list such as "1024:fit,thumb=128x128:fill:80". A name that
// is not given is the width, or the width and height where they differ.
func ParseSpecs(s string) ([]Spec, error) {
	var specs []Spec
	for item := range strings.SplitSeq(s, ",") {
		spec, err := parseSpec(strings.TrimSpace(item))
		if err != nil {
			return nil, err
		}
		if slices.ContainsFunc(specs, func(other Spec) bool { return other.Name == spec.Name }) {
			return nil, fmt.Errorf("pixel: parse sizes: two renditions are named %q; name one of them: NAME=%s", spec.Name, item)
		}
		specs = append(specs, spec)
	}
	return specs, nil
}

func parseSpec(item string) (Spec, error) {
	match := specForm.FindStringSubmatch(item)
	if match == nil {
		return Spec{}, fmt.Errorf("pixel: parse sizes: %q: want [NAME=]SIZE:fit, WIDTHxHEIGHT:fill, and perhaps :QUALITY", item)
	}
	number := func(text string) int {
		n, err := strconv.Atoi(text)
		if err != nil {
			return 0 // The group is empty, since the form has checked it.
		}
		return n
	}
	spec := Spec{Name: match[1], Width: number(match[2]), Mode: Mode(match[4]), Quality: cmp.Or(number(match[5]), defaultQuality)}
	spec.Height = cmp.Or(number(match[3]), spec.Width)
	if spec.Width < 1 || spec.Width > maxSide || spec.Height > maxSide || spec.Quality > 100 {
		return Spec{}, fmt.Errorf("pixel: parse sizes: %q: sides are 1 to %d pixels, the quality 1 to 100", item, maxSide)
	}
	if spec.Name == "" {
		spec.Name = strconv.Itoa(spec.Width)
		if spec.Height != spec.Width {
			spec.Name += "x" + strconv.Itoa(spec.Height)
		}
	}
	return spec, nil
}

// SpecID is a short hash of all that decides about the renditions' pixels. It
// does not depend on the order of specs.
func SpecID(specs []Spec) string {
	lines := make([]string, 0, len(specs))
	for _, s := range specs {
		lines = append(lines, fmt.Sprintf("%s=%dx%d:%s:%d", s.Name, s.Width, s.Height, s.Mode, s.Quality))
	}
	slices.Sort(lines)
	sum := sha256.Sum256([]byte(policy + "\n" + strings.Join(lines, "\n")))
	return hex.EncodeToString(sum[:4])
}

// size is what a spec makes of an upright photo of w × h pixels, by the rules
// of imaging's Fit and Fill.
func (s Spec) size(w, h int) (int, int) {
	if s.Mode == Fill {
		return s.Width, s.Height
	}
	if w <= s.Width && h <= s.Height {
		return w, h
	}
	aspect := float64(w) / float64(h)
	if aspect > float64(s.Width)/float64(s.Height) {
		return s.Width, max(int(float64(s.Width)/aspect), 1)
	}
	return max(int(float64(s.Height)*aspect), 1), s.Height
}

// scale is how much of an upright photo of w × h pixels the spec keeps, at most
// 1.
func (s Spec) scale(w, h int) float64 {
	x, y := float64(s.Width)/float64(w), float64(s.Height)/float64(h)
	if s.Mode == Fill {
		return min(max(x, y), 1)
	}
	return min(x, y, 1)
}

// largestFirst orders the indexes of specs so that each rendition can be made
// of the one before; fit goes before fill, which crops.
func largestFirst(specs []Spec, w, h int) []int {
	order := make([]int, len(specs))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int {
		if c := cmp.Compare(specs[b].scale(w, h), specs[a].scale(w, h)); c != 0 {
			return c
		}
		return cmp.Compare(specs[a].Mode, specs[b].Mode) * -1
	})
	return order
}
