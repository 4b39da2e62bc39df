package topologies

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/lovoo/goka"

	"github.com/tintype/tintype/event"
	"github.com/tintype/tintype/event/eventpb"
	"github.com/tintype/tintype/exactly"
)

// A stage is one goka group.
type stage interface {
	graph() *goka.GroupGraph
	hooks() exactly.Hooks
}

// A preparing stage has work that can be done before a record's turn.
type preparing interface {
	prepare(in exactly.Input) *exactly.Task
}

// A running stage does something beside its records, until ctx ends. An error ends
// the process.
type running interface {
	run(ctx context.Context) error
}

// A closing stage has something to give up when it ends.
type closing interface {
	close()
}

// stageBase is what the stages share.
type stageBase struct {
	Config
	name event.Stage
	// partitions is the partition count of every topic of the deployment.
	partitions int
	tally      *tally
	// memory is shared by the stages of the process.
	memory  *memory
	ids     topicIDs
	status  *exactly.Status
	trouble trouble
}

// baseHooks tie what the stages share to the transaction.
func (s *stageBase) baseHooks() exactly.Hooks {
	return exactly.Hooks{
		Assigned: func(_ context.Context, claims []exactly.Claim) error {
			s.tally.drop()
			s.trouble.clear()
			s.ids.assign(claims)
			return nil
		},
		BeforeCommit: func(context.Context) error { return s.trouble.met() },
		Committed:    s.tally.commit,
	}
}

// trouble is the first operating error that a callback of the transaction met:
// the blob store is down, say. Failing the callback would end the processor for
// good; trouble aborts the transaction, and its records are read again.
type trouble struct {
	err atomic.Pointer[error]
}

func (t *trouble) meet(err error) { t.err.CompareAndSwap(nil, &err) }

func (t *trouble) clear() { t.err.Store(nil) }

func (t *trouble) met() error {
	if err := t.err.Load(); err != nil {
		return *err
	}
	return nil
}

// bounded is a context for one record's work. What a server keeps waiting is an
// operating error, and has to end before the transaction does: else the record
// would be taken for one that is too slow.
func (s *stageBase) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, s.TransactionTimeout/2)
}

// refuseSlow is the refusal of a record that alone exceeded its transaction.
func (s *stageBase) refuseSlow() *event.Refusal {
	return &event.Refusal{Reason: event.ReasonTooSlow, Detail: fmt.Sprintf("not done within the transaction timeout of %v", s.TransactionTimeout)}
}

// partitionOf is the partition of a key by Kafka's own partitioner.
func partitionOf(key string, partitions int) int32 {
	return int32(int(exactly.Murmur2([]byte(key))&0x7fffffff) % partitions)
}

// end emits an upload's fate, and what it adds to windows.
func (s *stageBase) end(ctx goka.Context, d *eventpb.Developed) {
	s.tally.fate(d.Outcome)
	ctx.Emit(goka.Stream(s.Topics.Developed.Name), d.GetSender().GetUploadId(), d)
	if d.Outcome == eventpb.Outcome_OUTCOME_LOST {
		return // Nobody knows when it was.
	}
	measure := measureOf(d)
	for _, dimension := range s.Windows.Dimensions() {
		if value, ok := valueOf(dimension, d); ok {
			ctx.Emit(goka.Stream(s.Topics.Measures.Name), measureKey(dimension, value), measure)
		}
	}
}

// A death is an upload that cannot be developed.
type death struct {
	stamp                  *eventpb.Stamp
	sender                 *eventpb.Sender
	facts                  *eventpb.Facts
	rawKey                 string
	refusal                *event.Refusal
	extractMS, transformMS *float64
}

// die emits the fate of a dead upload and its dead letter, in one transaction.
func (s *stageBase) die(ctx goka.Context, d death) {
	letter := &eventpb.DeadLetter{
		Stamp: d.stamp, Sender: d.sender, Stage: string(s.name), Reason: string(d.refusal.Reason), Detail: d.refusal.Detail,
		FailedAtMs: s.Now().UnixMilli(),
	}
	if d.rawKey != "" {
		letter.RawKey = &d.rawKey
	}
	s.tally.dead(d.refusal.Reason)
	ctx.Emit(goka.Stream(s.Topics.DeadLetters.Name), d.sender.GetUploadId(), letter)
	s.end(ctx, &eventpb.Developed{
		Stamp: d.stamp, Sender: d.sender, Outcome: eventpb.Outcome_OUTCOME_DEAD, Facts: d.facts,
		ExtractMs: d.extractMS, TransformMs: d.transformMS,
	})
}

// foreign passes over a record that none of our stages wrote: it belongs to no
// upload, so it has no fate. It is logged and counted.
func (s *stageBase) foreign(ctx goka.Context, err error) {
	s.tally.foreign()
	s.Log.Warn("passed over a record that is not ours", slog.String("stage", string(s.name)), slog.String("topic", string(ctx.Topic())),
		slog.Int("partition", int(ctx.Partition())), slog.Int64("offset", ctx.Offset()), slog.Any("error", err))
}

// milliseconds is a duration as rows hold it.
func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
