package topologies

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/tintype/tintype/event"
	"github.com/tintype/tintype/event/eventpb"
	"github.com/tintype/tintype/exactly"
)

// A ticker sends ticks into the partitions of uploads that are idle: that extract
// holds, has read to the end, and has read nothing of for a while. Without them a
// source that nobody uploads to would hold back every window.
type ticker struct {
	stage *extractStage

	mu sync.Mutex
	// last is what each partition that is held did last.
	last map[int32]activity
}

// activity is when a partition was last read, or sent a tick to, and whether its uploads
// are of the past: then a tick, which brings it to the present, would make all that
// follow late.
type activity struct {
	at   time.Time
	past bool
}

const (
	// pastAfter is how far a stream time is behind the append time where uploads are of
	// the past.
	pastAfter = time.Minute
	// pastPatience is how many times as long such a partition may be idle.
	pastPatience = 3
)

func newTicker(s *extractStage) *ticker { return &ticker{stage: s, last: map[int32]activity{}} }

// assign takes over the partitions that are held.
func (t *ticker) assign(claims []exactly.Claim) {
	now := t.stage.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	held := map[int32]activity{}
	for _, c := range claims {
		if c.Topic != t.stage.Topics.Uploads.Name {
			continue
		}
		held[c.Partition] = activity{at: now}
		if last, ok := t.last[c.Partition]; ok { // An abort is no sign of life.
			held[c.Partition] = last
		}
	}
	t.last = held
}

// read says that a record of a partition was read, that was appended at a time and left
// the partition at a stream time.
func (t *ticker) read(partition int32, appended, streamTime int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.last[partition] = activity{at: t.stage.Now(), past: appended-streamTime > pastAfter.Milliseconds()}
}

// ticked says that a tick was sent to a partition.
func (t *ticker) ticked(partition int32) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.last[partition] = activity{at: t.stage.Now()}
}

// idle are the partitions of which nothing was read for a while.
func (t *ticker) idle() []int32 {
	now := t.stage.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	var list []int32
	for partition, last := range t.last {
		patience := t.stage.TickAfter
		if last.past {
			patience *= pastPatience
		}
		if now.Sub(last.at) >= patience {
			list = append(list, partition)
		}
	}
	return list
}

// run sends ticks until ctx ends. Whoever may not write to uploads sends none: then
// idle partitions hold back the windows, and the log says so.
func (t *ticker) run(ctx context.Context) error {
	if t.stage.TickAfter < 0 {
		return nil
	}
	to, err := newSender(t.stage.Config)
	if err != nil {
		return err
	}
	defer to.close()
	clock := time.NewTicker(max(t.stage.TickAfter/4, 10*time.Millisecond))
	defer clock.Stop()
	told := ""
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-clock.C:
		}
		idle := t.idle()
		if len(idle) == 0 {
			continue
		}
		err := t.send(ctx, to, idle)
		if err == nil || ctx.Err() != nil {
			told = ""
			continue
		}
		cause := err
		if inner := errors.Unwrap(err); inner != nil {
			cause = inner
		}
		if text := cause.Error(); text != told { // Once for each cause, whatever the partition.
			told = text
			t.stage.Log.Warn("no ticks: idle partitions of uploads hold back the windows", slog.Any("error", err))
		}
	}
}

// send sends a tick to each idle partition that extract has read to the end.
func (t *ticker) send(ctx context.Context, to *sender, idle []int32) error {
	asking, cancel := context.WithTimeout(ctx, sendTimeout)
	defer cancel()
	uploads := t.stage.Topics.Uploads.Name
	lag, err := exactly.Behind(asking, to.client, Group(t.stage.Deployment, event.StageExtract))
	if err != nil {
		return err
	}
	for _, partition := range idle {
		if behind, known := lag.Lag[uploads][partition]; !known || behind.Err != nil || behind.Lag > 0 {
			continue
		}
		record, err := t.stage.control(event.ControlTick, uploads, int(partition), &eventpb.Tick{AllowanceMs: t.stage.TickAllowance.Milliseconds()})
		if err != nil {
			return err
		}
		if err := to.send(ctx, record, partition); err != nil {
			return err
		}
		t.ticked(partition)
	}
	return nil
}
