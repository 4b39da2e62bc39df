package exactly

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/IBM/sarama"
)

// consumerGroup is the sarama.ConsumerGroup that goka consumes from.
type consumerGroup struct {
	a      *Adapter
	name   string
	errors chan error
}

var _ sarama.ConsumerGroup = (*consumerGroup)(nil)

func newConsumerGroup(a *Adapter, name string) *consumerGroup {
	return &consumerGroup{a: a, name: name, errors: make(chan error)}
}

// Consume joins the group and works until ctx ends or an error cannot be healed
// within the session. Rebalances and aborts are handled inside: goka would sleep
// for 5 s between two calls.
func (g *consumerGroup) Consume(ctx context.Context, topics []string, handler sarama.ConsumerGroupHandler) error {
	a := g.a
	// The session outlives ctx until what is in hand is committed.
	lifetime, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	a.forgetTopics()
	m, err := joinGroup(lifetime, a, g.name, topics)
	if err != nil {
		return a.note(err)
	}
	a.mu.Lock()
	a.member = m
	a.mu.Unlock()
	var watch sync.WaitGroup
	watching, unwatch := context.WithCancel(lifetime)
	if a.cfg.Delivery == ExactlyOnce {
		watch.Go(func() { m.watchHanging(watching, g.name) })
	}
	defer func() {
		unwatch()
		watch.Wait()
		a.cfg.Status.ready.Store(false)
		a.mu.Lock()
		a.member = nil
		a.mu.Unlock()
		m.link.close()
		if ctx.Err() != nil {
			m.leave(g.name)
		}
	}()
	pause := backoff{least: 50 * time.Millisecond, most: 5 * time.Second}
	for {
		as, ok, err := m.awaitAssignment(ctx)
		if err != nil {
			return a.note(err)
		}
		if !ok {
			return nil
		}
		s := newSession(m, as, handler)
		err = s.run(ctx)
		a.cfg.Status.ready.Store(false)
		if err != nil {
			return a.note(err)
		}
		if ctx.Err() != nil {
			return nil
		}
		if s.progressed {
			pause.reset()
		}
		if !s.troubled {
			continue
		}
		if !pause.wait(ctx) {
			return nil
		}
	}
}

// Errors is where sarama reports errors; those of this package end Consume.
func (g *consumerGroup) Errors() <-chan error { return g.errors }

// Close does nothing: Consume closes what it opened.
func (g *consumerGroup) Close() error { return nil }

// Pause is not supported; goka never calls it.
func (g *consumerGroup) Pause(map[string][]int32) {}

// Resume is not supported; goka never calls it.
func (g *consumerGroup) Resume(map[string][]int32) {}

// PauseAll is not supported; goka never calls it.
func (g *consumerGroup) PauseAll() {}

// ResumeAll is not supported; goka never calls it.
func (g *consumerGroup) ResumeAll() {}

// errClaimEnded says that goka stopped to take records in mid-session.
var errClaimEnded = errors.New("exactly: goka stopped working on a partition")
