package topologies

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tintype/tintype/event"
	"github.com/tintype/tintype/exactly"
)

// A Runner runs stages of a deployment in this process.
type Runner struct {
	config Config
	stages []event.Stage
	status map[event.Stage]*exactly.Status
	// windows is stage windows while it runs.
	windows atomic.Pointer[windowsStage]
}

// NewRunner makes a runner of the given stages; none means all.
func NewRunner(config Config, stages ...event.Stage) (*Runner, error) {
	config, err := config.withDefaults()
	if err != nil {
		return nil, err
	}
	if len(stages) == 0 {
		stages = Stages()
	}
	r := &Runner{config: config, status: make(map[event.Stage]*exactly.Status, len(stages))}
	for _, name := range stages {
		if !slices.Contains(Stages(), name) {
			return nil, fmt.Errorf("topologies: there is no stage %q: want extract, transform, windows or load", name)
		}
		if name == event.StageLoad && config.ClickHouse == nil {
			return nil, fmt.Errorf("topologies: stage load needs ClickHouse")
		}
		if _, twice := r.status[name]; twice {
			continue
		}
		r.stages = append(r.stages, name)
		r.status[name] = new(exactly.Status)
	}
	return r, nil
}

// Run runs the stages until ctx ends, then drains: what is in hand is finished
// and committed, and the groups are left. It returns early only with an error
// that no retry heals. partitions is the count that [EnsureTopics] returned.
func (r *Runner) Run(ctx context.Context, partitions int) error {
	group, ctx := errgroup.WithContext(ctx)
	shared := newMemory(r.config.RenderMemory)
	for _, name := range r.stages {
		base := &stageBase{
			Config: r.config, name: name, partitions: partitions,
			tally: newTally(r.config.Metrics, name), memory: shared, status: r.status[name],
		}
		group.Go(func() error {
			s := newStage(base)
			if w, ok := s.(*windowsStage); ok {
				r.windows.Store(w)
			}
			if beside, ok := s.(running); ok {
				group.Go(func() error { return beside.run(ctx) })
			}
			if c, ok := s.(closing); ok {
				defer c.close()
			}
			if err := exactly.Run(ctx, r.exactlyConfig(name, s), s.graph()); err != nil {
				return fmt.Errorf("topologies: stage %s: %w", name, err)
			}
			return nil
		})
	}
	return group.Wait()
}

// newStage makes the stage of a base's name, which NewRunner has checked.
func newStage(base *stageBase) stage {
	switch base.name {
	case event.StageExtract:
		return newExtractStage(base)
	case event.StageTransform:
		return newTransformStage(base)
	case event.StageWindows:
		return newWindowsStage(base)
	case event.StageLoad:
		return newLoadStage(base)
	}
	panic("topologies: no stage " + string(base.name))
}

// exactlyConfig is how a stage's group runs.
func (r *Runner) exactlyConfig(name event.Stage, s stage) exactly.Config {
	c := exactly.Config{
		Brokers: r.config.Brokers, KafkaOptions: r.config.KafkaOptions, Instance: r.config.Instance,
		StateDir:           filepath.Join(r.config.StateDir, string(name)),
		Delivery:           r.config.Delivery,
		CommitInterval:     r.config.CommitInterval,
		TransactionTimeout: r.config.TransactionTimeout,
		MaxMessageBytes:    event.MaxRecordBytes,
		CreateTopics:       r.config.CreateTopics,
		Hooks:              s.hooks(),
		Log:                r.config.Log.With(slog.String("stage", string(name))),
		Status:             r.status[name],
	}
	if p, ok := s.(preparing); ok {
		c.Prepare = p.prepare
	}
	if name == event.StageWindows {
		c.MaxMessageBytes = event.MaxWindowBytes
		// A transaction of its own for every alarm and every wake would keep the broker busy.
		c.Linger = min(r.config.EarlyCadence/4, windowsLinger)
		c.CommitInterval = max(c.CommitInterval, c.Linger)
	}
	if name == event.StageLoad {
		c.Linger = r.config.LoadLinger
		c.CommitInterval = max(c.CommitInterval, r.config.LoadLinger)
	}
	return c
}

// windowsLinger is how long a transaction of windows gathers at least.
const windowsLinger = 50 * time.Millisecond

// Ready reports whether every stage holds an assignment and works on it.
func (r *Runner) Ready() bool {
	for _, s := range r.status {
		if !s.Ready() {
			return false
		}
	}
	return true
}

// AwaitReady waits until the runner is [Runner.Ready]; its error is the end of ctx.
func (r *Runner) AwaitReady(ctx context.Context) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !r.Ready() {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
	}
	return nil
}
