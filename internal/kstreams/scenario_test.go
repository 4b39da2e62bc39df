package kstreams

import (
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/tintype/tintype/transform/window"
)

// A scenario is events and the windows over them, by a seed.
type scenario struct {
	seed   uint64
	text   string
	spec   window.Spec
	events []Event
}

var kinds = []window.Kind{window.Tumbling, window.Hopping, window.Session}

// newScenario makes one. Times and lengths are multiples of a grid, and the lengths
// are a few steps of it, so that times meet the ends of windows exactly, again and
// again. The grid is 10 ms or 1 ms: on one of 1 ms, whatever is off by 1 ms shows.
func newScenario(seed uint64, kind window.Kind, records int) scenario {
	var stream uint64
	for _, c := range kind {
		stream = stream<<8 + uint64(c)
	}
	rng := rand.New(rand.NewPCG(seed, stream))
	grid := []int64{10, 1}[seed%2]
	steps := func(least, most int64) int64 { return grid * (least + rng.Int64N(most-least+1)) }

	s := scenario{seed: seed}
	grace := steps(0, 6)
	reach := grace // How long after its time a record may still count.
	switch kind {
	case window.Tumbling:
		size := steps(1, 10)
		s.text = fmt.Sprintf("tumbling:%d:%d", size, grace)
		reach += size
	case window.Hopping:
		advance := steps(1, 4)
		size := advance + steps(0, 3*advance/grid) // A record is in up to 5 windows.
		s.text = fmt.Sprintf("hopping:%d:%d:%d", size, advance, grace)
		reach += size
	case window.Session:
		gap := steps(1, 6)
		s.text = fmt.Sprintf("session:%d:%d", gap, grace)
		reach += 2 * gap
	}
	spec, err := window.ParseSpec(s.text)
	if err != nil {
		panic(err) // The scenario is made wrongly.
	}
	s.spec = spec

	// A third of the seeds starts at 0, before which there is no window.
	var begin int64
	if seed%3 != 0 {
		begin = 1_700_000_000_000 + steps(0, 1000)
	}
	now := make([]int64, 3+rng.IntN(2))
	for p := range now {
		now[p] = begin + steps(0, 20)
	}
	keys := 50 + rng.IntN(151)
	pace := math.Pow(10, -2+1.6*rng.Float64()) // From 1 record in 100 that moves time to 2 in 5.
	for i := range records {
		p := rng.IntN(len(now))
		switch r := rng.Float64(); {
		case r < 0.001:
			now[p] += 3*reach + steps(0, 20) // What is open ends.
		case r < pace:
			now[p] += steps(1, 2)
		}
		t := now[p]
		if rng.Float64() < 0.2 {
			t = max(0, t-steps(1, 2*reach/grid+2))
		}
		// A few keys have most of the records: sessions grow, merge and end.
		u := rng.Float64()
		key := int(float64(keys) * u * u * u)
		s.events = append(s.events, Event{
			Partition: int32(p), TimeMS: t, Key: fmt.Sprintf("k%d", key),
			Value: (rng.Int64N(2001)-1000)*int64(records) + int64(i),
		})
	}
	return s
}

func (s scenario) String() string { return fmt.Sprintf("seed %d, %s", s.seed, s.text) }
