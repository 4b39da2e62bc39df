package produce

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"
)

// A Range is a run of offsets of one partition of uploads, both ends included.
type Range struct {
	Partition   int32
	First, Last int64
}

// A Lookup calls found for every offset of the ranges, and perhaps for others,
// whose row is queryable.
type Lookup func(ctx context.Context, ranges []Range, found func(partition int32, offset int64)) error

// Timing of a [Tracker].
const (
	// DefaultEvery is how often a tracker looks.
	DefaultEvery = 50 * time.Millisecond
	// lookupShare bounds the share of time that looking takes: a lookup of t is
	// followed by a pause of at least lookupShare·t.
	lookupShare   = 4
	lookupTimeout = 10 * time.Second
)

// A Tracker watches until the row of every acknowledged upload is queryable.
// It looks while uploads are still being sent, so that each latency is that
// upload's own; they are exact to about the interval between two looks.
type Tracker struct {
	lookup Lookup
	every  time.Duration
	cancel context.CancelFunc
	done   chan struct{}
	// changed holds a token when something was found or a look failed.
	changed chan struct{}

	mu      sync.Mutex
	pending map[int32][]Acked // by partition, in the order of offsets
	// waiting is the number of all pending uploads.
	waiting   int
	acked     int
	latencies []time.Duration
	lastErr   error
}

// Track starts a tracker that looks at the given interval (0: [DefaultEvery]).
// It runs until Close or until ctx ends.
func Track(ctx context.Context, lookup Lookup, every time.Duration) *Tracker {
	setDefault(&every, DefaultEvery)
	ctx, cancel := context.WithCancel(ctx)
	t := &Tracker{
		lookup: lookup, every: every, cancel: cancel, done: make(chan struct{}), changed: make(chan struct{}, 1),
		pending: map[int32][]Acked{},
	}
	go t.watch(ctx)
	return t
}

// Acked tells the tracker of an upload. It fits [Config].OnAck and is safe for
// concurrent use. An origin that is waited for already is not counted again.
func (t *Tracker) Acked(a Acked) {
	t.mu.Lock()
	defer t.mu.Unlock()
	of := t.pending[a.Partition]
	at, known := slices.BinarySearchFunc(of, a.Offset, byOffset)
	if known {
		return
	}
	t.pending[a.Partition] = slices.Insert(of, at, a)
	t.waiting++
	t.acked++
}

func byOffset(a Acked, offset int64) int { return cmp.Compare(a.Offset, offset) }

// Close ends the tracker and waits until it has ended.
func (t *Tracker) Close() {
	t.cancel()
	<-t.done
}

// watch looks until ctx ends.
func (t *Tracker) watch(ctx context.Context) {
	defer close(t.done)
	timer := time.NewTimer(t.every)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		begin := time.Now()
		t.look(ctx)
		timer.Reset(max(t.every, lookupShare*time.Since(begin)))
	}
}

// look asks once for what is pending.
func (t *Tracker) look(ctx context.Context) {
	t.mu.Lock()
	ranges := rangesOf(t.pending)
	t.mu.Unlock()
	if len(ranges) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	found := map[int32]map[int64]bool{}
	err := t.lookup(ctx, ranges, func(partition int32, offset int64) {
		if found[partition] == nil {
			found[partition] = map[int64]bool{}
		}
		found[partition][offset] = true
	})
	t.settle(found, err, time.Now())
}

// settle moves what was found from the pending to the queryable.
func (t *Tracker) settle(found map[int32]map[int64]bool, err error, now time.Time) {
	t.mu.Lock()
	t.lastErr = err
	for partition, offsets := range found {
		kept := slices.DeleteFunc(t.pending[partition], func(a Acked) bool {
			if offsets[a.Offset] {
				t.latencies = append(t.latencies, now.Sub(a.SentAt))
				t.waiting--
			}
			return offsets[a.Offset]
		})
		t.pending[partition] = kept
	}
	t.mu.Unlock()
	select {
	case t.changed <- struct{}{}:
	default:
	}
}

// Queryable is the number of uploads whose rows were found so far.
func (t *Tracker) Queryable() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.latencies)
}

// A WaitResult tells what is queryable.
type WaitResult struct {
	Acked     int
	Queryable int
	// Missing are the uploads without a row, oldest first.
	Missing []Acked
	// P50, P99 and Max are the time from sending to queryable; 0 where nothing is.
	P50, P99, Max time.Duration
	// LookupErr is the last look's error, if it failed.
	LookupErr error
}

// Wait waits until everything that was acknowledged before is queryable, at
// most for timeout. Its error is the end of ctx alone: what is missing at the
// deadline stands in the result. Producing must be over.
func (t *Tracker) Wait(ctx context.Context, timeout time.Duration) (WaitResult, error) {
	deadline := time.NewTimer(timeout)
	defer deadline.Stop()
	for {
		t.mu.Lock()
		waiting := t.waiting
		t.mu.Unlock()
		if waiting == 0 {
			return t.Result(), nil
		}
		select {
		case <-t.changed:
		case <-deadline.C:
			return t.Result(), nil
		case <-ctx.Done():
			return t.Result(), context.Cause(ctx)
		}
	}
}

// Result tells how things stand.
func (t *Tracker) Result() WaitResult {
	t.mu.Lock()
	defer t.mu.Unlock()
	result := WaitResult{Acked: t.acked, Queryable: len(t.latencies), LookupErr: t.lastErr}
	for _, of := range t.pending {
		result.Missing = append(result.Missing, of...)
	}
	slices.SortFunc(result.Missing, func(a, b Acked) int { return a.SentAt.Compare(b.SentAt) })
	if len(t.latencies) > 0 {
		sorted := slices.Sorted(slices.Values(t.latencies))
		result.P50, result.P99, result.Max = quantile(sorted, 50), quantile(sorted, 99), sorted[len(sorted)-1]
	}
	return result
}

// quantile is the nearest-rank percentile of sorted values.
func quantile(sorted []time.Duration, percent int) time.Duration {
	rank := (len(sorted)*percent + 99) / 100
	return sorted[max(rank, 1)-1]
}
