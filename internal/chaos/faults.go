package chaos

import (
	"context"
	"fmt"
	"syscall"
	"time"

	"github.com/tintype/tintype/internal/kafkatest"
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

// brokerAway is how long a killed broker stays away: until its controller knows.
// A broker that is back before goes on with transactions while its partitions lose
// their leaders (itself, in its former life), and a partition without a leader
// counts as deleted there: Kafka 4.3.1 then writes no marker, and the partition has
// an open transaction for ever.
const brokerAway = kafkatest.Session + 2*time.Second

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
	case KillBroker:
		l.brokerBusy.Lock()
		defer l.brokerBusy.Unlock()
		l.hit(l.target(ctx, func() (bool, bool) { return l.kafka.txns.of(""), false }))
		if err := l.broker.Kill(); err != nil {
			return err
		}
		wait(ctx, brokerAway)
		return l.broker.Restart(context.WithoutCancel(ctx))
	case KillClickHouse, KillBetweenTables, ClickHouseDown:
		l.clickHouseBusy.Lock()
		defer l.clickHouseBusy.Unlock()
		return l.strikeClickHouse(ctx, f)
	case SlowNetwork:
		return l.slowNetwork(ctx, f.For)
	case Poison, Null, Oversize, Slow:
		return l.sender().bad(context.WithoutCancel(ctx), f.Kind, l.options.Seed+uint64(f.At))
	case Recreate:
		return nil // The run does it, between two streams.
	}
	return fmt.Errorf("chaos: there is no fault %q", f.Kind)
}

// strikeWorker executes a fault of one worker, which nobody else works on.
func (l *lab) strikeWorker(ctx context.Context, f Fault, w *worker) error {
	instance := w.instance()
	hits := func() (bool, bool) { return l.kafka.txns.of(instance), w.clickHouse.inFlight() }
	kill := func() error {
		l.hit(hits())
		if err := w.kill(ctx); err != nil {
			return err
		}
		l.kafka.txns.died(instance)
		return w.start()
	}
	pause := func() error {
		if err := w.signal(syscall.SIGSTOP, false); err != nil {
			return fmt.Errorf("chaos: pause %s: %w", w.name, err)
		}
		wait(ctx, f.For)
		if err := w.signal(syscall.SIGCONT, false); err != nil {
			return fmt.Errorf("chaos: let %s go on: %w", w.name, err)
		}
		return nil
	}
	done := make(chan error, 1)
	switch f.Kind {
	case KillWorker:
		l.target(ctx, hits)
		return kill()
	case KillBeforeCommit:
		l.kafka.txns.arm(instance, func() bool { done <- kill(); return false })
	case PauseWorker:
		return pause()
	case PauseBeforeCommit:
		l.kafka.txns.arm(instance, func() bool { done <- pause(); return true })
	case PauseInsideInsert:
		w.clickHouse.set(func(p *clickHouseProxy) { p.rows = func() { done <- pause() } })
	case LoseAnswer:
		w.clickHouse.set(func(p *clickHouseProxy) { p.lose = func() { done <- nil } })
	default:
		return fmt.Errorf("chaos: %q strikes no worker", f.Kind)
	}
	select {
	case err := <-done:
		return err
	case <-time.After(f.For + 30*time.Second): // The worker has nothing to do.
	case <-ctx.Done():
	}
	l.kafka.txns.disarm(instance)
	w.clickHouse.set(func(p *clickHouseProxy) { p.rows, p.lose = nil, nil })
	select {
	case err := <-done:
		return err
	default:
		return errMissed
	}
}

// errMissed says that there was nothing to strike.
var errMissed = fmt.Errorf("chaos: there was nothing to strike")

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
	inFlight := func() (bool, bool) {
		for _, w := range l.workers {
			if w.clickHouse.inFlight() {
				return false, true
			}
		}
		return false, false
	}
	switch f.Kind {
	case KillClickHouse:
		l.hit(l.target(ctx, inFlight))
		return l.clickHouse.Kill() // It is started again at once.
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

// killBetweenTables kills ClickHouse once it has answered an insert into
// renditions, which the same flush's insert into uploads follows.
func (l *lab) killBetweenTables(ctx context.Context) error {
	struck := make(chan error, 1)
	landed := func(table string) {
		if table != "renditions" {
			return
		}
		select {
		case struck <- l.clickHouse.Kill():
			l.hit(false, true)
		default:
		}
	}
	all := func(f func(string)) {
		for _, w := range l.workers {
			w.clickHouse.set(func(p *clickHouseProxy) { p.landed = f })
		}
	}
	var once bool
	all(func(table string) {
		l.mu.Lock()
		first := !once && table == "renditions"
		once = once || first
		l.mu.Unlock()
		if first {
			landed(table)
		}
	})
	defer all(nil)
	select {
	case err := <-struck:
		return err
	case <-time.After(30 * time.Second):
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
