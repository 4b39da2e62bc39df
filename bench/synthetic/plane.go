package synthetic

import "math"

// plane is one plane of a picture.
type plane struct {
	pixels        []byte
	stride        int
	width, height int
}

func (p plane) row(y int) []byte { return p.pixels[y*p.stride:][:p.width] }

// fill paints the sum of layers, and grain where there is some.
func (p plane) fill(layers []lattice, grain []int32) {
	sums := make([]int32, p.width)
	for y := range p.height {
		clear(sums)
		for _, l := range layers {
			l.addRow(sums, y, p.height)
		}
		row := p.row(y)
		if grain == nil {
			for x, sum := range sums {
				row[x] = clamp(sum >> 16)
			}
			continue
		}
		shift := int(mix(uint64(y)) % grainLength)
		for x, sum := range sums {
			row[x] = clamp(sum>>16 + grain[(x+shift)%grainLength])
		}
	}
}

// cover paints a convex outline over what is there.
func (p plane) cover(outline []point, value, opacity int32) {
	top, bottom := math.Inf(1), math.Inf(-1)
	for _, corner := range outline {
		top, bottom = min(top, corner.y), max(bottom, corner.y)
	}
	height := float64(p.height)
	for y := max(0, int(top*height)); y < min(p.height, int(bottom*height)+1); y++ {
		begin, end := span(outline, (float64(y)+0.5)/height)
		row := p.row(y)
		from := min(max(0, int(begin*float64(p.width)+0.5)), p.width)
		to := min(max(from, int(end*float64(p.width)+0.5)), p.width)
		for x, under := range row[from:to] {
			row[from+x] = byte(int32(under) + (value-int32(under))*opacity>>8)
		}
	}
}

// span is where a horizontal line crosses a convex outline; it is empty, begin
// after end, where it does not.
func span(outline []point, y float64) (begin, end float64) {
	begin, end = 2, -1
	previous := outline[len(outline)-1]
	for _, corner := range outline {
		if (previous.y <= y) != (corner.y <= y) {
			x := previous.x + (y-previous.y)/(corner.y-previous.y)*(corner.x-previous.x)
			begin, end = min(begin, x), max(end, x)
		}
		previous = corner
	}
	return begin, end
}

func clamp(v int32) byte { return byte(min(max(v, 0), 255)) }
