package chaos

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// attempts is how often a fault that finds nothing to strike is tried.
const attempts = 3

// execute sends uploads and executes the plan, whose clock stands still while a
// topic is created anew.
func (l *lab) execute(ctx context.Context, plan []Fault, r *Result) error {
	var (
		running sync.WaitGroup
		mu      sync.Mutex // over what the faults note in r
		began   = time.Now()
		senders = l.stream(ctx)
	)
	// The faults end while uploads go on, so that each finds something to strike.
	settle := func() error {
		running.Wait()
		return senders()
	}
	for _, f := range plan {
		wait(ctx, time.Until(began.Add(f.At)))
		if ctx.Err() != nil {
			return errors.Join(ctx.Err(), settle())
		}
		if f.Kind == Recreate {
			paused := time.Now()
			l.options.Say("%6s  %s: waiting until all is done", f.At.Round(time.Second), f.Kind)
			if err := settle(); err != nil {
				return err
			}
			if err := l.awaitDrained(ctx, drainPatience); err != nil {
				r.Troubles = append(r.Troubles, fmt.Sprintf("%s: %v", f.Kind, err))
				return nil
			}
			if err := l.merged.merge(ctx, l.clickHouse.Native()); err != nil {
				return err
			}
			if err := l.recreate(ctx); err != nil {
				return err
			}
			r.Faults[f.Kind]++
			senders = l.stream(ctx)
			began = began.Add(time.Since(paused))
			l.options.Say("        %s: done in %v", f.Kind, time.Since(paused).Round(time.Second))
			continue
		}
		running.Go(func() {
			l.options.Say("%6s  %s%s", f.At.Round(time.Second), f.Kind, l.victim(f))
			var err error
			for range attempts {
				if err = l.strike(ctx, f); !errors.Is(err, errMissed) {
					break
				}
			}
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				r.Faults[f.Kind]++
			case ctx.Err() == nil && !errors.Is(err, errMissed):
				r.Troubles = append(r.Troubles, fmt.Sprintf("%s: %v", f.Kind, err))
			}
		})
	}
	return settle()
}

// stream sends uploads until the function that it returns is called, which waits
// for the answers.
func (l *lab) stream(ctx context.Context) (end func() error) {
	streaming, cancel := context.WithCancel(ctx)
	ended, u := make(chan error, 1), l.uploads
	go func() { ended <- u.stream(streaming, l.options.Rate) }()
	return func() error {
		cancel()
		if err := <-ended; err != nil {
			return err
		}
		flushing, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainPatience)
		defer cancel()
		return u.flush(flushing)
	}
}

// victim names the worker of a fault that strikes one.
func (l *lab) victim(f Fault) string {
	switch f.Kind {
	case KillWorker, KillBeforeCommit, PauseWorker, PauseBeforeCommit, PauseInsideInsert, LoseAnswer, StallTransform:
		return ", " + l.workers[f.Worker].name
	default:
		return ""
	}
}
