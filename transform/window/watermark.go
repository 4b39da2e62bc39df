package window

import "slices"

// A Task is one partition of a stage: whatever instance runs it.
type Task struct {
	Stage     string
	Partition int32
}

// Sources are the partitions of one topic, by its id.
type Sources struct {
	TopicID [16]byte
	// TimesMS is the stream time of each partition, Unknown where it is not known.
	TimesMS []int64
}

// Watermarks combines the vectors that tasks send down one partition: for each
// source the least of what all tasks say that can feed it. A vector promises that
// every record that its task sends later has at least these stream times. What was
// heard since the last Commit can be rolled back: it is heard again then.
type Watermarks struct {
	sources int
	// feeds are the tasks that can send records of a source, by source; nil: all tasks.
	feeds func(source int) []Task
	heard map[Task]Sources
	// journal is what was heard of a task as of the last commit, once it has told more.
	journal map[Task]Sources
}

// NewWatermarks makes one for a number of sources. feeds names the tasks that can
// send records of a source.
func NewWatermarks(sources int, feeds func(source int) []Task) *Watermarks {
	return &Watermarks{sources: sources, feeds: feeds, heard: map[Task]Sources{}, journal: map[Task]Sources{}}
}

// Hear takes in a task's vector. A task never takes back what it has promised; of
// another topic than before, it promises anew.
func (w *Watermarks) Hear(task Task, s Sources) {
	old, ok := w.heard[task]
	times := slices.Repeat([]int64{Unknown}, w.sources)
	copy(times, s.TimesMS)
	if ok && old.TopicID == s.TopicID {
		for i, t := range old.TimesMS {
			times[i] = max(times[i], t)
		}
	}
	if _, noted := w.journal[task]; !noted {
		w.journal[task] = old
	}
	w.heard[task] = Sources{TopicID: s.TopicID, TimesMS: times}
}

// Commit makes lasting what was heard.
func (w *Watermarks) Commit() { clear(w.journal) }

// Rollback forgets what was heard since the last commit.
func (w *Watermarks) Rollback() {
	for task, old := range w.journal {
		if old.TimesMS == nil {
			delete(w.heard, task)
		} else {
			w.heard[task] = old
		}
	}
	clear(w.journal)
}

// Vector is the combined time of each source of the topic that the feeders of the
// first source tell of; ok is false where nobody has told anything. A source that
// not all of its feeders have told, or of another topic, is Unknown.
func (w *Watermarks) Vector() (s Sources, ok bool) {
	for source := range w.sources {
		for _, task := range w.feeds(source) {
			if h, heard := w.heard[task]; heard && !ok {
				s = Sources{TopicID: h.TopicID, TimesMS: slices.Repeat([]int64{Unknown}, w.sources)}
				ok = true
			}
		}
	}
	if !ok {
		return Sources{}, false
	}
	for source := range w.sources {
		s.TimesMS[source] = w.source(source, s.TopicID)
	}
	return s, true
}

// source is the least time that the feeders of a source tell.
func (w *Watermarks) source(source int, topic [16]byte) int64 {
	least, first := int64(Unknown), true
	for _, task := range w.feeds(source) {
		h, heard := w.heard[task]
		if !heard || h.TopicID != topic {
			return Unknown
		}
		if t := h.TimesMS[source]; first || t < least {
			least, first = t, false
		}
	}
	return least
}

// Least is the least time of all sources: the watermark. Unknown where one is not
// known.
func (s Sources) Least() int64 {
	if len(s.TimesMS) == 0 {
		return Unknown
	}
	return slices.Min(s.TimesMS)
}

// Equal reports whether two vectors are the same.
func (s Sources) Equal(o Sources) bool {
	return s.TopicID == o.TopicID && slices.Equal(s.TimesMS, o.TimesMS)
}
