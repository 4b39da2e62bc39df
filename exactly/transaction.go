package exactly

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// transaction is one turn of the protocol: poll, deliver, every record marked,
// BeforeCommit, End, flush of the tables. It returns errAborted or errDrained
// when the session is to end without a failure.
func (s *session) transaction(drain context.Context) error {
	if err := s.m.link.begin(); err != nil {
		return fmt.Errorf("exactly: begin a transaction: %w", err)
	}
	t := &turn{s: s, next: map[topicPartition]committedOffset{}}
	t.askEnds()
	if err := t.gather(drain); err != nil {
		return err
	}
	if len(t.next) == 0 {
		return errDrained // Only the end of work leaves a turn empty.
	}
	if err := t.settle(); err != nil {
		return err
	}
	if hook := s.a.cfg.Hooks.BeforeCommit; hook != nil {
		ctx, cancel := context.WithDeadline(s.ctx, t.deadline)
		returned := s.m.flushing()
		err := hook(context.WithValue(ctx, turnKey{}, s))
		returned()
		cancel()
		if err != nil {
			if IsPermanent(err) {
				return err
			}
			s.a.cfg.Log.Error("the hook BeforeCommit failed, the transaction is aborted", slog.Any("error", err))
			s.troubled = true
			return errAborted
		}
	}
	if err := t.commit(); err != nil {
		return err
	}
	if drain.Err() != nil {
		if err := s.m.link.begin(); err != nil {
			return fmt.Errorf("exactly: begin a transaction: %w", err)
		}
		return errDrained
	}
	return nil
}

// turn is one transaction.
type turn struct {
	s *session
	// first is when the first record came, deadline when the transaction must
	// have ended.
	first, deadline time.Time
	records         int
	// next are the offsets that the transaction will commit.
	next map[topicPartition]committedOffset
	// ends are the records with which a partition's part must end (see
	// Hooks.EndWith); ended says that one of them was read.
	ends  map[topicPartition]int64
	ended bool
	// alone says that the transaction is to have one record.
	alone bool
}

// askEnds asks Hooks.EndWith, and ends before what may be too slow.
func (t *turn) askEnds() {
	t.ends = map[topicPartition]int64{}
	for tp := range t.s.claims {
		if hook := t.s.a.cfg.Hooks.EndWith; hook != nil {
			if offset, ok := hook(tp.topic, tp.partition); ok {
				t.ends[tp] = offset
			}
		}
		done, ok := t.s.a.budget.suspects[tp]
		switch {
		case !ok:
		case done >= t.s.as.committed[tp].offset:
			t.ends[tp] = done
		default:
			t.alone = true
		}
	}
}

// gather polls and delivers until the transaction should be committed: it is
// old enough, its budget is spent, or there is nothing more to read.
func (t *turn) gather(drain context.Context) error {
	s := t.s
	for {
		if drain.Err() != nil {
			return nil //nolint:nilerr // What was gathered is committed.
		}
		if !s.m.current(s.as) {
			return errAborted
		}
		wait := 500 * time.Millisecond // Looks at drain and the assignment so often when idle.
		want := s.a.budget.take(0, 0, 0)
		outstanding := int(s.outstanding.Load())
		if !t.first.IsZero() {
			age := time.Since(t.first)
			if age >= max(s.a.cfg.CommitInterval, s.a.cfg.Linger) {
				return nil
			}
			if want = s.a.budget.take(age, t.records, outstanding); want == 0 {
				return nil
			}
			wait = max(s.a.cfg.CommitInterval, s.a.cfg.Linger) - age
			if outstanding == 0 {
				wait = max(s.a.cfg.Linger-age, 0)
			}
		}
		if t.ended || (t.alone && t.records > 0) {
			return nil
		}
		if len(t.ends) > 0 || t.alone {
			want = 1 // Whatever is polled is committed, and nobody knows how many records there are before the end.
		}
		fetched, err := t.poll(drain, want, wait)
		if err != nil {
			return err
		}
		if fetched == 0 && !t.first.IsZero() && s.outstanding.Load() == 0 && time.Since(t.first) >= s.a.cfg.Linger {
			return nil // Drained.
		}
	}
}

