package load

import (
	"time"

	"github.com/tintype/tintype/event"
	"github.com/tintype/tintype/event/eventpb"
)

// A windowRow is one result of a window. It has no origin: many uploads made it.
type windowRow struct {
	loaded
	lease
	Aggregate    string    `ch:"aggregate"`
	Kind         string    `ch:"kind"`
	SizeMS       uint64    `ch:"size_ms"`
	AdvanceMS    uint64    `ch:"advance_ms"`
	GapMS        uint64    `ch:"gap_ms"`
	GraceMS      uint64    `ch:"grace_ms"`
	Dimension    string    `ch:"dimension"`
	Key          string    `ch:"key"`
	WindowStart  time.Time `ch:"window_start"`
	WindowEnd    time.Time `ch:"window_end"`
	Revision     uint64    `ch:"revision"`
	Final        bool      `ch:"final"`
	Retracted    bool      `ch:"retracted"`
	Count        uint64    `ch:"count"`
	BytesIn      *uint64   `ch:"bytes_in"`
	BytesOut     *uint64   `ch:"bytes_out"`
	Pixels       *uint64   `ch:"pixels"`
	BytesInMin   *uint64   `ch:"bytes_in_min"`
	BytesInMax   *uint64   `ch:"bytes_in_max"`
	Uploaders    *uint64   `ch:"uploaders"`
	LatencyMSP50 *float64  `ch:"latency_ms_p50"`
	LatencyMSP95 *float64  `ch:"latency_ms_p95"`
	LatencyMSP99 *float64  `ch:"latency_ms_p99"`
	EmittedAt    time.Time `ch:"emitted_at"`
}

// A lateRow is an upload that one window of one aggregate does not count.
type lateRow struct {
	positions
	lease
	Aggregate   string    `ch:"aggregate"`
	Dimension   string    `ch:"dimension"`
	Key         string    `ch:"key"`
	WindowStart time.Time `ch:"window_start"`
	Cause       string    `ch:"cause"`
	EventTime   time.Time `ch:"event_time"`
	StreamTime  time.Time `ch:"stream_time"`
}

// A tickRow is the end of an offset of uploads that holds no upload.
type tickRow struct {
	positions
	lease
	EventTime time.Time `ch:"event_time"`
}

func windowRowOf(at event.Position, w *eventpb.WindowResult) *windowRow {
	return &windowRow{
		loaded: loadedAt(at), Aggregate: w.Aggregate, Kind: w.Kind, Dimension: w.Dimension, Key: w.Key,
		SizeMS: unsigned(w.SizeMs), AdvanceMS: unsigned(w.AdvanceMs), GapMS: unsigned(w.GapMs), GraceMS: unsigned(w.GraceMs),
		WindowStart: *stampTime(w.WindowStartMs), WindowEnd: *stampTime(w.WindowEndMs), EmittedAt: *stampTime(w.EmittedAtMs),
		Revision: unsigned(w.Revision), Final: w.Final, Retracted: w.Retracted, Count: unsigned(w.Count),
		BytesIn: measured(w.BytesIn), BytesOut: measured(w.BytesOut), Pixels: measured(w.Pixels), BytesInMin: measured(w.BytesInMin),
		BytesInMax: measured(w.BytesInMax), Uploaders: measured(w.Uploaders),
		LatencyMSP50: w.LatencyMsP50, LatencyMSP95: w.LatencyMsP95, LatencyMSP99: w.LatencyMsP99,
	}
}

func lateRowOf(at event.Position, l *eventpb.LateUpload) *lateRow {
	return &lateRow{
		positions: positionsOf(at, l.Stamp), Aggregate: l.Aggregate, Dimension: l.Dimension, Key: l.Key, Cause: l.Cause,
		WindowStart: *stampTime(l.WindowStartMs), EventTime: *stampTime(l.Stamp.GetEventTimeMs()), StreamTime: *stampTime(l.Stamp.GetStreamTimeMs()),
	}
}

func tickRowOf(at event.Position, t *eventpb.Ticked) *tickRow {
	return &tickRow{positions: positionsOf(at, t.Stamp), EventTime: *stampTime(t.Stamp.GetEventTimeMs())}
}

// shrink is for dead letters.
func (r *windowRow) shrink() bool { return false }

// shrink is for dead letters.
func (r *lateRow) shrink() bool { return false }

// shrink is for dead letters.
func (r *tickRow) shrink() bool { return false }

// measured is a measure that may be absent.
func measured(n *int64) *uint64 {
	if n == nil {
		return nil
	}
	of := unsigned(*n)
	return &of
}
