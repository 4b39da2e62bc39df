package verify

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
)

// A Kind is what is wrong.
type Kind string

// The kinds of differences.
const (
	// WindowMissing is a closed window that has no final row.
	WindowMissing Kind = "window_missing"
	// WindowUnexpected is a row of a window that the uploads do not make, or a final
	// one of a window that is not closed.
	WindowUnexpected Kind = "window_unexpected"
	// WindowTwice is a window with more than one final row.
	WindowTwice Kind = "window_twice"
	// MeasureDiffers is a measure of a final row that the uploads do not add up to.
	MeasureDiffers Kind = "measure_differs"
	// StreamTimeDiffers is an upload whose event time or stream time is not what the
	// log before it makes them.
	StreamTimeDiffers Kind = "stream_time_differs"
	// LateMissing is an upload that came too late for a window, without a row that
	// says so.
	LateMissing Kind = "late_missing"
	// LateUnexpected is a row that calls an upload late that is not.
	LateUnexpected Kind = "late_unexpected"
	// RetractedMissing is a session that is shown, though a closed one holds it.
	RetractedMissing Kind = "retracted_missing"
)

// Kinds lists all kinds.
func Kinds() []Kind {
	return []Kind{WindowMissing, WindowUnexpected, WindowTwice, MeasureDiffers, StreamTimeDiffers, LateMissing, LateUnexpected, RetractedMissing}
}

// A Difference is one thing that is wrong.
type Difference struct {
	Kind Kind `json:"kind"`
	// Aggregate, Key and the bounds name the window; a stream time has none.
	Aggregate   string     `json:"aggregate,omitempty"`
	Key         string     `json:"key"`
	WindowStart *time.Time `json:"window_start,omitempty"`
	WindowEnd   *time.Time `json:"window_end,omitempty"`
	// Measure is what differs, SQL what the uploads make it, and Stored what the
	// table holds.
	Measure string `json:"measure,omitempty"`
	SQL     string `json:"sql,omitempty"`
	Stored  string `json:"stored,omitempty"`
	Detail  string `json:"detail,omitempty"`
	// Offsets are the uploads behind it, topic-id/partition/first-last; More is how
	// many uploads they leave out.
	Offsets []string `json:"offsets,omitempty"`
	More    uint64   `json:"more,omitempty"`

	// inclusive says that the end belongs to the window.
	inclusive bool
}

const timeFormat = "2006-01-02T15:04:05.000Z"

func (d Difference) String() string {
	var b strings.Builder
	b.WriteString(string(d.Kind))
	if d.Aggregate != "" {
		b.WriteString(" in " + d.Aggregate + " key " + strconv.Quote(d.Key))
	}
	if d.WindowStart != nil {
		end := ")"
		if d.inclusive {
			end = "]"
		}
		b.WriteString(" [" + d.WindowStart.Format(timeFormat) + ", " + d.WindowEnd.Format(timeFormat) + end)
	}
	b.WriteString(":")
	if d.Measure != "" {
		b.WriteString(" " + d.Measure + " is " + d.Stored + ", SQL says " + d.SQL)
	}
	if d.Detail != "" {
		b.WriteString(" " + d.Detail)
	}
	if len(d.Offsets) > 0 {
		b.WriteString("; uploads " + strings.Join(d.Offsets, " "))
	}
	if d.More > 0 {
		fmt.Fprintf(&b, " and %d more", d.More)
	}
	return b.String()
}

// A Partition is one source: a partition of one topic of uploads.
type Partition struct {
	TopicID   uuid.UUID `json:"topic_id"`
	Partition int32     `json:"partition"`
	// Gone says that the topic does not exist any more.
	Gone    bool   `json:"gone"`
	Uploads uint64 `json:"uploads"`
	Ticks   uint64 `json:"ticks"`
	// StreamTime is the greatest event time of them; nil where none was claimed.
	StreamTime *time.Time `json:"stream_time"`
}

// An Aggregate is what came of one aggregate.
type Aggregate struct {
	Name      string `json:"aggregate"`
	Kind      string `json:"kind"`
	SizeMS    int64  `json:"size_ms"`
	AdvanceMS int64  `json:"advance_ms"`
	GapMS     int64  `json:"gap_ms"`
	GraceMS   int64  `json:"grace_ms"`
	Dimension string `json:"dimension"`
	// Measures are those that any row of it has, beside the count.
	Measures []string `json:"measures"`
	// Closed is how many windows are closed and were compared, Agreed how many of
	// them agree.
	Closed uint64 `json:"closed"`
	Agreed uint64 `json:"agreed"`
	// Open windows are not compared, nor are Later ones, which closed after the log
	// was looked at, Before ones, which start before the first row of the aggregate,
	// and Blurred ones, in which uploads may be that ClickHouse refused.
	Open    uint64 `json:"open"`
	Later   uint64 `json:"later"`
	Before  uint64 `json:"before"`
	Blurred uint64 `json:"blurred"`
	// Late counts pairs of uploads and windows that agree to be late; Overflow and
	// Reborn those that windows do not count for other reasons: too many were open, or
	// a new topic came when they were closed.
	Late     uint64 `json:"late"`
	Overflow uint64 `json:"overflow"`
	Reborn   uint64 `json:"reborn"`
	// Differences counts what is wrong with it.
	Differences uint64 `json:"differences"`
}

// A Report is what was found.
type Report struct {
	At time.Time `json:"at"`
	// Drained says that everything extract had read had arrived; if not, Behind
	// says what was waited for.
	Drained bool   `json:"drained"`
	Behind  string `json:"behind,omitempty"`
	// Watermark is the least stream time of all partitions of uploads; nil where one
	// of them has none, so that nothing can be closed.
	Watermark  *time.Time  `json:"watermark"`
	Partitions []Partition `json:"partitions"`
	Aggregates []Aggregate `json:"aggregates"`
	// Differences counts each kind; Examples names the first ones of each.
	Differences map[Kind]uint64 `json:"differences"`
	Examples    []Difference    `json:"examples"`
	// Notes are what could not be compared, and why.
	Notes   []string `json:"notes"`
	Seconds float64  `json:"seconds"`
}

func newReport(at time.Time) *Report {
	return &Report{
		At: at.UTC().Truncate(time.Millisecond), Partitions: []Partition{}, Aggregates: []Aggregate{},
		Differences: map[Kind]uint64{}, Examples: []Difference{}, Notes: []string{},
	}
}

// OK reports whether everything that was compared agrees.
func (r *Report) OK() bool { return r.Drained && len(r.Differences) == 0 }

// Closed is how many windows were compared.
func (r *Report) Closed() uint64 {
	n := uint64(0)
	for _, a := range r.Aggregates {
		n += a.Closed
	}
	return n
}

// maxExamples bounds how many differences of a kind and aggregate are named.
const maxExamples = 20

// add counts n differences of a kind, of which examples are the first ones.
func (r *Report) add(kind Kind, n uint64, examples ...Difference) {
	if n > 0 {
		r.Differences[kind] += n
		r.Examples = append(r.Examples, examples...)
	}
}

func (r *Report) note(format string, args ...any) {
	r.Notes = append(r.Notes, fmt.Sprintf(format, args...))
}

// unknown is a time that nothing is known of: before all others, and far enough
// from the least integer that a few graces fit in between.
const unknown = int64(-1 << 62)

func timeOf(ms int64) *time.Time {
	if ms == unknown {
		return nil
	}
	t := time.UnixMilli(ms).UTC()
	return &t
}
