package produce

import (
	"context"
	"time"
)

// maxCatchUp bounds the burst that makes up for a stall.
const maxCatchUp = 250 * time.Millisecond

// pacer spaces events evenly. The schedule does not slip with the timers: an
// event that came late does not delay the next.
type pacer struct {
	interval time.Duration
	due      time.Time
}

// newPacer allows rate events a second; 0 allows all.
func newPacer(rate float64) *pacer {
	if rate == 0 {
		return &pacer{}
	}
	return &pacer{interval: time.Duration(float64(time.Second) / rate)}
}

// wait returns when the next event is due, or with the context's cause.
func (p *pacer) wait(ctx context.Context) error {
	if p.interval == 0 {
		return context.Cause(ctx)
	}
	now := time.Now()
	if earliest := now.Add(-maxCatchUp); p.due.IsZero() {
		p.due = now
	} else if p.due.Before(earliest) {
		p.due = earliest
	}
	delay := p.due.Sub(now)
	p.due = p.due.Add(p.interval)
	if delay <= 0 {
		return context.Cause(ctx)
	}
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
