package window

import (
	"cmp"
	"slices"

	"pgregory.net/rapid"
)

// What windows are, said again as simply as can be: all pairs of event and window are
// looked at, nothing is kept open, nothing depends on the order but stream time.

// tickKey is the key of a tick: it has a time, and is no event.
const tickKey = "tick"

// model is what Try should come to.
func model(s Spec, events []TryEvent) TryResult {
	var (
		r        TryResult
		stream   = map[int64]int64{}
		accepted = map[string]map[Bounds][]int64{}
		times    = map[string][]TryEvent{}
	)
	for _, e := range events {
		if at, ok := stream[e.Source]; !ok || e.TimeMS > at {
			stream[e.Source] = e.TimeMS
		}
		st := stream[e.Source]
		if e.Key == tickKey {
			continue
		}
		if s.Kind == Session {
			if e.TimeMS < st-s.GraceMS-s.GapMS {
				r.Late = append(r.Late, TryLate{e, s.Kind, e.TimeMS, e.TimeMS, CauseLate})
			} else {
				times[e.Key] = append(times[e.Key], e)
			}
			continue
		}
		for _, b := range holding(s, e.TimeMS) {
			if b.EndMS <= st-s.GraceMS {
				r.Late = append(r.Late, TryLate{e, s.Kind, b.StartMS, b.EndMS, CauseLate})
				continue
			}
			if accepted[e.Key] == nil {
				accepted[e.Key] = map[Bounds][]int64{}
			}
			accepted[e.Key][b] = append(accepted[e.Key][b], e.Value)
		}
	}
	for key, list := range times {
		accepted[key] = islands(s.GapMS, list)
	}
	r.WatermarkMS = Unknown
	for _, at := range stream {
		if r.WatermarkMS == Unknown || at < r.WatermarkMS {
			r.WatermarkMS = at
		}
	}
	for key, windows := range accepted {
		for b, values := range windows {
			w := TryWindow{Kind: s.Kind, Key: key, StartMS: b.StartMS, EndMS: b.EndMS, Count: int64(len(values)), Min: slices.Min(values), Max: slices.Max(values)}
			for _, v := range values {
				w.Sum += v
			}
			w.Closed = b.EndMS <= r.WatermarkMS-s.GraceMS
			if s.Kind == Session {
				w.Closed = b.EndMS < r.WatermarkMS-s.GraceMS-2*s.GapMS
			}
			r.Windows = append(r.Windows, w)
		}
	}
	slices.SortFunc(r.Windows, func(a, b TryWindow) int {
		return cmp.Or(cmp.Compare(a.Key, b.Key), cmp.Compare(a.StartMS, b.StartMS), cmp.Compare(a.EndMS, b.EndMS))
	})
	return r
}

// holding is all windows that hold a time.
func holding(s Spec, t int64) (list []Bounds) {
	for n := int64(0); n*s.AdvanceMS <= t; n++ {
		if start := n * s.AdvanceMS; t < start+s.SizeMS {
			list = append(list, Bounds{start, start + s.SizeMS})
		}
	}
	return list
}

// islands are events with no more than a gap between neighbours.
func islands(gap int64, events []TryEvent) map[Bounds][]int64 {
	slices.SortFunc(events, func(a, b TryEvent) int { return cmp.Compare(a.TimeMS, b.TimeMS) })
	list := map[Bounds][]int64{}
	for first := 0; first < len(events); {
		last := first
		for last+1 < len(events) && events[last+1].TimeMS-events[last].TimeMS <= gap {
			last++
		}
		var values []int64
		for _, e := range events[first : last+1] {
			values = append(values, e.Value)
		}
		list[Bounds{events[first].TimeMS, events[last].TimeMS}] = values
		first = last + 1
	}
	return list
}

// drawSpec draws sizes on a grid of 10, so that equalities are hit, and now and then
// off it.
func drawSpec(t *rapid.T) Spec {
	step := rapid.SampledFrom([]int64{10, 10, 10, 7}).Draw(t, "step")
	n := func(from, to int, label string) int64 { return step * int64(rapid.IntRange(from, to).Draw(t, label)) }
	s := Spec{Kind: rapid.SampledFrom([]Kind{Tumbling, Hopping, Session}).Draw(t, "kind"), GraceMS: n(0, 3, "grace")}
	switch s.Kind {
	case Tumbling:
		s.SizeMS = n(1, 4, "size")
		s.AdvanceMS = s.SizeMS
	case Hopping:
		s.SizeMS = n(1, 5, "size")
		s.AdvanceMS = min(s.SizeMS, n(1, 5, "advance"))
	case Session:
		s.GapMS = n(1, 3, "gap")
	}
	return s
}

// drawSources draws what each source sends, in its order: times go on, now and then
// far, and back.
func drawSources(t *rapid.T) [][]TryEvent {
	var all [][]TryEvent
	for source := range rapid.IntRange(1, 3).Draw(t, "sources") {
		at := int64(0)
		all = append(all, rapid.SliceOfN(rapid.Custom(func(t *rapid.T) TryEvent {
			at += 10 * rapid.SampledFrom([]int64{0, 0, 1, 1, 2, 3, 12}).Draw(t, "on")
			back := 10*rapid.SampledFrom([]int64{0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8}).Draw(t, "back") +
				rapid.SampledFrom([]int64{0, 0, 0, 0, 0, 0, 1, -1}).Draw(t, "off")
			return TryEvent{
				Source: int64(source), TimeMS: max(0, at-back), Key: rapid.SampledFrom([]string{"a", "b"}).Draw(t, "key"),
				Value: int64(rapid.IntRange(-2, 100).Draw(t, "value")),
			}
		}), 8, 40).Draw(t, "events"))
	}
	return all
}

// interleave draws an order of all events that keeps the order of each source.
func interleave(t *rapid.T, sources [][]TryEvent) (events []TryEvent) {
	var turns []int
	for i, list := range sources {
		turns = append(turns, slices.Repeat([]int{i}, len(list))...)
	}
	next := make([]int, len(sources))
	for _, i := range rapid.Permutation(turns).Draw(t, "turns") {
		events = append(events, sources[i][next[i]])
		next[i]++
	}
	return events
}