// poll takes what is there, waiting for it at most as long as nothing else needs
// attention: a claim that ended, a changed assignment, the last record marked.
func (t *turn) poll(drain context.Context, want int, wait time.Duration) (int, error) {
	s := t.s
	ctx, cancel := context.WithTimeout(s.ctx, max(wait, time.Millisecond))
	defer cancel()
	stop := context.AfterFunc(drain, cancel)
	defer stop()
	woken := make(chan error, 1)
	watch, unwatch := context.WithCancel(ctx)
	defer unwatch()
	go func() {
		defer close(woken)
		select {
		case <-watch.Done():
		case <-s.marked:
			cancel()
		case <-s.m.changed:
			cancel()
		case <-s.exited:
			woken <- errClaimEnded
			cancel()
		}
	}()
	fetches := s.m.link.poll(ctx, want)
	unwatch()
	if err := <-woken; err != nil {
		return 0, err
	}
	for _, fe := range fetches.Errors() {
		if errors.Is(fe.Err, context.DeadlineExceeded) || errors.Is(fe.Err, context.Canceled) {
			continue
		}
		return 0, s.fetchError(fe)
	}
	count := fetches.NumRecords()
	if count == 0 {
		return 0, nil
	}
	if t.first.IsZero() {
		t.first = time.Now()
		t.deadline = t.first.Add(s.a.cfg.TransactionTimeout * 9 / 10)
	}
	t.records += count
	if s.a.cfg.Delivery == AtMostOnce {
		if err := t.commitFirst(fetches); err != nil {
			return 0, err
		}
	}
	return count, t.deliver(fetches)
}

// commitFirst commits what was polled, before any of it is delivered.
func (t *turn) commitFirst(fetches kgo.Fetches) error {
	next := map[topicPartition]committedOffset{}
	for iter := fetches.RecordIter(); !iter.Done(); {
		r := iter.Next()
		next[topicPartition{r.Topic, r.Partition}] = committedOffset{offset: r.Offset + 1}
	}
	ctx, cancel := context.WithDeadline(t.s.ctx, t.deadline)
	defer cancel()
	return t.commitOffsets(ctx, next)
}

// deliver hands records to goka, in order within each partition.
func (t *turn) deliver(fetches kgo.Fetches) error {
	s := t.s
	s.outstanding.Add(int64(fetches.NumRecords()))
	s.a.cfg.Status.inFlight.Add(int64(fetches.NumRecords()))
	for iter := fetches.RecordIter(); !iter.Done(); {
		r := iter.Next()
		tp := topicPartition{r.Topic, r.Partition}
		c, held := s.claims[tp]
		if !held {
			return errAborted // Of an assignment that is not set up yet.
		}
		t.next[tp] = committedOffset{offset: r.Offset + 1}
		if end, ok := t.ends[tp]; ok && r.Offset >= end {
			t.ended = true
		}
		if s.preparation != nil {
			s.preparation.begin(s.ctx, r, s.a.budget.slow.has(recordID{r.Topic, r.Partition, r.Offset}))
			c.queue <- r
			continue
		}
		select {
		case c.messages <- message(r):
		case <-s.exited:
			return errClaimEnded
		}
	}
	return nil
}

// settle waits until every delivered record is marked.
func (t *turn) settle() error {
	s := t.s
	timeout := time.NewTimer(time.Until(t.deadline))
	defer timeout.Stop()
	for s.outstanding.Load() > 0 {
		select {
		case <-s.marked:
		case <-s.exited:
			return errClaimEnded
		case <-timeout.C:
			return t.tooSlow()
		}
	}
	// Prepared records share the processors, whatever their partitions; others
	// are done one after another within each.
	parallel := 1
	if s.preparation == nil {
		partitions := map[int32]bool{}
		for tp := range t.next {
			partitions[tp.partition] = true
		}
		parallel = len(partitions)
	}
	s.a.budget.observe(t.records, parallel, time.Since(t.first))
	return nil
}

