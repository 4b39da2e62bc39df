package topologies

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/tintype/tintype/event"
	"github.com/tintype/tintype/event/eventpb"
	"github.com/tintype/tintype/transform/pixel"
)

// A renderer runs the pixel kernel within the bounds of this process: not more
// renders at once than there are processors, not more memory than it was
// given, and none for longer than the decode budget.
type renderer struct {
	specs  []pixel.Spec
	budget time.Duration
	slots  *semaphore.Weighted
	memory *memory
}

func newRenderer(c Config, m *memory) *renderer {
	return &renderer{specs: c.Specs, budget: c.DecodeBudget, slots: semaphore.NewWeighted(int64(runtime.GOMAXPROCS(0))), memory: m}
}

// render waits for its share of the process, then renders.
func (r *renderer) render(ctx context.Context, src []byte, facts *eventpb.Facts) ([]pixel.Encoded, pixel.Report, error) {
	meta := pixel.Meta{Format: facts.GetFormat(), Orientation: int(facts.GetOrientation())}
	release, err := r.memory.take(ctx, pixel.Need(src, meta, r.specs)+int64(len(src)))
	if err != nil {
		return nil, pixel.Report{}, err
	}
	defer release()
	if err := r.slots.Acquire(ctx, 1); err != nil {
		return nil, pixel.Report{}, fmt.Errorf("topologies: wait for a processor to render on: %w", err)
	}
	defer r.slots.Release(1)
	budget, cancel := context.WithTimeout(ctx, r.budget)
	defer cancel()
	encoded, report, err := pixel.Render(budget, src, meta, r.specs)
	if err != nil && ctx.Err() == nil && errors.Is(budget.Err(), context.DeadlineExceeded) {
		return nil, report, event.Refuse(event.ReasonDecodeBudget, "not rendered within %v", r.budget)
	}
	return encoded, report, err
}
