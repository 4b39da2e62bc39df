package chaos

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"
)

// Hits counts the kills, and what they hit.
type Hits struct {
	Kills int `json:"kills"`
	// Open and InFlight are the kills that hit an open transaction, or an insert
	// in flight; Either hit one of the two at least.
	Open     int `json:"open_transaction"`
	InFlight int `json:"insert_in_flight"`
	Either   int `json:"either"`
}

// aim is how long a kill waits for something to hit.
const aim = 3 * time.Second

// hit notes a kill.
func (l *lab) hit(open, inFlight bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.hits.Kills++
	if open {
		l.hits.Open++
	}
	if inFlight {
		l.hits.InFlight++
	}
	if open || inFlight {
		l.hits.Either++
	}
}

// target waits until there is something to hit, for a while.
func (l *lab) target(ctx context.Context, hits func() (open, inFlight bool)) (open, inFlight bool) {
	deadline := time.Now().Add(aim)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		open, inFlight = hits()
		if open || inFlight || time.Now().After(deadline) {
			return open, inFlight
		}
		select {
		case <-ctx.Done():
			return open, inFlight
		case <-tick.C:
		}
	}
}

// strike executes a fault and returns when it is over.
func (l *lab) strike(ctx context.Context, f Fault) error {
	w := l.workers[f.Worker]
	switch f.Kind {
	case KillWorker, KillBeforeCommit, PauseWorker, PauseBeforeCommit, PauseInsideInsert, LoseAnswer:
		w.busy.Lock()
		defer w.busy.Unlock()
		if err := w.revive(); err != nil {
			return err
		}
		return l.strikeWorker(ctx, f, w)
	case JoinLeave:
		return l.joinAndLeave(ctx, f)
	case StallTransform:
		return l.stallTransform(ctx, f)
	case KillBroker:
		l.brokerBusy.Lock()
		defer l.brokerBusy.Unlock()
		defer l.outages.begin()()
		l.hit(l.target(ctx, func() (bool, bool) { return l.kafka.txns.any(), false }))
		if err := l.broker.Kill(); err != nil {
			return err
		}
		wait(ctx, f.For)
		return l.broker.Restart(context.WithoutCancel(ctx))
	case KillClickHouse, KillBetweenTables, ClickHouseDown:
		l.clickHouseBusy.Lock()
		defer l.clickHouseBusy.Unlock()
		defer l.outages.begin()()
		return l.strikeClickHouse(ctx, f)
	case SlowNetwork:
		return l.slowNetwork(ctx, f.For)
	case Poison, Null, Oversize, Slow:
		return l.uploads.bad(context.WithoutCancel(ctx), f.Kind, l.options.Seed+uint64(f.At))
	case Recreate:
		return nil // The run does it, between two streams.
	}
	return fmt.Errorf("chaos: there is no fault %q", f.Kind)
}

// strikeWorker executes a fault of one worker, which nobody else works on.
func (l *lab) strikeWorker(ctx context.Context, f Fault, w *worker) error {
	instance, err := w.instance()
	if err != nil {
		return err
	}
	hits := func() (bool, bool) { return l.kafka.txns.of(instance), w.clickHouse.inFlight() }
	kill := func() error {
		torn := w.clickHouse.tornSoFar()
		if err := w.kill(ctx); err != nil {
			return err
		}
		// What it has open now, nobody is there to end.
		l.hit(l.kafka.txns.of(instance), w.clickHouse.ends(ctx) > torn)
		l.kafka.txns.died(instance)
		wait(ctx, f.For)
		return w.start()
	}
	pause := func() error {
		if err := w.signal(syscall.SIGSTOP, false); errors.Is(err, os.ErrProcessDone) {
			return errMissed // It ended for want of a server.
		} else if err != nil {
			return fmt.Errorf("chaos: pause %s: %w", w.name, err)
		}
		wait(ctx, f.For)
		if err := w.signal(syscall.SIGCONT, false); err != nil {
			return fmt.Errorf("chaos: let %s go on: %w", w.name, err)
		}
		return nil
	}
	done := make(chan error, 1)
	var disarm func() bool
	switch f.Kind {
	case KillWorker:
		l.target(ctx, hits)
		return kill()
	case PauseWorker:
		return pause()
	case KillBeforeCommit:
		l.kafka.txns.arm(instance, func() bool { done <- kill(); return false })
		disarm = func() bool { return l.kafka.txns.disarm(instance) }
	case PauseBeforeCommit:
		l.kafka.txns.arm(instance, func() bool { done <- pause(); return true })
		disarm = func() bool { return l.kafka.txns.disarm(instance) }
	case PauseInsideInsert:
		disarm = w.clickHouse.armRows(func() { done <- pause() })
	case LoseAnswer:
		disarm = w.clickHouse.armLose(func() { done <- nil })
	default:
		return fmt.Errorf("chaos: %q strikes no worker", f.Kind)
	}
	select {
	case err := <-done:
		return err
	case <-time.After(f.For + time.Minute): // The worker has nothing to do.
	case <-ctx.Done():
	}
	if disarm() {
		return errMissed
	}
	return <-done // It has just begun.
}

