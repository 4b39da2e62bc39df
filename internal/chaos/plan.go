package chaos

import (
	"math/rand/v2"
	"slices"
	"time"
)

// A Kind is a fault.
type Kind string

// The faults.
const (
	// KillWorker kills a worker with SIGKILL and starts it again.
	KillWorker Kind = "kill worker"
	// KillBeforeCommit does so when a commit of its is on the way to the broker,
	// which does not get it.
	KillBeforeCommit Kind = "kill before commit"
	// PauseWorker stops a worker with SIGSTOP, and lets it go on.
	PauseWorker Kind = "pause worker"
	// PauseBeforeCommit does so when a commit is on the way to the broker, which
	// gets it when the worker goes on.
	PauseBeforeCommit Kind = "pause before commit"
	// PauseInsideInsert does so when an insert's rows are on the way to ClickHouse,
	// which gets them when the worker goes on.
	PauseInsideInsert Kind = "pause inside insert"
	// JoinLeave starts one more worker, and ends it with SIGTERM.
	JoinLeave Kind = "join and leave"
	// KillBroker kills the broker and starts it again.
	KillBroker Kind = "kill broker"
	// KillClickHouse kills ClickHouse and starts it again.
	KillClickHouse Kind = "kill clickhouse"
	// KillBetweenTables does so when the first of a flush's tables has its rows.
	KillBetweenTables Kind = "kill between tables"
	// ClickHouseDown keeps ClickHouse down for a while.
	ClickHouseDown Kind = "clickhouse down"
	// LoseAnswer lets an insert happen and loses ClickHouse's answer.
	LoseAnswer Kind = "lose answer"
	// SlowNetwork delays all that passes the proxies.
	SlowNetwork Kind = "slow network"
	// Poison sends records that are no uploads.
	Poison Kind = "poison records"
	// Null sends records without a value.
	Null Kind = "null records"
	// Oversize sends records near the limits.
	Oversize Kind = "oversize records"
	// Slow sends photos that take long.
	Slow Kind = "slow records"
	// Recreate deletes the topic uploads, once all is done, and creates it anew.
	Recreate Kind = "recreate topic"
)

// Kinds lists all faults.
func Kinds() []Kind {
	return []Kind{
		KillWorker, KillBeforeCommit, PauseWorker, PauseBeforeCommit, PauseInsideInsert, JoinLeave, KillBroker, KillClickHouse, KillBetweenTables,
		ClickHouseDown, LoseAnswer, SlowNetwork, Poison, Null, Oversize, Slow, Recreate,
	}
}

// A Fault is one event of a plan.
type Fault struct {
	At   time.Duration // since the begin
	Kind Kind
	// Worker is the index of the worker that it strikes, where it strikes one.
	Worker int
	// For is how long it lasts, where it lasts.
	For time.Duration
}

// perKind is how often each fault strikes in a run of some length: 20 times in
// 80 minutes.
func perKind(length time.Duration) int { return max(1, int(length/(4*time.Minute))) }

// lasting is how long a fault lasts.
func lasting(kind Kind) time.Duration {
	switch kind {
	case PauseWorker, PauseBeforeCommit, PauseInsideInsert, ClickHouseDown:
		return 30 * time.Second
	case JoinLeave:
		return 15 * time.Second
	case SlowNetwork:
		return 10 * time.Second
	}
	return 0
}

// Plan is the faults of a run, in order: each kind as often as the others, at
// random moments, overlapping as it happens. It depends on its arguments alone.
func Plan(seed uint64, length time.Duration, workers int) []Fault {
	r := rand.New(rand.NewPCG(seed, uint64(length)))
	var plan []Fault
	for _, kind := range Kinds() {
		n := perKind(length)
		for i := range n {
			f := Fault{Kind: kind, Worker: r.IntN(workers), For: lasting(kind)}
			room := length - f.For - 5*time.Second
			f.At = 5*time.Second + time.Duration(r.Int64N(int64(max(room, time.Second))))
			if kind == Recreate { // Each needs all to be done, so they are far apart.
				f.At = length * time.Duration(i+1) / time.Duration(n+1)
			}
			plan = append(plan, f)
		}
	}
	slices.SortStableFunc(plan, func(a, b Fault) int { return int(a.At - b.At) })
	return plan
}
