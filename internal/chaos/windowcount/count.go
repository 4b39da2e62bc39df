package windowcount

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"

	"github.com/google/uuid"
)

// An Aggregate is one that a deployment declares. Times are in milliseconds.
type Aggregate struct {
	// Kind is tumbling, hopping or session.
	Kind string
	// Size is of tumbling and hopping windows, Advance of hopping ones, Gap of
	// sessions.
	Size, Advance, Gap int64
	Grace              int64
	// Dimension is all or uploader: what the log itself tells.
	Dimension string
}

// Name is what the aggregate is called in results.
func (a Aggregate) Name() string {
	text := func(ms int64) string {
		for _, unit := range []struct {
			ms   int64
			name string
		}{{86_400_000, "d"}, {3_600_000, "h"}, {60_000, "m"}, {1000, "s"}} {
			if ms%unit.ms == 0 {
				return strconv.FormatInt(ms/unit.ms, 10) + unit.name
			}
		}
		return strconv.FormatInt(ms, 10) + "ms"
	}
	switch a.Kind {
	case "hopping":
		return "hopping-" + text(a.Size) + "-" + text(a.Advance) + "-" + a.Dimension
	case "session":
		return "session-" + text(a.Gap) + "-" + a.Dimension
	default:
		return a.Kind + "-" + text(a.Size) + "-" + a.Dimension
	}
}

// A Window is one window of a key. The bounds of a session are those of its uploads.
type Window struct {
	Aggregate, Key string
	Start, End     int64
}

func (w Window) String() string {
	return fmt.Sprintf("%s key %q from %d to %d", w.Aggregate, w.Key, w.Start, w.End)
}

// Totals are what a window comes to. Bytes are of what came inline, whatever became of
// it; all are 0 where nothing did.
type Totals struct{ Count, Bytes, BytesMin, BytesMax, Uploaders int64 }

// A Late is an upload that a window does not count, by the window's start; of a
// session, by the upload's own time.
type Late struct {
	Topic          uuid.UUID
	Partition      int32
	Offset         int64
	Aggregate, Key string
	Start          int64
}

// A Count is what a log comes to.
type Count struct {
	Windows map[Window]Totals
	Late    map[Late]bool
	// Uploads is how many records are no ticks.
	Uploads int
	// Watermark is the least stream time of all partitions of a topic, the greatest of
	// all topics.
	Watermark int64

	aggregates map[string]Aggregate
}

// Of counts the records of a log, whose partitions are in the order of offsets;
// records of a topic that was created anew are behind it. ahead is how far in ms an
// event time may be ahead of its append time.
func Of(log []Record, aggregates []Aggregate, partitions int, ahead int64) *Count {
	c := &Count{Windows: map[Window]Totals{}, Late: map[Late]bool{}, Watermark: unknown, aggregates: map[string]Aggregate{}}
	uploads := c.stamp(log, partitions, ahead)
	for _, a := range aggregates {
		c.aggregates[a.Name()] = a
		byKey := map[string][]stamped{}
		for _, u := range uploads {
			switch {
			case a.Dimension == "all":
				byKey[""] = append(byKey[""], u)
			case u.Uploader != "":
				byKey[u.Uploader] = append(byKey[u.Uploader], u)
			}
		}
		for key, all := range byKey {
			if a.Kind == "session" {
				c.sessions(a, key, all)
			} else {
				c.grid(a, key, all)
			}
		}
	}
	return c
}

// unknown is before all times, and far from where times less a grace overflow.
const unknown = math.MinInt64 / 2

// stamped is an upload with its event time and its stream time.
type stamped struct {
	Record
	t, st int64
}

// stamp gives each upload its times, and finds the watermark.
func (c *Count) stamp(log []Record, partitions int, ahead int64) []stamped {
	type source struct {
		topic     uuid.UUID
		partition int32
	}
	var (
		times   = map[source]int64{}
		topics  = map[uuid.UUID]bool{}
		uploads []stamped
	)
	for _, r := range log {
		from := source{r.Topic, r.Partition}
		topics[r.Topic] = true
		so, known := times[from]
		s := stamped{Record: r}
		switch {
		case r.ClaimedMS != nil:
			s.t = max(*r.ClaimedMS, 0)
			if *r.ClaimedMS > r.AppendedMS+ahead {
				s.t = r.AppendedMS
			}
			s.st = s.t
			if known {
				s.st = max(s.t, so)
			}
			times[from] = s.st
		case known:
			s.t, s.st = so, so
		default:
			s.t, s.st = r.AppendedMS, r.AppendedMS
		}
		if !r.Tick {
			uploads = append(uploads, s)
		}
	}
	c.Uploads = len(uploads)
	for topic := range topics {
		least := int64(math.MaxInt64)
		for partition := range partitions {
			at, known := times[source{topic, int32(partition)}]
			if !known {
				at = unknown
			}
			least = min(least, at)
		}
		c.Watermark = max(c.Watermark, least)
	}
	return uploads
}

func (c *Count) late(a Aggregate, key string, u stamped, start int64) {
	c.Late[Late{u.Topic, u.Partition, u.Offset, a.Name(), key, start}] = true
}

// grid counts windows that stand where the clock puts them: it goes through all
// multiples of the advance that can hold an upload.
func (c *Count) grid(a Aggregate, key string, uploads []stamped) {
	advance := a.Advance
	if a.Kind == "tumbling" {
		advance = a.Size
	}
	held := map[int64][]stamped{}
	for _, u := range uploads {
		for start := u.t / advance * advance; start >= 0 && start+a.Size > u.t; start -= advance {
			if start+a.Size <= u.st-a.Grace {
				c.late(a, key, u, start)
				continue
			}
			held[start] = append(held[start], u)
		}
	}
	for start, all := range held {
		c.Windows[Window{a.Name(), key, start, start + a.Size}] = total(all)
	}
}

// sessions sorts the uploads that count, and cuts where more than a gap is between two.
func (c *Count) sessions(a Aggregate, key string, uploads []stamped) {
	var counted []stamped
	for _, u := range uploads {
		if u.t < u.st-a.Grace-a.Gap {
			c.late(a, key, u, u.t)
			continue
		}
		counted = append(counted, u)
	}
	slices.SortFunc(counted, func(x, y stamped) int { return cmp.Compare(x.t, y.t) })
	for len(counted) > 0 {
		n := 1
		for n < len(counted) && counted[n].t-counted[n-1].t <= a.Gap {
			n++
		}
		c.Windows[Window{a.Name(), key, counted[0].t, counted[n-1].t}] = total(counted[:n])
		counted = counted[n:]
	}
}

func total(uploads []stamped) Totals {
	var t Totals
	named := map[string]bool{}
	for _, u := range uploads {
		t.Count++
		if u.Bytes > 0 {
			if t.Bytes == 0 {
				t.BytesMin = u.Bytes
			}
			t.Bytes += u.Bytes
			t.BytesMin, t.BytesMax = min(t.BytesMin, u.Bytes), max(t.BytesMax, u.Bytes)
		}
		if u.Uploader != "" {
			named[u.Uploader] = true
		}
	}
	t.Uploaders = int64(len(named))
	return t
}

// Closed reports whether the watermark of the log closes a window.
func (c *Count) Closed(w Window) bool {
	a := c.aggregates[w.Aggregate]
	if a.Kind == "session" {
		return w.End < c.Watermark-a.Grace-2*a.Gap
	}
	return w.End <= c.Watermark-a.Grace
}