// errMissed says that there was nothing to strike.
var errMissed = errors.New("chaos: there was nothing to strike")

// joinAndLeave has one more worker for a while.
func (l *lab) joinAndLeave(ctx context.Context, f Fault) error {
	w := l.workers[len(l.workers)-1]
	w.busy.Lock()
	defer w.busy.Unlock()
	if err := w.start(); err != nil {
		return err
	}
	wait(ctx, f.For)
	return w.stop(context.WithoutCancel(ctx), time.Minute)
}

// strikeClickHouse executes a fault of ClickHouse, which nobody else works on.
func (l *lab) strikeClickHouse(ctx context.Context, f Fault) error {
	switch f.Kind {
	case KillClickHouse:
		l.target(ctx, func() (bool, bool) {
			return false, slices.ContainsFunc(l.workers, func(w *worker) bool { return w.clickHouse.inFlight() })
		})
		before := l.torn((*clickHouseProxy).tornSoFar)
		if err := l.clickHouse.Kill(); err != nil { // It is started again at once.
			return err
		}
		l.hit(false, l.torn(func(p *clickHouseProxy) int { return p.ends(ctx) }) > before)
		return nil
	case KillBetweenTables:
		return l.killBetweenTables(ctx)
	default:
		if err := l.clickHouse.Stop(ctx); err != nil {
			return fmt.Errorf("chaos: stop ClickHouse: %w", err)
		}
		wait(ctx, f.For)
		return l.startClickHouse(context.WithoutCancel(ctx))
	}
}

// torn sums up the inserts that ended without an answer.
func (l *lab) torn(of func(*clickHouseProxy) int) int {
	sum := 0
	for _, w := range l.workers {
		sum += of(w.clickHouse)
	}
	return sum
}

// killBetweenTables kills ClickHouse once it has answered an insert into
// renditions, which the same flush's insert into uploads follows.
func (l *lab) killBetweenTables(ctx context.Context) error {
	struck := make(chan error, 1)
	var once sync.Once
	all := func(f func(string)) {
		for _, w := range l.workers {
			w.clickHouse.set(func(p *clickHouseProxy) { p.landed = f })
		}
	}
	all(func(table string) {
		if table == "renditions" {
			once.Do(func() {
				l.hit(false, true) // Half a flush is there, the other half is not.
				struck <- l.clickHouse.Kill()
			})
		}
	})
	defer all(nil)
	select {
	case err := <-struck:
		return err
	case <-time.After(time.Minute):
		return errMissed
	case <-ctx.Done():
		return errMissed
	}
}

// slowNetwork delays everything for a while.
func (l *lab) slowNetwork(ctx context.Context, d time.Duration) error {
	delay := func(d time.Duration) {
		l.kafka.setDelay(d)
		for _, w := range l.workers {
			w.clickHouse.setDelay(d)
		}
	}
	delay(80 * time.Millisecond)
	defer delay(0)
	wait(ctx, d)
	return nil
}

// wait waits, at most as long as ctx lives.
func wait(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
