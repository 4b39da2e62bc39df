package exactly

import (
	"maps"
	"time"
)

// growth bounds how much faster than proven the next poll may be.
const growth = 8

// budget decides how many records one transaction may hold, from the measured
// service time: whatever is polled is committed by End, so it has to finish in
// time. It starts at one record and grows with what was finished. Not safe for
// concurrent use.
type budget struct {
	limit time.Duration // what a transaction may spend
	// aim is what it should spend, where records are prepared: then few records
	// keep all processors busy, and who waits for the commit waits for less.
	// 0: limit.
	aim     time.Duration
	max     int
	service float64 // ns per record of one partition (of all, where records are prepared), moving average
	proven  int     // records finished since the start or the last timeout
	slow    slowRecords
	// suspects are the partitions in which a record may be too slow alone, each
	// with the offset of the last record before it that was done; -1: none was.
	suspects map[topicPartition]int64
}

func newBudget(cfg Config) *budget {
	b := &budget{limit: cfg.TransactionTimeout / 3, max: cfg.MaxPollRecords}
	if cfg.Prepare != nil {
		b.aim = max(cfg.CommitInterval, cfg.Linger)
	}
	return b
}

// aimRecords is how many records a transaction holds at least where there are
// that many: its end leaves processors idle, and its commit all of them.
const aimRecords = 8

// bound is what a transaction may spend when more is there than fits.
func (b *budget) bound() time.Duration {
	if b.aim == 0 {
		return b.limit
	}
	return min(b.limit, max(b.aim, time.Duration(aimRecords*b.service)))
}

// observe records that n records on parallel partitions took d.
func (b *budget) observe(n, parallel int, d time.Duration) {
	if n <= 0 {
		return
	}
	sample := float64(d) * float64(max(parallel, 1)) / float64(n)
	switch {
	case b.proven == 0:
		b.service = sample
	case sample > b.service: // grow fast, shrink slowly
		b.service = (b.service + sample) / 2
	default:
		b.service = 0.9*b.service + 0.1*sample
	}
	b.proven = min(b.proven+n, b.max)
}

// timeout says that a transaction took too long: start again with one record.
func (b *budget) timeout() { b.proven = 0 }

// suspect says in which partitions a transaction that took too long was at work,
// and up to where each had come. What was done is read again up to there; the
// record that follows comes in a transaction of its own.
func (b *budget) suspect(done map[topicPartition]int64) {
	if b.suspects == nil {
		b.suspects = map[topicPartition]int64{}
	}
	maps.Copy(b.suspects, done)
}

// committed clears the partitions whose suspect was finished.
func (b *budget) committed(next map[topicPartition]committedOffset) {
	for tp, c := range next {
		if done, ok := b.suspects[tp]; ok && c.offset > done+1 {
			delete(b.suspects, tp)
		}
	}
}

// take returns how many more records may be polled into a transaction that is
// age old, has polled some already and still works on pending ones of them.
func (b *budget) take(age time.Duration, polled, pending int) int {
	n := b.max - pending
	if b.proven == 0 {
		n = 1 - polled // Alone, so that it is known which one is too slow.
	} else {
		n = min(n, growth*b.proven-pending)
		if b.service > 0 {
			left := float64(b.bound()-age) - float64(pending)*b.service
			n = min(n, int(min(left/b.service, float64(b.max))))
		}
	}
	if n < 1 && pending == 0 && age == 0 {
		return 1 // a record that exceeds the budget alone must still be tried
	}
	return max(n, 0)
}
