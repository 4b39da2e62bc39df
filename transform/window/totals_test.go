package window

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// valueOf tells something of every measure.
func valueOf(n int64) Value {
	return Value{Told: AllMeasures(), BytesIn: n, BytesOut: n * n, Pixels: 1, Uploader: fmt.Sprint("user", n), LatencyMS: float64(n)}
}

// drawValue draws a value, now and then of the greatest or least numbers.
func drawValue(t *rapid.T) Value {
	return Value{
		Told:     Measures(rapid.IntRange(0, int(AllMeasures())).Draw(t, "told")),
		BytesIn:  rapid.Int64Range(math.MinInt64/1000, math.MaxInt64/1000).Draw(t, "bytes in"),
		BytesOut: rapid.Int64Range(0, 1000).Draw(t, "bytes out"), Pixels: rapid.Int64Range(0, 1000).Draw(t, "pixels"),
		Uploader:  fmt.Sprint(rapid.IntRange(0, 300).Draw(t, "uploader")),
		LatencyMS: rapid.SampledFrom([]float64{0, -1, 0.5, 12, 1e4, 1e12, math.Inf(1), math.NaN()}).Draw(t, "latency"),
	}
}

// totalsOf adds values in their order.
func totalsOf(values []Value) *Totals {
	t := new(Totals)
	for i := range values {
		t.add(&values[i], AllMeasures())
	}
	return t
}

// written is all of a window's totals: what is the same in bytes is the same.
func written(t *Totals) string { return string((&open{Totals: *t}).append(nil)) }

// read is totals that went through state.
func read(t *Totals) *Totals {
	o := new(open)
	if err := o.read([]byte(written(t))); err != nil {
		panic(err)
	}
	return &o.Totals
}

// drawParts draws values in three parts, with few or many uploaders: the exact count
// of distinct ones ends at 128.
func drawParts(t *rapid.T) (parts [3][]Value, all []Value) {
	for i := range parts {
		list := rapid.SliceOfN(rapid.Custom(drawValue), 0, 10).Draw(t, "values")
		first := rapid.IntRange(0, 100).Draw(t, "first uploader")
		for n := range rapid.SampledFrom([]int{0, 0, 50, 128, 150}).Draw(t, "uploaders") {
			list = append(list, Value{Told: Uploaders | LatencyMS, Uploader: fmt.Sprint(first + n), LatencyMS: float64(n * n)})
		}
		parts[i], all = list, append(all, list...)
	}
	return parts, all
}

// Merging is associative and commutative, and comes to what adding in any order comes
// to, byte by byte: state does not tell in which order events came.
func TestTotalsDoNotDependOnOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		parts, all := drawParts(t)
		of := func(i int) *Totals {
			if rapid.Bool().Draw(t, "from state") {
				return read(totalsOf(parts[i]))
			}
			return totalsOf(parts[i])
		}
		merged := func(a, b *Totals) *Totals {
			a.merge(b)
			return a
		}
		want := totalsOf(all)
		for how, got := range map[string]*Totals{
			"(a b) c":     merged(merged(of(0), of(1)), of(2)),
			"a (b c)":     merged(of(0), merged(of(1), of(2))),
			"(c a) b":     merged(merged(of(2), of(0)), of(1)),
			"0 a b c":     merged(merged(merged(new(Totals), of(0)), of(1)), of(2)),
			"another way": totalsOf(rapid.Permutation(all).Draw(t, "order")),
			"from state":  read(want),
		} {
			if got.Count != want.Count || got.Uploaders.Estimate() != want.Uploaders.Estimate() {
				t.Fatalf("%s: count %d, uploaders %d; want %d, %d", how, got.Count, got.Uploaders.Estimate(), want.Count, want.Uploaders.Estimate())
			}
			for _, q := range []float64{0, 0.5, 0.99, 1} {
				g, gok := got.LatencyMS.At(q)
				w, wok := want.LatencyMS.At(q)
				if g != w || gok != wok {
					t.Fatalf("%s: quantile %v is %v, want %v", how, q, g, w)
				}
			}
			if written(got) != written(want) {
				t.Fatalf("%s is written as %x, want %x", how, written(got), written(want))
			}
		}
	})
}

// Merging leaves what is merged as it was.
func TestMergingSharesNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		parts, _ := drawParts(t)
		a, b := totalsOf(parts[0]), totalsOf(parts[1])
		before := written(b)
		a.merge(b)
		for i := range parts[2] {
			a.add(&parts[2][i], AllMeasures())
		}
		if written(b) != before {
			t.Fatalf("%x has become %x", before, written(b))
		}
	})
}

