package chaos

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/tintype/tintype/internal/kafkatest"
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
	// StallTransform keeps from a worker's transform what it reads, and no heartbeat: its
	// partitions stand still and stay where they are.
	StallTransform Kind = "stall transform"
)

// Kinds lists all faults. A new one goes to the end, or the seeds of old have other plans.
func Kinds() []Kind {
	return []Kind{
		KillWorker, KillBeforeCommit, PauseWorker, PauseBeforeCommit, PauseInsideInsert, JoinLeave, KillBroker, KillClickHouse, KillBetweenTables,
		ClickHouseDown, LoseAnswer, SlowNetwork, Poison, Null, Oversize, Slow, Recreate, StallTransform,
	}
}

// A Fault is one event of a plan.
type Fault struct {
	At   time.Duration // since the begin
	Kind Kind
	// Worker is the index of the worker that it strikes, where it strikes one.
	Worker int
	// For is how long it lasts, or what was killed stays away.
	For time.Duration
}

// PerKind is how often each fault strikes in a run of some length: 20 times in an
// hour, and once at least.
func PerKind(length time.Duration) int { return max(1, int(length/(3*time.Minute))) }

// lasting is how long a fault lasts in a phase of some length.
func lasting(kind Kind, phase time.Duration, r *rand.Rand) time.Duration {
	switch kind {
	case StallTransform: // In a short run, still longer than a session and a window.
		if phase < longPhase {
			return 15 * time.Second
		}
		return time.Minute
	case PauseWorker, PauseBeforeCommit, PauseInsideInsert, ClickHouseDown:
		return 30 * time.Second
	case JoinLeave:
		return 15 * time.Second
	case SlowNetwork:
		return 10 * time.Second
	case KillWorker, KillBeforeCommit:
		// At once, or so late that the others have gone on without it.
		return time.Duration(r.IntN(2)) * 12 * time.Second
	case KillBroker:
		// At once, or when its controller has taken it for dead: its partitions
		// lose their leader after it is back, or before.
		return time.Duration(r.IntN(2)) * (kafkatest.Session + 2*time.Second)
	default:
		return 0
	}
}

// longPhase has room for a minute.
const longPhase = 80 * time.Second

// calm is kept before the topic is created anew, so that no fault is under way
// then, and at the begin and the end of a plan.
const calm = 2 * time.Second

// MinLength is the shortest plan: its phases have room for the longest fault.
const MinLength = 90 * time.Second

// Plan is the faults of a run, in order: each kind as often as the others, at
// random moments, overlapping as it happens. It depends on its arguments alone.
// The topic is created anew at even intervals, and no fault lasts beyond one.
func Plan(seed uint64, length time.Duration, workers int) []Fault {
	r := rand.New(rand.NewPCG(seed, uint64(length)))
	n := PerKind(length)
	phase := length / time.Duration(n+1)
	var plan []Fault
	for _, kind := range Kinds() {
		for i := range n {
			f := Fault{Kind: kind, Worker: r.IntN(workers), For: lasting(kind, phase, r)}
			if kind == Recreate {
				f.At = phase * time.Duration(i+1)
			} else {
				room := phase - f.For - 2*calm
				f.At = phase*time.Duration(r.IntN(n+1)) + calm + time.Duration(r.Int64N(int64(room)))
			}
			plan = append(plan, f)
		}
	}
	slices.SortStableFunc(plan, func(a, b Fault) int { return cmp.Compare(a.At, b.At) })
	return plan
}
