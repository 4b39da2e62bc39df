package exactly

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"time"

	"github.com/lovoo/goka"
	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/semaphore"
)

// An Input is a record that is in hand and not delivered yet.
type Input struct {
	Topic     string
	Partition int32
	Offset    int64
	Key       string
	Value     []byte // nil for a null value
	Headers   goka.Headers
	Timestamp time.Time
	// Committed reads the value of the record's key in the group's table as of the
	// last commit; nil where there is none, or no table.
	Committed func() ([]byte, error)
}

// A Task is work on a record that can be done before the record's turn.
type Task struct {
	// Key names the work: tasks in hand with one key are done once, and all get
	// the value. Failures are never shared. Empty: the task is this record's own.
	Key string
	// Do does the work. It must be a pure function of the record, but for side
	// effects that can be repeated and left behind (blobs named by content): its
	// transaction may abort. It may run for records whose callback then does
	// without the value. ctx ends with the session.
	Do func(ctx context.Context) (any, error)
}

// Prepare says which work is done on polled records, side by side whatever their
// partitions, before goka's callbacks see them, serially and in order. It runs
// concurrently and returns nil for a record without work.
//
// State that it reads is the last commit's: an earlier record in hand may change
// it. So the callback decides by the live state, and takes the value of
// [Prepared] or does the work itself.
type Prepare func(Input) *Task

// Prepared returns what the record's task came to; ok is false where the record
// had none, and outside of a group that prepares.
func Prepared(ctx goka.Context) (value any, ok bool, err error) {
	p, prepares := ctx.Context().Value(preparationKey{}).(*preparation)
	if !prepares {
		return nil, false, nil
	}
	j := p.find(recordID{string(ctx.Topic()), ctx.Partition(), ctx.Offset()})
	if j == nil || !j.tasked {
		return nil, false, nil
	}
	return j.value, true, j.err
}

type preparationKey struct{}

// recordID names a record within a session.
type recordID struct {
	topic     string
	partition int32
	offset    int64
}

// A job is the preparation of one record; its results are set when done closes.
type job struct {
	done   chan struct{}
	tasked bool
	value  any
	err    error
}

// A flight is one task key's work while it is done, and its value afterwards.
type flight struct {
	done   chan struct{}
	value  any
	failed bool
}

// preparation prepares the records of a session.
type preparation struct {
	plan      Prepare
	committed func(partition int32, key string) ([]byte, error)
	slots     *semaphore.Weighted
	wg        *sync.WaitGroup

	mu      sync.Mutex
	jobs    map[recordID]*job
	flights map[string]*flight
}

func newPreparation(plan Prepare, committed func(int32, string) ([]byte, error), wg *sync.WaitGroup) *preparation {
	return &preparation{
		plan: plan, committed: committed, slots: semaphore.NewWeighted(int64(runtime.GOMAXPROCS(0))), wg: wg,
		jobs: map[recordID]*job{}, flights: map[string]*flight{},
	}
}

func (p *preparation) find(id recordID) *job {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.jobs[id]
}

// begin prepares a record, unless there is to be nothing to prepare; slots are
// given out in the order of the calls.
func (p *preparation) begin(ctx context.Context, r *kgo.Record, nothing bool) {
	j := &job{done: make(chan struct{})}
	if nothing {
		close(j.done)
	}
	p.mu.Lock()
	p.jobs[recordID{r.Topic, r.Partition, r.Offset}] = j
	p.mu.Unlock()
	if nothing {
		return
	}
	p.wg.Go(func() {
		defer close(j.done)
		p.run(ctx, r, j)
	})
}

// end forgets what a transaction prepared: its values are in the state now.
func (p *preparation) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	clear(p.jobs)
	clear(p.flights)
}

func (p *preparation) run(ctx context.Context, r *kgo.Record, j *job) {
	if p.slots.Acquire(ctx, 1) != nil {
		return // The session has ended; nobody asks for the result.
	}
	defer p.slots.Release(1)
	defer func() {
		// As a callback's panic it ends the run: the same record would panic again.
		if reason := recover(); reason != nil {
			j.tasked, j.value, j.err = true, nil, permanent(fmt.Errorf("exactly: prepare %s/%d offset %d: panic: %v", r.Topic, r.Partition, r.Offset, reason))
		}
	}()
	key := string(r.Key)
	task := p.plan(Input{
		Topic: r.Topic, Partition: r.Partition, Offset: r.Offset, Key: key, Value: r.Value, Headers: headers(r), Timestamp: r.Timestamp,
		Committed: func() ([]byte, error) { return p.committed(r.Partition, key) },
	})
	if task == nil {
		return
	}
	j.value, j.err = p.do(ctx, task)
	j.tasked = true
}

// do does a task, or waits for one of the same key. It holds a slot but while it
// waits.
func (p *preparation) do(ctx context.Context, task *Task) (any, error) {
	if task.Key == "" {
		return task.Do(ctx)
	}
	for {
		f, lead := p.join(task.Key)
		if lead {
			return p.lead(ctx, task, f)
		}
		p.slots.Release(1)
		select {
		case <-f.done:
		case <-ctx.Done():
		}
		if err := p.slots.Acquire(context.WithoutCancel(ctx), 1); err != nil {
			return nil, err
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if !f.failed {
			return f.value, nil
		}
	}
}

// join finds the flight of a key, or makes it, which the caller then leads.
func (p *preparation) join(key string) (f *flight, lead bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if f, ok := p.flights[key]; ok {
		return f, false
	}
	f = &flight{done: make(chan struct{})}
	p.flights[key] = f
	return f, true
}

// lead does the work of a flight. A flight that failed is taken off the board
// before anybody learns of it: whoever waits does the work itself.
func (p *preparation) lead(ctx context.Context, task *Task, f *flight) (value any, err error) {
	f.failed = true
	defer func() {
		if f.failed {
			p.mu.Lock()
			delete(p.flights, task.Key)
			p.mu.Unlock()
		}
		close(f.done)
	}()
	value, err = task.Do(ctx)
	f.value, f.failed = value, err != nil
	return value, err
}

// headers are a record's, as goka has them; nil where there are none.
func headers(r *kgo.Record) goka.Headers {
	if len(r.Headers) == 0 {
		return nil
	}
	h := make(goka.Headers, len(r.Headers))
	for _, header := range r.Headers {
		h[header.Key] = header.Value
	}
	return h
}