// Each measure is what it is called.
func TestTotals(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		wanted := Measures(rapid.IntRange(0, int(AllMeasures())).Draw(t, "wanted"))
		values := rapid.SliceOfN(rapid.Custom(drawValue), 0, 20).Draw(t, "values")
		got, want := new(Totals), Totals{Count: int64(len(values))}
		var in []int64
		uploaders := map[string]bool{}
		for i, v := range values {
			got.add(&values[i], wanted)
			told := v.Told & wanted
			want.Told |= told
			if told&BytesIn != 0 {
				want.BytesIn += v.BytesIn
			}
			if told&BytesOut != 0 {
				want.BytesOut += v.BytesOut
			}
			if told&Pixels != 0 {
				want.Pixels += v.Pixels
			}
			if told&BytesInMin != 0 {
				in = append(in, v.BytesIn)
			}
			if told&Uploaders != 0 {
				uploaders[v.Uploader] = true
			}
		}
		if len(in) > 0 {
			want.BytesInMin = slices.Min(in)
		}
		if got.Count != want.Count || got.Told != want.Told || got.BytesIn != want.BytesIn || got.BytesOut != want.BytesOut ||
			got.Pixels != want.Pixels || got.BytesInMin != want.BytesInMin || got.Uploaders.Estimate() != int64(len(uploaders)) {
			t.Fatalf("got %+v, want %+v, %d uploaders", got, want, len(uploaders))
		}
	})
}

// Distinct values are counted exactly up to 128, in whatever order and however often
// they come.
func TestDistinctIsExactUpTo128(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	var d Distinct
	for n := 1; n <= exactDistinct; n++ {
		d.Add(fmt.Sprint("user", n))
		d.Add(fmt.Sprint("user", 1+random.IntN(n)))
		if d.sketch != nil || d.Estimate() != int64(n) {
			t.Fatalf("%d values are %d", n, d.Estimate())
		}
	}
	d.Add("user1")
	if d.sketch != nil {
		t.Error("a value that is known makes a sketch of it")
	}
	d.Add("one more")
	if d.sketch == nil {
		t.Error("129 values are no sketch")
	}
}

// Beyond that the standard error is 1.6 %: within four times that, one in 16,000
// would fall outside; the seed is fixed.
func TestDistinctErrsBy6PercentAtMost(t *testing.T) {
	for _, n := range []int{129, 200, 500, 1000, 5000, 20_000, 200_000} {
		for seed := range 5 {
			var d Distinct
			for i := range n {
				d.Add(fmt.Sprintf("%d-%d", seed, i))
			}
			if err := math.Abs(float64(d.Estimate())/float64(n) - 1); err > 0.065 {
				t.Errorf("%d values are estimated as %d: %.1f %%", n, d.Estimate(), 100*err)
			}
		}
	}
}

// Quantiles are within 1 % of the value that stands at that rank.
func TestQuantilesAreWithin1Percent(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	for name, next := range map[string]func() float64{
		"uniform":     func() float64 { return 1000 * random.Float64() },
		"exponential": func() float64 { return 50 * random.ExpFloat64() },
		"log-normal":  func() float64 { return math.Exp(3 + 2*random.NormFloat64()) },
		"constant":    func() float64 { return 42 },
		"two":         func() float64 { return []float64{1, 1e6}[random.IntN(2)] },
	} {
		var q Quantiles
		var values []float64
		for range 10_000 {
			v := max(next(), quantileLeast)
			values = append(values, v)
			q.Add(v)
		}
		slices.Sort(values)
		for _, at := range []float64{0, 0.01, 0.25, 0.5, 0.9, 0.95, 0.99, 0.999, 1} {
			got, ok := q.At(at)
			want := values[int(at*float64(len(values)-1))]
			if !ok || math.Abs(got-want) > quantileAccuracy*want*(1+1e-9) {
				t.Errorf("%s: quantile %v is %v, want %v", name, at, got, want)
			}
		}
	}
}

// Values beyond the range count as its ends, no numbers not at all.
func TestQuantilesOfOddValues(t *testing.T) {
	var q Quantiles
	if _, ok := q.At(0.5); ok {
		t.Error("nothing has a median")
	}
	q.Add(math.NaN())
	if _, ok := q.At(0.5); ok {
		t.Error("no number has a median")
	}
	for _, v := range []float64{math.Inf(-1), -1, 0, 1e300, math.Inf(1)} {
		q.Add(v)
	}
	for at, want := range map[float64]float64{0: quantileLeast, 0.5: quantileLeast, 1: quantileMost} {
		if got, ok := q.At(at); !ok || math.Abs(got/want-1) > quantileAccuracy {
			t.Errorf("quantile %v is %v, want %v", at, got, want)
		}
	}
	for _, at := range []float64{-0.1, 1.1} {
		if v, ok := q.At(at); ok {
			t.Errorf("there is a quantile %v: %v", at, v)
		}
	}
}
