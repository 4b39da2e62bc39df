package window

import (
	"cmp"
	"slices"
)

// A TryEvent is an event of a source, in the order of arrival.
type TryEvent struct {
	Source int64
	TimeMS int64
	Key    string
	Value  int64
}

// A TryWindow is a window at the end of input.
type TryWindow struct {
	Kind                 Kind
	Key                  string
	StartMS, EndMS       int64
	Count, Sum, Min, Max int64
	// Closed says that the watermark has closed it.
	Closed bool
}

// A TryLate is an event that one window does not count.
type TryLate struct {
	TryEvent
	Kind           Kind
	StartMS, EndMS int64
	Cause          Cause
}

// A TryResult is what Try comes to. Windows are in the order of key, start and end;
// late events in that of arrival.
type TryResult struct {
	Windows []TryWindow
	Late    []TryLate
	// WatermarkMS is the watermark at the end; Unknown where a source never came.
	WatermarkMS int64
}

// tryMeasures are what a TryEvent's value counts as.
const tryMeasures = BytesIn | BytesInMin | BytesInMax

// Try feeds events to the windows of a spec. The sources are those that occur
// anywhere among the events; the watermark is unknown until each was seen.
func Try(spec Spec, events []TryEvent) (TryResult, error) {
	set, err := NewSet([]Aggregate{{Spec: spec, Dimension: "k", Measures: tryMeasures}})
	if err != nil {
		return TryResult{}, err
	}
	t := trial{aggregate: set.All()[0], times: map[int64]int64{}, keys: map[string]*Key{}, index: NewIndex()}
	for _, e := range events {
		t.times[e.Source] = Unknown
	}
	for _, e := range events {
		t.add(e)
	}
	for key, k := range t.keys {
		t.collect(key, k.Open())
	}
	slices.SortFunc(t.result.Windows, func(a, b TryWindow) int {
		return cmp.Or(cmp.Compare(a.Key, b.Key), cmp.Compare(a.StartMS, b.StartMS), cmp.Compare(a.EndMS, b.EndMS))
	})
	t.result.WatermarkMS = t.watermark()
	return t.result, nil
}

// trial is a stage of windows in memory.
type trial struct {
	aggregate *Aggregate
	times     map[int64]int64
	keys      map[string]*Key
	index     *Index
	result    TryResult
}

func (t *trial) watermark() int64 {
	w, first := int64(Unknown), true
	for _, at := range t.times {
		if first || at < w {
			w, first = at, false
		}
	}
	return w
}

// add is one record's way: stream time, lateness, state, and then what the new
// watermark closes.
func (t *trial) add(e TryEvent) {
	t.times[e.Source] = max(t.times[e.Source], e.TimeMS)
	k := t.keys[e.Key]
	if k == nil {
		k = new(Key)
		t.keys[e.Key] = k
	}
	event := Event{TimeMS: e.TimeMS, StreamTimeMS: t.times[e.Source], Value: Value{Told: tryMeasures, BytesIn: e.Value}}
	for _, late := range k.Add(t.aggregate, &event, t.watermark(), len(t.times)*maxWindowsPerEvent*maxWindowsPerEvent) {
		t.result.Late = append(t.result.Late, TryLate{
			TryEvent: e, Kind: t.aggregate.Kind, StartMS: late.StartMS, EndMS: late.EndMS, Cause: late.Cause,
		})
	}
	t.due(e.Key, k)
	w := t.watermark()
	for t.index.Due(w) {
		for _, key := range t.index.Take(w, 1000) {
			t.collect(key, t.keys[key].Close(w))
			t.due(key, t.keys[key])
		}
	}
	t.index.Commit()
}

// due puts a key into the index, or forgets it.
func (t *trial) due(key string, k *Key) {
	if at, ok := k.Deadline(); ok {
		t.index.Set(key, at)
		return
	}
	t.index.Remove(key)
	delete(t.keys, key)
}

// collect keeps windows for the end. None was shown early, so that none is retracted.
func (t *trial) collect(key string, results []Result) {
	for _, r := range results {
		t.result.Windows = append(t.result.Windows, TryWindow{
			Kind: r.Aggregate.Kind, Key: key, StartMS: r.StartMS, EndMS: r.EndMS, Closed: r.Final,
			Count: r.Totals.Count, Sum: r.Totals.BytesIn, Min: r.Totals.BytesInMin, Max: r.Totals.BytesInMax,
		})
	}
}
