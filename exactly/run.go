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
	var missing absence
	for {
		began := time.Now()
		err := attempt(ctx, cfg, learned, graph, opts)
		switch {
		case err != nil && IsPermanent(err) && !missing.tolerates(err, began):
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

// topicGrace is how long a topic may be missing: brokers show one that was just
// created, or created anew, a while after they acknowledged it.
const topicGrace = 10 * time.Second

// absence is since when topics have been missing; zero: they are not.
type absence struct{ since time.Time }

// tolerates reports whether err is a missing topic that may still appear. began
// is when the attempt began that ended with err.
func (a *absence) tolerates(err error, began time.Time) bool {
	topic, ok := errors.AsType[*TopicError](err)
	if !ok || !topic.Missing {
		a.since = time.Time{}
		return false
	}
	if a.since.IsZero() || time.Since(began) > topicGrace/2 { // It worked in between.
		a.since = time.Now()
	}
	return time.Since(a.since) < topicGrace
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
