package window

// The inequalities of windows. st is the stream time of an event's source, the
// event included; w is the watermark.
//
// Why nothing that is accepted can meet a closed window: an event of a source that
// is known has st ≥ w. Tumbling and hopping: accepted means end > st − grace ≥
// w − grace, so it is not closed. Session: accepted means t ≥ w − grace − gap, and
// touching means end ≥ t − gap ≥ w − grace − 2·gap, so it is not closed.

// Bounds are a window's: [Start, End) of a tumbling or hopping window, and of a
// session the times of its first and last event.
type Bounds struct{ StartMS, EndMS int64 }

// windows appends the tumbling or hopping windows that hold time t, from the first
// on. They start at 0 or later, at multiples of the advance.
func (s Spec) windows(to []Bounds, t int64) []Bounds {
	first := max(0, t-s.SizeMS+s.AdvanceMS) / s.AdvanceMS * s.AdvanceMS
	for start := first; start <= t; start += s.AdvanceMS {
		to = append(to, Bounds{start, start + s.SizeMS})
	}
	return to
}

// accepts reports whether a window takes an event at stream time st. For a session
// it is asked of the event's own time alone, as bounds {t, t}: asked of the session
// that it would make, the answer would depend on how sources interleave.
func (s Spec) accepts(b Bounds, st int64) bool {
	if s.Kind == Session {
		return b.StartMS >= st-s.GraceMS-s.GapMS
	}
	return b.EndMS > st-s.GraceMS
}

// touches reports whether an event at time t belongs to a session.
func (s Spec) touches(b Bounds, t int64) bool {
	return b.EndMS >= t-s.GapMS && b.StartMS <= t+s.GapMS
}

// deadline is the least watermark at which a window is closed.
func (s Spec) deadline(b Bounds) int64 {
	if s.Kind == Session {
		return b.EndMS + s.GraceMS + 2*s.GapMS + 1
	}
	return b.EndMS + s.GraceMS
}
