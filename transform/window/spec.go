package window

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Kind is a kind of window.
type Kind string

// The kinds.
const (
	// Tumbling windows follow each other without gap or overlap: [start, end).
	Tumbling Kind = "tumbling"
	// Hopping windows begin every advance and overlap: [start, end).
	Hopping Kind = "hopping"
	// Session windows hold events that are not more than a gap apart: [first, last],
	// both inclusive.
	Session Kind = "session"
)

// MaxTimeMS is the greatest event time, size, gap or grace: the end of the year
// 9999, far from where sums of a few of them overflow.
const MaxTimeMS = 253402300799999

// maxWindowsPerEvent bounds in how many hopping windows one event may count.
const maxWindowsPerEvent = 10_000

// A Spec says which windows an event belongs to, and for how long. All times are
// in milliseconds.
type Spec struct {
	Kind Kind
	// SizeMS and AdvanceMS are of tumbling and hopping windows; a tumbling window
	// advances by its size.
	SizeMS, AdvanceMS int64
	// GapMS is of sessions: events exactly a gap apart are in one session.
	GapMS int64
	// GraceMS is how long after its end a window takes events.
	GraceMS int64
}

// NewTumbling makes the spec of tumbling windows.
func NewTumbling(size, grace time.Duration) Spec {
	return Spec{Kind: Tumbling, SizeMS: size.Milliseconds(), AdvanceMS: size.Milliseconds(), GraceMS: grace.Milliseconds()}
}

// NewHopping makes the spec of hopping windows.
func NewHopping(size, advance, grace time.Duration) Spec {
	return Spec{Kind: Hopping, SizeMS: size.Milliseconds(), AdvanceMS: advance.Milliseconds(), GraceMS: grace.Milliseconds()}
}

// NewSession makes the spec of sessions.
func NewSession(gap, grace time.Duration) Spec {
	return Spec{Kind: Session, GapMS: gap.Milliseconds(), GraceMS: grace.Milliseconds()}
}

// ParseSpec reads tumbling:SIZE:GRACE, hopping:SIZE:ADVANCE:GRACE or
// session:GAP:GRACE, in milliseconds.
func ParseSpec(text string) (Spec, error) {
	const want = "want tumbling:SIZE:GRACE, hopping:SIZE:ADVANCE:GRACE or session:GAP:GRACE, in ms"
	parts := strings.Split(text, ":")
	s := Spec{Kind: Kind(parts[0])}
	fields := map[Kind][]*int64{
		Tumbling: {&s.SizeMS, &s.GraceMS}, Hopping: {&s.SizeMS, &s.AdvanceMS, &s.GraceMS}, Session: {&s.GapMS, &s.GraceMS},
	}[s.Kind]
	if len(fields) != len(parts)-1 || len(fields) == 0 {
		return Spec{}, fmt.Errorf("window: spec %q: %s", text, want)
	}
	for i, field := range fields {
		n, err := strconv.ParseInt(parts[i+1], 10, 64)
		if err != nil {
			return Spec{}, fmt.Errorf("window: spec %q: %q is no number of ms: %s", text, parts[i+1], want)
		}
		*field = n
	}
	if s.Kind == Tumbling {
		s.AdvanceMS = s.SizeMS
	}
	if err := s.Validate(); err != nil {
		return Spec{}, fmt.Errorf("window: spec %q: %w", text, err)
	}
	return s, nil
}

// Validate reports what makes the spec impossible.
func (s Spec) Validate() error {
	for _, f := range []struct {
		name string
		ms   int64
	}{{"size", s.SizeMS}, {"advance", s.AdvanceMS}, {"gap", s.GapMS}, {"grace", s.GraceMS}} {
		if f.ms < 0 || f.ms > MaxTimeMS {
			return fmt.Errorf("%s %d ms: want 0 to %d", f.name, f.ms, int64(MaxTimeMS))
		}
	}
	switch s.Kind {
	case Tumbling:
		if s.SizeMS == 0 || s.AdvanceMS != s.SizeMS || s.GapMS != 0 {
			return fmt.Errorf("a tumbling window has a size of 1 ms or more, which it advances by, and no gap")
		}
	case Hopping:
		if s.SizeMS == 0 || s.AdvanceMS == 0 || s.AdvanceMS > s.SizeMS || s.GapMS != 0 {
			return fmt.Errorf("a hopping window has a size of 1 ms or more, an advance of 1 ms to its size, and no gap")
		}
		if s.SizeMS > maxWindowsPerEvent*s.AdvanceMS {
			return fmt.Errorf("size %d ms by advance %d ms: an event would be in more than %d windows", s.SizeMS, s.AdvanceMS, maxWindowsPerEvent)
		}
	case Session:
		if s.GapMS == 0 || s.SizeMS != 0 || s.AdvanceMS != 0 {
			return fmt.Errorf("a session has a gap of 1 ms or more, no size and no advance")
		}
	default:
		return fmt.Errorf("there is no kind %q: want tumbling, hopping or session", s.Kind)
	}
	return nil
}

// String names kind and sizes, without the grace: tumbling-10s, hopping-5m-1m,
// session-5m.
func (s Spec) String() string {
	switch s.Kind {
	case Hopping:
		return string(s.Kind) + "-" + short(s.SizeMS) + "-" + short(s.AdvanceMS)
	case Session:
		return string(s.Kind) + "-" + short(s.GapMS)
	case Tumbling:
	}
	return string(s.Kind) + "-" + short(s.SizeMS)
}

// short writes a time in its greatest unit that leaves no rest.
func short(ms int64) string {
	for _, unit := range []struct {
		name string
		ms   int64
	}{{"d", 86_400_000}, {"h", 3_600_000}, {"m", 60_000}, {"s", 1000}} {
		if ms%unit.ms == 0 && ms > 0 {
			return strconv.FormatInt(ms/unit.ms, 10) + unit.name
		}
	}
	return strconv.FormatInt(ms, 10) + "ms"
}

// Unknown is a stream time or watermark that nothing is known of yet. It is before
// all times.
const Unknown = math.MinInt64
