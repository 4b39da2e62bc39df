package topologies

import (
	"fmt"

	"github.com/lovoo/goka"

	"github.com/tintype/tintype/event"
	"github.com/tintype/tintype/event/eventpb"
	"github.com/tintype/tintype/transform/window"
)

// emit sends what windows of the record's key have come to.
func (s *windowsStage) emit(ctx goka.Context, results []window.Result) {
	if len(results) == 0 {
		return
	}
	now := s.Now().UnixMilli()
	for i := range results {
		r := resultOf(ctx.Key(), &results[i])
		r.EmittedAtMs = now
		s.tally.result(r)
		ctx.Emit(goka.Stream(s.Topics.WindowResults.Name), ctx.Key(), r)
	}
}

// resultOf is a result of a key of the topic measures, as it is sent.
func resultOf(key string, r *window.Result) *eventpb.WindowResult {
	a := r.Aggregate
	_, value := splitMeasureKey(key)
	m := &eventpb.WindowResult{
		Aggregate: a.Name(), Kind: string(a.Kind), SizeMs: a.SizeMS, AdvanceMs: a.AdvanceMS, GapMs: a.GapMS, GraceMs: a.GraceMS,
		Dimension: a.Dimension, Key: value, WindowStartMs: r.StartMS, WindowEndMs: r.EndMS,
		Revision: r.Revision, Final: r.Final, Retracted: r.Retracted,
	}
	if r.Totals != nil {
		measured(m, r.Totals)
	}
	return m
}

// measured fills in what the uploads of a window have told.
func measured(m *eventpb.WindowResult, t *window.Totals) {
	m.Count = t.Count
	for _, f := range []struct {
		measure window.Measures
		to      **int64
		value   int64
	}{
		{window.BytesIn, &m.BytesIn, t.BytesIn},
		{window.BytesOut, &m.BytesOut, t.BytesOut},
		{window.Pixels, &m.Pixels, t.Pixels},
		{window.BytesInMin, &m.BytesInMin, t.BytesInMin},
		{window.BytesInMax, &m.BytesInMax, t.BytesInMax},
	} {
		if t.Told&f.measure != 0 {
			*f.to = new(f.value)
		}
	}
	if t.Told&window.Uploaders != 0 {
		m.Uploaders = new(t.Uploaders.Estimate())
	}
	if t.Told&window.LatencyMS != 0 {
		for _, q := range []struct {
			to       **float64
			quantile float64
		}{{&m.LatencyMsP50, 0.5}, {&m.LatencyMsP95, 0.95}, {&m.LatencyMsP99, 0.99}} {
			if value, ok := t.LatencyMS.At(q.quantile); ok {
				*q.to = &value
			}
		}
	}
}

// late tells of an upload that a window does not count. It keeps its fate.
func (s *windowsStage) late(ctx goka.Context, stamp *eventpb.Stamp, l window.Late) {
	_, value := splitMeasureKey(ctx.Key())
	s.countLate(l.Aggregate.Name(), l.Cause)
	ctx.Emit(goka.Stream(s.Topics.Late.Name), ctx.Key(), &eventpb.LateUpload{
		Stamp: stamp, Aggregate: l.Aggregate.Name(), Dimension: l.Aggregate.Dimension, Key: value, WindowStartMs: l.StartMS, Cause: string(l.Cause),
	})
	if l.Cause != window.CauseOverflow {
		return
	}
	s.tally.dead(event.ReasonTooManyWindows)
	ctx.Emit(goka.Stream(s.Topics.DeadLetters.Name), event.PositionOf(stamp.GetOrigin()).String(), &eventpb.DeadLetter{
		Stamp: stamp, Sender: new(eventpb.Sender), Stage: string(s.name), Reason: string(event.ReasonTooManyWindows), FailedAtMs: s.Now().UnixMilli(),
		Detail: fmt.Sprintf("not counted in the window from %d ms of %s, key %q, which has %d open windows", l.StartMS, l.Aggregate.Name(), value, s.MaxOpenWindows),
	})
}
