package exactly

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/lovoo/goka"
)

// Run runs a graph until ctx ends: then it finishes what is in hand, commits,
// leaves the group and returns nil. After an error that can heal (a broker that
// restarts, a fenced transaction) it makes the processor anew, with backoff; an
// error that cannot (IsPermanent) is returned at once.
func Run(ctx context.Context, cfg Config, graph *goka.GroupGraph, opts ...goka.ProcessorOption) error {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return err
	}
	learned := newBudget(cfg)
	pause := backoff{least: 100 * time.Millisecond, most: 10 * time.Second}
	for {
		began := time.Now()
		err := attempt(ctx, cfg, learned, graph, opts)
		switch {
		case err != nil && IsPermanent(err):
			cfg.Status.setError(err)
			return err
		case ctx.Err() != nil:
			return nil //nolint:nilerr // Whatever was open is aborted, and read again by the next.
		}
		if time.Since(began) > time.Minute {
			pause.reset()
		}
		cfg.Status.restarts.Add(1)
		cfg.Status.setError(err)
		cfg.Log.Warn("the processor ended and is made anew", slog.String("group", string(graph.Group())), slog.Any("error", err))
		if !pause.wait(ctx) {
			return nil
		}
	}
}

// attempt runs one processor; goka's can be run only once.
func attempt(ctx context.Context, cfg Config, learned *budget, graph *goka.GroupGraph, opts []goka.ProcessorOption) (err error) {
	a, err := New(cfg)
	if err != nil {
		return err
	}
	a.budget = learned
	defer func() { err = errors.Join(err, a.Close()) }()
	all := []goka.ProcessorOption{goka.WithLogger(gokaLogger{cfg.Log}), goka.WithNilHandling(goka.NilDecode), goka.WithClientID("exactly-" + cfg.Instance)}
	processor, err := goka.NewProcessor(cfg.Brokers, graph, append(append(all, opts...), a.Options()...)...)
	if err != nil {
		if cause := a.takeCause(); cause != nil {
			return cause
		}
		return permanent(err)
	}
	err = processor.Run(ctx)
	if err == nil {
		return nil
	}
	if cause := a.takeCause(); cause != nil {
		return cause
	}
	return err
}

// backoff pauses ever longer, with jitter.
type backoff struct {
	least, most, next time.Duration
}

func (b *backoff) reset() { b.next = 0 }

// wait pauses; false when ctx ended first.
func (b *backoff) wait(ctx context.Context) bool {
	b.next = min(max(2*b.next, b.least), b.most)
	select {
	case <-ctx.Done():
		return false
	case <-time.After(b.next/2 + rand.N(b.next/2+1)):
		return true
	}
}
