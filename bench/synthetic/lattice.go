package synthetic

import "math/rand/v2"

// lattice is noise of one scale: values at the corners of cells×cells cells,
// between which a plane interpolates. A lattice of one cell is a gradient.
type lattice struct {
	cells int
	// nodes are rows of cells+1 values.
	nodes []int32
}

func newLattice(cells int) lattice {
	return lattice{cells, make([]int32, (cells+1)*(cells+1))}
}

func (l lattice) at(column, row int) *int32 { return &l.nodes[row*(l.cells+1)+column] }

// noise is a lattice of values between -amplitude and amplitude.
func noise(r *rand.Rand, cells, amplitude int) lattice {
	l := newLattice(cells)
	for i := range l.nodes {
		l.nodes[i] = int32(r.IntN(2*amplitude+1) - amplitude)
	}
	return l
}

// sky is a gradient from top to bottom with corners that differ by at most
// spread.
func sky(r *rand.Rand, top, bottom, spread int) lattice {
	l := noise(r, 1, spread)
	for column := range 2 {
		*l.at(column, 0) += int32(top)
		*l.at(column, 1) += int32(bottom)
	}
	return l
}

// stored is the lattice of the picture as it is stored with an orientation.
func (l lattice) stored(orientation int) lattice {
	if orientation == 1 {
		return l
	}
	out := newLattice(l.cells)
	n := float64(l.cells)
	for row := range l.cells + 1 {
		for column := range l.cells + 1 {
			p := toStored(point{float64(column) / n, float64(row) / n}, orientation)
			*out.at(int(p.x*n+0.5), int(p.y*n+0.5)) = *l.at(column, row)
		}
	}
	return out
}

func storedAll(layers []lattice, orientation int) []lattice {
	out := make([]lattice, len(layers))
	for i, l := range layers {
		out[i] = l.stored(orientation)
	}
	return out
}

// addRow adds the lattice's row at y of height to a row of sums, which hold
// values in 1/65536.
func (l lattice) addRow(sums []int32, y, height int) {
	const one = 1 << 16
	at := y * l.cells
	row, fraction := at/height, int32(at%height*256/height)
	value := func(column int) int32 {
		above, below := *l.at(column, row), *l.at(column, row+1)
		return above*one + (below-above)*fraction*(one/256)
	}
	width := len(sums)
	left := value(0)
	for column := range l.cells {
		right := value(column + 1)
		begin, end := column*width/l.cells, (column+1)*width/l.cells
		if end > begin {
			v, step := left, (right-left)/int32(end-begin)
			for x := begin; x < end; x++ {
				sums[x] += v
				v += step
			}
		}
		left = right
	}
}
