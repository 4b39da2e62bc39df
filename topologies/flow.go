package topologies

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/tintype/tintype/event"
	"github.com/tintype/tintype/event/eventpb"
	"github.com/tintype/tintype/exactly"
	"github.com/tintype/tintype/transform/window"
)

// watermarkCadence is how often a stage that has records in hand tells how far it
// has come. One that has none tells every change at once.
const watermarkCadence = 250 * time.Millisecond

// watermarkRepeat is how often a stage that is at work tells even what has not
// changed: for those who began anew meanwhile.
const watermarkRepeat = 10 * time.Second

// A flow follows how far the tasks of a stage have passed on each source, and tells
// it down the topics that their records go on by: in the transaction of those
// records, behind them.
type flow struct {
	*stageBase
	announcements []*announcement
	// feeds names the tasks that can send records of a source to this stage.
	feeds func(source int) []window.Task

	marks marks
	// data says that the open transaction has records that are no control records.
	data atomic.Bool
	// sourced says that it has records of a source itself.
	sourced atomic.Bool

	mu sync.Mutex
	// heard is what each task of this stage was told, by partition.
	heard map[int32]*window.Watermarks
}

// An announcement is what a flow tells some topics.
type announcement struct {
	topics []string
	// circular says that the stage itself reads what it tells: then only a source's own
	// records make it repeat itself, or it would never be at rest.
	circular bool
	// vectors is what there is to tell, of each task.
	vectors func() map[int32]window.Sources
	// told is what was told last, pending what the open transaction tells.
	told, pending map[int32]window.Sources
	at            time.Time
}

// tasksOf are all tasks of a stage.
func tasksOf(stage event.Stage, partitions int) []window.Task {
	tasks := make([]window.Task, partitions)
	for i := range tasks {
		tasks[i] = window.Task{Stage: string(stage), Partition: int32(i)}
	}
	return tasks
}

// assign takes over an assignment of the topic whose partitions are the tasks.
func (f *flow) assign(topic string, claims []exactly.Claim) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.data.Store(false)
	f.sourced.Store(false)
	for _, a := range f.announcements {
		a.told, a.pending = nil, nil
	}
	if f.marks.assign(claims) {
		for _, w := range f.heard {
			w.Rollback()
		}
		return
	}
	f.heard = map[int32]*window.Watermarks{}
	for _, c := range claims {
		if c.Topic == topic {
			f.heard[c.Partition] = window.NewWatermarks(f.partitions, f.feeds)
		}
	}
}

// hooks tie the flow to the transaction of a stage whose tasks are the partitions of
// a topic.
func (f *flow) hooks(topic string) exactly.Hooks {
	hooks := f.baseHooks()
	assigned, before, committed := hooks.Assigned, hooks.BeforeCommit, hooks.Committed
	hooks.Assigned = func(ctx context.Context, claims []exactly.Claim) error {
		f.assign(topic, claims)
		return assigned(ctx, claims)
	}
	hooks.BeforeCommit = func(ctx context.Context) error {
		if err := before(ctx); err != nil {
			return err
		}
		return f.tell(ctx)
	}
	hooks.Metadata = func(topic string, partition int32) string {
		return writeMetadata("mark", f.marks.next(topic, partition))
	}
	hooks.Committed = func() {
		committed()
		f.committed()
	}
	return hooks
}

// watermarks takes in a control record that a task of this stage reads.
func (f *flow) watermarks(partition int32, value []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	w := f.heard[partition]
	return f.hear(value, func(task window.Task, s window.Sources) { w.Hear(task, s) })
}

// vectors is what each task has been told, combined.
func (f *flow) vectors() map[int32]window.Sources {
	f.mu.Lock()
	defer f.mu.Unlock()
	all := make(map[int32]window.Sources, len(f.heard))
	for partition, w := range f.heard {
		if s, ok := w.Vector(); ok {
			all[partition] = s
		}
	}
	return all
}

// tell writes what has changed since it was told last. It belongs to the hook
// BeforeCommit.
func (f *flow) tell(ctx context.Context) error {
	now := f.Now()
	for _, a := range f.announcements {
		if f.data.Load() && now.Sub(a.at) < watermarkCadence {
			continue
		}
		vectors := a.vectors()
		if sameVectors(vectors, a.told) && (now.Sub(a.at) < watermarkRepeat || (a.circular && !f.sourced.Load())) {
			continue
		}
		records, err := f.announce(a.topics, vectors)
		if err != nil {
			return err
		}
		if err := exactly.Produce(ctx, records...); err != nil {
			return err
		}
		a.pending, a.at = vectors, now
	}
	return nil
}

func sameVectors(a, b map[int32]window.Sources) bool {
	if len(a) != len(b) {
		return false
	}
	for partition, s := range a {
		if other, ok := b[partition]; !ok || !s.Equal(other) {
			return false
		}
	}
	return true
}

// announce makes the records that tell vectors to all partitions of topics: one a
// partition, whatever the number of tasks.
func (f *flow) announce(topics []string, vectors map[int32]window.Sources) ([]exactly.Record, error) {
	byTopicID := map[uuid.UUID]*eventpb.Watermarks{}
	for partition, s := range vectors {
		m := byTopicID[s.TopicID]
		if m == nil {
			m = &eventpb.Watermarks{TopicId: s.TopicID[:]}
			byTopicID[s.TopicID] = m
		}
		if v := vectorProto(window.Task{Stage: string(f.name), Partition: partition}, s); len(v.Sources) > 0 {
			m.Tasks = append(m.Tasks, v)
		}
	}
	var records []exactly.Record
	for _, m := range byTopicID {
		if len(m.Tasks) == 0 {
			continue
		}
		for _, topic := range topics {
			for partition := range f.partitions {
				r, err := f.control(event.ControlWatermarks, topic, partition, m)
				if err != nil {
					return nil, err
				}
				records = append(records, r)
			}
		}
	}
	return records, nil
}

// committed makes lasting what was heard and told.
func (f *flow) committed() {
	f.marks.commit()
	f.data.Store(false)
	f.sourced.Store(false)
	for _, a := range f.announcements {
		if a.pending != nil {
			a.told, a.pending = a.pending, nil
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, w := range f.heard {
		w.Commit()
	}
}
