package gokabench

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/lovoo/goka"
	"github.com/lovoo/goka/codec"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Rebalance is what a second member costs the first: it joins a group whose
// records flow, works for a while, and leaves in order.
type Rebalance struct {
	Rate    float64 `json:"records_per_second"`
	Exactly Pauses  `json:"exactly"`
	Stock   Pauses  `json:"stock"`
}

// Pauses are in milliseconds, one value a round. A gap is the longest time
// without an output of the member that stays; a delay is the longest time that
// any record took, of whichever member.
type Pauses struct {
	JoinGapMS    []float64 `json:"join_gap_ms"`
	LeaveGapMS   []float64 `json:"leave_gap_ms"`
	JoinDelayMS  []float64 `json:"join_delay_ms"`
	LeaveDelayMS []float64 `json:"leave_delay_ms"`
	// Medians of the rounds.
	JoinGapMedianMS  float64 `json:"join_gap_median_ms"`
	LeaveGapMedianMS float64 `json:"leave_gap_median_ms"`
}

func (b *bench) rebalance(ctx context.Context) (*Rebalance, error) {
	pauses := map[string]*Pauses{adapter: {}, stock: {}}
	for round := range b.Rounds {
		for _, side := range turns(round, adapter, stock) {
			join, leave, err := b.rebalanceOnce(ctx, side)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", side, err)
			}
			p := pauses[side]
			p.JoinGapMS, p.LeaveGapMS = append(p.JoinGapMS, join.gap), append(p.LeaveGapMS, leave.gap)
			p.JoinDelayMS, p.LeaveDelayMS = append(p.JoinDelayMS, join.delay), append(p.LeaveDelayMS, leave.delay)
			b.Progress(fmt.Sprintf("rebalance, round %d, %s: a gap of %.0f ms at the join, of %.0f ms at the leave", round+1, side, join.gap, leave.gap))
		}
	}
	for _, p := range pauses {
		p.JoinGapMedianMS, p.LeaveGapMedianMS = median(p.JoinGapMS), median(p.LeaveGapMS)
	}
	return &Rebalance{Rate: b.RebalanceRate, Exactly: *pauses[adapter], Stock: *pauses[stock]}, nil
}

// pause is what a reader of the outputs sees between two moments.
type pause struct{ gap, delay float64 }

// watch gathers the outputs of two members.
type watch struct {
	mu    sync.Mutex
	first []output // of the member that stays
	all   []output
}

type output struct{ at, sent time.Time }

func (w *watch) take(r *kgo.Record, at time.Time) {
	o := output{at: at, sent: sentAt(r)}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, h := range r.Headers {
		if h.Key == "member" && string(h.Value) == "first" {
			w.first = append(w.first, o)
		}
	}
	w.all = append(w.all, o)
}

// outputs are how many came from the member that stays, and from the other.
func (w *watch) outputs() (first, second int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.first), len(w.all) - len(w.first)
}

// between measures what came from one moment to another.
func (w *watch) between(from, to time.Time) pause {
	w.mu.Lock()
	defer w.mu.Unlock()
	var p pause
	last := from
	for _, o := range w.first {
		if o.at.Before(from) || o.at.After(to) {
			continue
		}
		p.gap = max(p.gap, milliseconds(o.at.Sub(last)))
		last = o.at
	}
	p.gap = max(p.gap, milliseconds(to.Sub(last)))
	for _, o := range w.all {
		if o.at.After(from) && !o.at.After(to) {
			p.delay = max(p.delay, milliseconds(o.at.Sub(o.sent)))
		}
	}
	return p
}

// settled is how long records flow undisturbed before and after a change.
const settled = 3 * time.Second

func (b *bench) rebalanceOnce(ctx context.Context, side string) (join, leave pause, err error) {
	in, err := b.create(ctx, "rebalance")
	if err != nil {
		return join, leave, err
	}
	out, err := b.create(ctx, "rebalance-out")
	if err != nil {
		return join, leave, err
	}
	group := b.name("rebalance-" + side)
	begin := func(name string) (*member, func(*error), error) {
		dir, removed, err := b.tempDir()
		if err != nil {
			return nil, nil, err
		}
		m, err := b.start(ctx, role{side: side, instance: name, dir: dir}, passing(group, in, out, name))
		return m, removed, err
	}
	first, removed, err := begin("first")
	if err != nil {
		return join, leave, err
	}
	defer removed(&err)
	defer first.finish(&err)
	if err := first.await(ctx); err != nil {
		return join, leave, err
	}
	w := new(watch)
	stop, err := b.sink(ctx, out, w.take)
	if err != nil {
		return join, leave, err
	}
	defer stop()
	paced, endPace := context.WithCancel(ctx)
	sending := make(chan error, 1)
	go func() { sending <- b.pace(paced, in, b.RebalanceRate, 1<<30) }()
	defer func() { endPace(); <-sending }() // It ends with its context's error.

	err = until(ctx, "the first outputs", func() (bool, error) { n, _ := w.outputs(); return n > 0, nil })
	if err == nil {
		err = rest(ctx, settled)
	}
	if err != nil {
		return join, leave, err
	}
	joined := time.Now()
	second, removed2, err := begin("second")
	if err != nil {
		return join, leave, err
	}
	defer removed2(&err)
	defer second.finish(&err)
	err = until(ctx, "outputs of the second member", func() (bool, error) { _, n := w.outputs(); return n > 0, nil })
	if err == nil {
		err = rest(ctx, settled)
	}
	if err != nil {
		return join, leave, err
	}
	left := time.Now()
	join = w.between(joined, left)
	if err := second.drain(); err != nil {
		return join, leave, err
	}
	// Longer than any pause that was seen.
	if err := rest(ctx, 3*settled); err != nil {
		return join, leave, err
	}
	return join, w.between(left, time.Now()), nil
}

// rest waits: undisturbed time is part of what is measured.
func rest(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// passing counts records and passes them on with the name of the member.
func passing(group, in, out, name string) *goka.GroupGraph {
	return goka.DefineGroup(goka.Group(group),
		goka.Input(goka.Stream(in), new(codec.Bytes), func(c goka.Context, value any) {
			n, _ := c.Value().(int64)
			c.SetValue(n + 1)
			c.Emit(goka.Stream(out), c.Key(), value, goka.WithCtxEmitHeaders(goka.Headers{"member": []byte(name)}))
		}),
		goka.Output(goka.Stream(out), new(codec.Bytes)), goka.Persist(new(codec.Int64)))
}
