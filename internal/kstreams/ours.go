package kstreams

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/tintype/tintype/transform/window"
)

// Ours is what transform/window makes of each partition by itself.
func Ours(spec window.Spec, events []Event) (Result, error) {
	partitions := map[int32][]Event{}
	for _, e := range events {
		partitions[e.Partition] = append(partitions[e.Partition], e)
	}
	r := newResult()
	for _, p := range slices.Sorted(maps.Keys(partitions)) {
		if err := r.try(spec, partitions[p]); err != nil {
			return Result{}, err
		}
	}
	return r, nil
}

// OursTogether is what transform/window makes of all partitions at once, in the
// order of the events. Keys are kept apart by partition, so that windows and late
// pairs are those of Ours; they close later, with the last partition.
func OursTogether(spec window.Spec, events []Event) (Result, error) {
	r := newResult()
	err := r.try(spec, events)
	return r, err
}

// try adds what events come to.
func (r Result) try(spec window.Spec, events []Event) error {
	input := make([]window.TryEvent, len(events))
	offsets := map[int64]int64{} // by value
	next := map[int32]int64{}    // by partition
	for i, e := range events {
		if _, twice := offsets[e.Value]; twice {
			return fmt.Errorf("kstreams: value %d occurs twice and names no record", e.Value)
		}
		offsets[e.Value] = next[e.Partition]
		next[e.Partition]++
		input[i] = window.TryEvent{
			Source: int64(e.Partition), TimeMS: e.TimeMS, Value: e.Value,
			Key: strconv.FormatInt(int64(e.Partition), 10) + "/" + e.Key,
		}
	}
	result, err := window.Try(spec, input)
	if err != nil {
		return fmt.Errorf("kstreams: run our windows: %w", err)
	}
	for _, o := range result.Windows {
		partition, key, _ := strings.Cut(o.Key, "/")
		p, err := strconv.ParseInt(partition, 10, 32)
		if err != nil {
			return fmt.Errorf("kstreams: a window has the key %q, which no event has", o.Key)
		}
		w := Window{Partition: int32(p), Key: key, StartMS: o.StartMS, EndMS: o.EndMS}
		for _, taken := r.Windows[w]; taken; _, taken = r.Windows[w] {
			w.Again++
		}
		r.Windows[w] = Totals{Count: o.Count, Sum: o.Sum, Min: o.Min, Max: o.Max}
		if o.Closed {
			r.Closed[w] = r.Windows[w]
		}
	}
	for _, l := range result.Late {
		r.Late[Late{
			Partition: int32(l.Source), Offset: offsets[l.Value], StartMS: l.StartMS, EndMS: l.EndMS, Cause: string(l.Cause),
		}] = true
	}
	return nil
}
