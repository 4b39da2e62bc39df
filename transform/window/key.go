package window

import (
	"slices"
	"strings"
)

// An Event is one event of a key.
type Event struct {
	TimeMS int64
	// StreamTimeMS is the stream time of its source, the event included.
	StreamTimeMS int64
	Value        Value
}

// Cause is why a window does not count an event.
type Cause string

// The causes.
const (
	// CauseLate is an event that is late by its own stamp.
	CauseLate Cause = "late"
	// CauseClosed is an event that is not late and whose window may be closed already:
	// only a source that was born after the window closed can do that.
	CauseClosed Cause = "closed"
	// CauseOverflow is an event whose key has as many open windows as it may have.
	CauseOverflow Cause = "overflow"
)

// Late is an event that one window does not count.
type Late struct {
	Aggregate *Aggregate
	// Bounds are the window's; of a session, the event's own time.
	Bounds
	Cause Cause
}

// A Result is what a window has come to.
type Result struct {
	Aggregate *Aggregate
	Bounds
	// Revision grows with each result of one window: early ones have the count, the
	// last one has one more.
	Revision int64
	// Final says that the window is closed, Retracted that a session with these bounds
	// is no more.
	Final, Retracted bool
	// Totals is what was measured; nil where it is retracted.
	Totals *Totals
}

// An open window of one aggregate.
type open struct {
	Bounds
	Totals
	// shown is the count at its last early result with these bounds; 0: none.
	shown int64
	// stale are bounds that were shown and are no more, with the count they had.
	stale []stale
}

type stale struct {
	Bounds
	shown int64
}

// dirty reports whether there is something to show.
func (o *open) dirty() bool { return o.shown != o.Count } // With stale bounds, nothing was shown of the new ones.

// group is the open windows of one aggregate, in the order of their starts.
type group struct {
	aggregate *Aggregate
	windows   []*open
}

// windowBytes is about how long a window is when it is opened, with all its measures.
const windowBytes = 256

// A Key holds the open windows of one key, of all aggregates of its dimension. The
// zero Key has none. It is not safe for concurrent use.
type Key struct {
	// ShownAtMS is when early results were last shown, for the caller.
	ShownAtMS int64
	groups    []*group
	// undeclared counts windows that were read and whose aggregate is not declared any
	// more: they are not written back.
	undeclared int
	placed     placed
	// bytes is about how long the key is when it is written: as it was last, and what was
	// opened since.
	bytes int
}

// placed is where a [Partition] has put a key, as far as this copy of it knows.
type placed struct {
	known, closing, showing bool
	closeAt                 int64
}

// group finds the windows of an aggregate, or makes room for them, in the order of the
// names: so a key is written the same, whatever it held before.
func (k *Key) group(a *Aggregate) *group {
	for _, g := range k.groups {
		if g.aggregate == a {
			return g
		}
	}
	i, _ := slices.BinarySearchFunc(k.groups, a.name, func(g *group, name string) int { return strings.Compare(g.aggregate.name, name) })
	k.groups = slices.Insert(k.groups, i, &group{aggregate: a})
	return k.groups[i]
}

// Add takes an event into the windows of an aggregate and returns the windows that
// do not count it. w is the watermark, Unknown if it is not known; limit is how
// many open windows the aggregate may have.
func (k *Key) Add(a *Aggregate, e *Event, w int64, limit int) []Late {
	g := k.group(a)
	if a.Kind == Session {
		return k.addToSession(g, e, w, limit)
	}
	var (
		late  []Late
		space [8]Bounds
	)
	for _, b := range a.windows(space[:0], e.TimeMS) {
		if cause := a.refuses(b, e.StreamTimeMS, w); cause != "" {
			late = append(late, Late{a, b, cause})
			continue
		}
		i, found := slices.BinarySearchFunc(g.windows, b.StartMS, func(o *open, start int64) int { return compare(o.StartMS, start) })
		if !found {
			if len(g.windows) >= limit {
				late = append(late, Late{a, b, CauseOverflow})
				continue
			}
			g.windows = slices.Insert(g.windows, i, &open{Bounds: b})
			k.bytes += windowBytes
		}
		g.windows[i].add(&e.Value, a.Measures)
	}
	return late
}

