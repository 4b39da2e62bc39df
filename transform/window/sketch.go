package window

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"

	"github.com/DataDog/sketches-go/ddsketch"
	"github.com/DataDog/sketches-go/ddsketch/mapping"
	"github.com/DataDog/sketches-go/ddsketch/store"
	"github.com/axiomhq/hyperloglog"
	"github.com/cespare/xxhash/v2"
)

// exactDistinct is up to how many distinct values are counted exactly.
const exactDistinct = 128

// distinctPrecision gives a HyperLogLog of 2^12 registers, of standard error 1.6 %.
const distinctPrecision = 12

// Distinct counts distinct values: exactly up to 128 by their 64-bit hashes, which
// are kept sorted, then by HyperLogLog. What it holds depends on the set of values
// alone, not on their order.
type Distinct struct {
	// raw is what append wrote, until the values are needed: most windows of a key
	// that is read are written back as they came.
	raw    []byte
	hashes []uint64
	sketch *hyperloglog.Sketch
}

// Add takes in a value.
func (d *Distinct) Add(value string) { d.insert(xxhash.Sum64String(value)) }

func (d *Distinct) insert(hash uint64) {
	d.open()
	if d.sketch != nil {
		d.sketch.InsertHash(hash)
		return
	}
	i, found := slices.BinarySearch(d.hashes, hash)
	if found {
		return
	}
	d.hashes = slices.Insert(d.hashes, i, hash)
	if len(d.hashes) > exactDistinct {
		d.toSketch()
	}
}

// toSketch gives up the hashes for a sketch of them.
func (d *Distinct) toSketch() {
	sketch, err := hyperloglog.NewSketch(distinctPrecision, false)
	if err != nil {
		panic(fmt.Sprintf("window: a constant precision is refused: %v", err))
	}
	for _, hash := range d.hashes {
		sketch.InsertHash(hash)
	}
	d.sketch, d.hashes = sketch, nil
}

func (d *Distinct) merge(o *Distinct) {
	d.open()
	o.open()
	if o.sketch == nil {
		for _, hash := range o.hashes {
			d.insert(hash)
		}
		return
	}
	if d.sketch == nil {
		d.toSketch()
	}
	if err := d.sketch.Merge(o.sketch); err != nil {
		panic(fmt.Sprintf("window: sketches of one precision do not merge: %v", err))
	}
}

// Estimate is the number of distinct values.
func (d *Distinct) Estimate() int64 {
	d.open()
	if d.sketch != nil {
		return int64(d.sketch.Estimate())
	}
	return int64(len(d.hashes))
}

// append writes it: the number of hashes and the hashes, or 0xff and the sketch.
func (d *Distinct) append(to []byte) []byte {
	if d.raw != nil {
		return append(to, d.raw...)
	}
	if d.sketch != nil {
		to = append(to, 0xff)
		to, err := d.sketch.AppendBinary(to)
		if err != nil {
			panic(fmt.Sprintf("window: a sketch in memory cannot be written: %v", err))
		}
		return to
	}
	to = append(to, byte(len(d.hashes)))
	for _, hash := range d.hashes {
		to = binary.BigEndian.AppendUint64(to, hash)
	}
	return to
}

// open reads raw. What the changelog gives back is what was written, or the state
// is not to be believed at all: then it panics.
func (d *Distinct) open() {
	data := d.raw
	if data == nil {
		return
	}
	d.raw = nil
	if data[0] == 0xff {
		d.sketch = new(hyperloglog.Sketch)
		if err := d.sketch.UnmarshalBinary(data[1:]); err != nil {
			panic(fmt.Sprintf("window: read distinct values: %v", err))
		}
		return
	}
	n := int(data[0])
	if len(data) != 1+8*n {
		panic(fmt.Sprintf("window: %d distinct values in %d bytes", n, len(data)))
	}
	d.hashes = make([]uint64, n)
	for i := range d.hashes {
		d.hashes[i] = binary.BigEndian.Uint64(data[1+8*i:])
	}
}

// quantileAccuracy is the relative accuracy of quantiles.
const quantileAccuracy = 0.01

// The range of values whose quantiles are told apart: 1 µs to 11 days, in ms. It
// bounds the number of bins, so that none need be collapsed, which would depend on
// the order.
const quantileLeast, quantileMost = 1e-3, 1e9

var (
	quantileMapping, errQuantileMapping = mapping.NewLogarithmicMapping(quantileAccuracy)
	quantileStore                       = store.DenseStoreConstructor
)

// Quantiles holds a distribution, as a DDSketch (Masson, Rim, Lee: VLDB 2019).
type Quantiles struct {
	raw    []byte // as in Distinct
	sketch *ddsketch.DDSketch
}

// Add takes in a value of 0 or more; what is no number is passed over.
func (q *Quantiles) Add(value float64) {
	if math.IsNaN(value) {
		return
	}
	q.open()
	if err := q.sketch.Add(min(max(value, quantileLeast), quantileMost)); err != nil {
		panic(fmt.Sprintf("window: a value within the range is refused: %v", err))
	}
}

// empty reports whether there is no value.
func (q *Quantiles) empty() bool { return q.raw == nil && q.sketch == nil }

// open reads raw, or begins anew; see Distinct.
func (q *Quantiles) open() {
	if errQuantileMapping != nil {
		panic(fmt.Sprintf("window: a constant accuracy is refused: %v", errQuantileMapping))
	}
	if q.raw != nil {
		sketch, err := ddsketch.DecodeDDSketch(q.raw, quantileStore, quantileMapping)
		if err != nil {
			panic(fmt.Sprintf("window: read quantiles: %v", err))
		}
		q.sketch, q.raw = sketch, nil
	}
	if q.sketch == nil {
		q.sketch = ddsketch.NewDDSketchFromStoreProvider(quantileMapping, quantileStore)
	}
}

func (q *Quantiles) merge(o *Quantiles) {
	if o.empty() {
		return
	}
	q.open()
	o.open()
	if err := q.sketch.MergeWith(o.sketch); err != nil {
		panic(fmt.Sprintf("window: sketches of one mapping do not merge: %v", err))
	}
}

// At returns the value at a quantile of 0 to 1; ok is false where there is none.
func (q *Quantiles) At(quantile float64) (value float64, ok bool) {
	if q.empty() {
		return 0, false
	}
	q.open()
	value, err := q.sketch.GetValueAtQuantile(quantile)
	if err != nil || math.IsNaN(value) {
		return 0, false // All that it was given was no number.
	}
	return value, true
}

func (q *Quantiles) append(to []byte) []byte {
	if q.sketch != nil {
		q.sketch.Encode(&to, true)
		return to
	}
	return append(to, q.raw...)
}