// tooSlow ends a transaction that would be fenced. The records that it was at
// work on come alone the next time. One that is too slow alone is told so when it
// comes once more (see TooSlow), and is named when that does not help.
func (t *turn) tooSlow() error {
	s := t.s
	suspects := map[topicPartition]int64{}
	for tp, c := range t.next {
		done := s.claims[tp].done.Load()
		if done+1 < c.offset {
			suspects[tp] = done
		}
	}
	s.a.budget.suspect(suspects)
	s.troubled = true
	if t.records == 1 {
		for tp, c := range t.next {
			id := recordID{tp.topic, tp.partition, c.offset - 1}
			if !s.a.budget.slow.add(id) {
				return &TooSlowError{Topic: id.topic, Partition: id.partition, Offset: id.offset}
			}
			s.a.cfg.Log.Warn("a record alone exceeds the transaction timeout", slog.String("topic", id.topic),
				slog.Int("partition", int(id.partition)), slog.Int64("offset", id.offset))
		}
		return errAborted
	}
	s.a.cfg.Log.Warn("a transaction took too long and is aborted", slog.Int("records", t.records))
	return errAborted
}

// commit ends the transaction with the offsets of its records.
func (t *turn) commit() error {
	s := t.s
	began := time.Now()
	// No transaction commits without a consumed offset: only the offsets fence a
	// member that was given up on.
	if len(t.next) == 0 {
		panic("exactly: a transaction without a consumed offset")
	}
	ctx, cancel := context.WithDeadline(s.ctx, t.deadline.Add(s.a.cfg.TransactionTimeout))
	defer cancel()
	if s.a.cfg.Delivery != AtMostOnce { // Which did it before it delivered them.
		if err := s.a.writeChangelog(ctx, s.m.link); err != nil {
			return t.refused(err)
		}
		if err := t.commitOffsets(ctx, t.next); err != nil {
			return err
		}
	}
	if err := s.a.flushStores(); err != nil {
		return err
	}
	s.a.budget.committed(t.next)
	for tp, c := range t.next {
		s.a.budget.slow.settled(tp, c.offset)
	}
	if s.preparation != nil {
		s.preparation.end()
	}
	s.progressed = true
	status := s.a.cfg.Status
	status.committed.Add(1)
	status.records.Add(uint64(t.records))
	status.lastCommit.Store(time.Now().UnixNano())
	status.pauseNS.Add(int64(time.Since(began)))
	status.setError(nil)
	if hook := s.a.cfg.Hooks.Committed; hook != nil {
		hook()
	}
	return nil
}

// commitOffsets makes offsets, with their metadata, the group's.
func (t *turn) commitOffsets(ctx context.Context, next map[topicPartition]committedOffset) error {
	s := t.s
	if hook := s.a.cfg.Hooks.Metadata; hook != nil {
		for tp, c := range next {
			c.metadata = hook(tp.topic, tp.partition)
			next[tp] = c
		}
	}
	committed, err := s.m.link.commit(ctx, next, s.lineageOf(next))
	switch {
	case err != nil:
		return t.refused(err)
	case !committed:
		s.troubled = s.m.current(s.as) // Else it is the assignment that changed.
		return errAborted
	}
	s.m.commitTo(s.as, next)
	maps.Copy(s.as.committed, next)
	return nil
}

// refused says what became of a commit.
func (t *turn) refused(err error) error {
	if isFenced(err) {
		t.s.a.budget.timeout()
		return fmt.Errorf("exactly: commit: fenced, or timed out by the broker: %w", err)
	}
	return fmt.Errorf("exactly: commit: %w", err)
}
