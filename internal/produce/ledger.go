package produce

import (
	"context"
	"errors"
	"time"
)

// sent counts an upload in flight.
func (r *run) sent() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.inFlight++
	if r.inFlight == 1 {
		r.watchdog.Reset(r.AckTimeout)
	}
}

// answered settles an upload in flight: one of acked and failed is set. An
// answer after the end of the run is not counted: it was counted as unknown.
func (r *run) answered(acked *Acked, failed *Failed) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.finished {
		return
	}
	r.inFlight--
	r.watchdog.Stop()
	if r.inFlight > 0 {
		r.watchdog.Reset(r.AckTimeout)
	}
	if failed != nil {
		r.summary.Failed++
		r.OnFail(*failed)
		return
	}
	r.summary.Acked++
	r.summary.Bytes += acked.Bytes
	r.OnAck(*acked)
}

// fail counts a photo that never came into flight.
func (r *run) fail(f Failed) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.summary.Failed++
	r.OnFail(f)
}

// drain waits for the uploads in flight: as long as answers come while ctx
// lives, and once it has ended for one more AckTimeout. A silence that ended
// the run is not waited for again.
func (r *run) drain(ctx context.Context) {
	var deadline <-chan time.Time
	ended := ctx.Done()
	for taken := 0; taken < cap(r.slots); {
		select {
		case r.slots <- struct{}{}:
			taken++
		case <-ended:
			if errors.Is(context.Cause(ctx), errSilent) {
				return
			}
			ended = nil
			timer := time.NewTimer(r.AckTimeout)
			defer timer.Stop()
			deadline = timer.C
		case <-deadline:
			return
		}
	}
}

// finish closes the books.
func (r *run) finish() (Summary, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.finished = true
	r.watchdog.Stop()
	r.summary.Unknown = r.inFlight
	return r.summary, r.fatal
}