func compare(a, b int64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// refuses says why an event does not count for a window; "": it does.
func (a *Aggregate) refuses(b Bounds, st, w int64) Cause {
	switch {
	case !a.accepts(b, st):
		return CauseLate
	case w != Unknown && !a.accepts(b, w):
		return CauseClosed
	}
	return ""
}

// addToSession begins a session, or joins the ones that the event touches.
func (k *Key) addToSession(g *group, e *Event, w int64, limit int) []Late {
	a, own := g.aggregate, Bounds{e.TimeMS, e.TimeMS}
	if cause := a.refuses(own, e.StreamTimeMS, w); cause != "" {
		return []Late{{a, own, cause}}
	}
	// Sessions are more than a gap apart, and in order: those touched are neighbours.
	first := 0
	for first < len(g.windows) && g.windows[first].EndMS < e.TimeMS && !a.touches(g.windows[first].Bounds, e.TimeMS) {
		first++
	}
	last := first
	for last < len(g.windows) && a.touches(g.windows[last].Bounds, e.TimeMS) {
		last++
	}
	if first == last {
		if len(g.windows) >= limit {
			return []Late{{a, own, CauseOverflow}}
		}
		g.windows = slices.Insert(g.windows, first, &open{Bounds: own})
		k.bytes += windowBytes
	} else if !within(e.TimeMS, g.windows[first].Bounds) {
		merged := mergeSessions(g.windows[first:last], e.TimeMS)
		g.windows = slices.Replace(g.windows, first, last, merged)
	}
	g.windows[first].add(&e.Value, a.Measures)
	return nil
}

func within(t int64, b Bounds) bool { return b.StartMS <= t && t <= b.EndMS }

// mergeSessions makes one session of several and a time: its bounds are new, and
// the old ones that were shown are stale.
func mergeSessions(old []*open, t int64) *open {
	merged := &open{Bounds: Bounds{t, t}}
	for _, o := range old {
		merged.StartMS, merged.EndMS = min(merged.StartMS, o.StartMS), max(merged.EndMS, o.EndMS)
		merged.merge(&o.Totals)
		merged.stale = append(merged.stale, o.stale...)
		if o.shown > 0 {
			merged.stale = append(merged.stale, stale{o.Bounds, o.shown})
		}
	}
	return merged
}

// Dirty reports whether something has not been shown yet.
func (k *Key) Dirty() bool {
	for _, g := range k.groups {
		if slices.ContainsFunc(g.windows, (*open).dirty) {
			return true
		}
	}
	return false
}

// Show returns an early result of each open window that has changed since the last
// time, after the retractions of bounds that are no more.
func (k *Key) Show() []Result {
	var results []Result
	for _, g := range k.groups {
		for _, o := range g.windows {
			if !o.dirty() {
				continue
			}
			results = o.retract(g.aggregate, results)
			if o.shown != o.Count {
				results = append(results, Result{Aggregate: g.aggregate, Bounds: o.Bounds, Revision: o.Count, Totals: &o.Totals})
				o.shown = o.Count
			}
		}
	}
	return results
}

// retract appends the retractions of a session's stale bounds.
func (o *open) retract(a *Aggregate, results []Result) []Result {
	for _, s := range o.stale {
		results = append(results, Result{Aggregate: a, Bounds: s.Bounds, Revision: s.shown + 1, Retracted: true})
	}
	o.stale = nil
	return results
}

// Close takes out the windows that a watermark closes and returns their final
// results, after the retractions of bounds that are no more.
func (k *Key) Close(w int64) []Result {
	var results []Result
	for _, g := range k.groups {
		g.windows = slices.DeleteFunc(g.windows, func(o *open) bool {
			if w < g.aggregate.deadline(o.Bounds) {
				return false
			}
			results = o.retract(g.aggregate, results)
			results = append(results, Result{Aggregate: g.aggregate, Bounds: o.Bounds, Revision: o.Count + 1, Final: true, Totals: &o.Totals})
			return true
		})
	}
	return results
}

// Deadline is the least watermark at which there is something to close; ok is
// false where nothing is open. What is not declared any more is due at once.
func (k *Key) Deadline() (w int64, ok bool) {
	if k.undeclared > 0 {
		return Unknown, true
	}
	for _, g := range k.groups {
		for _, o := range g.windows {
			if d := g.aggregate.deadline(o.Bounds); !ok || d < w {
				w, ok = d, true
			}
		}
	}
	return w, ok
}

// Len is the number of open windows.
func (k *Key) Len() int {
	n := 0
	for _, g := range k.groups {
		n += len(g.windows)
	}
	return n
}

// Undeclared is the number of windows that were read and whose aggregate is not
// declared any more.
func (k *Key) Undeclared() int { return k.undeclared }

// Open returns a result of each open window, as it is, whether it was shown or not.
func (k *Key) Open() []Result {
	var results []Result
	for _, g := range k.groups {
		for _, o := range g.windows {
			results = append(results, Result{Aggregate: g.aggregate, Bounds: o.Bounds, Revision: o.Count, Totals: &o.Totals})
		}
	}
	return results
}
