package window

import (
	"slices"

	"pgregory.net/rapid"
)

// A move is one step of a flow: which of its parts does what is drawn, and what it
// does nothing to is passed over.
type move struct {
	Do              string
	From, Over, To  int
	On, Back, Value int64
	Key             string
}

const (
	flowSources, flowTasks, flowPartitions = 2, 2, 2
	// flowEnd is a time after which nothing is open any more.
	flowEnd = 1_000_000
)

func drawMove(t *rapid.T) move {
	return move{
		Do: rapid.SampledFrom([]string{
			"event", "event", "event", "event", "event", "tick", "tell", "tell", "pass", "pass", "pass", "pass", "pass", "vector", "vector", "forget",
			"read", "read", "read", "read", "read", "arrive", "wake", "wake", "commit", "clock", "abort", "abort", "restart",
		}).Draw(t, "do"),
		From: rapid.IntRange(0, flowSources-1).Draw(t, "from"), Over: rapid.IntRange(0, flowTasks-1).Draw(t, "over"),
		To:   rapid.IntRange(0, flowPartitions-1).Draw(t, "to"),
		On:   10 * rapid.SampledFrom([]int64{0, 0, 1, 1, 2, 5}).Draw(t, "on"),
		Back: 10 * rapid.SampledFrom([]int64{0, 0, 0, 1, 2, 3, 4, 5, 8}).Draw(t, "back"), Value: int64(rapid.IntRange(0, 9).Draw(t, "value")),
		Key: rapid.SampledFrom([]string{"a", "b", "c", "d"}).Draw(t, "key"),
	}
}

// A flow is sources, tasks that pass on what they send, and partitions of windows, with
// a queue between each two of them that is read at any time.
type flow struct {
	*world
	at    [flowSources]int64
	sent  []TryEvent
	heard [flowTasks]*Watermarks
	// toTask is by source and task, toNode by task and partition.
	toTask [flowSources][flowTasks][]record
	toNode [flowTasks][flowPartitions][]record
}

func newFlow(t failer, set *Set, cadence int64) *flow {
	f := &flow{world: newWorld(t, PartitionConfig{
		Set: set, Sources: flowSources, Feeders: []Task{{"task", 0}, {"task", 1}}, CadenceMS: cadence, Limit: 1000,
	}, flowPartitions)}
	for i := range f.heard {
		f.forget(i)
	}
	return f
}

// forget is a task that restarts: it has heard of no source.
func (f *flow) forget(task int) {
	f.heard[task] = NewWatermarks(flowSources, func(source int) []Task { return []Task{{"source", int32(source)}} })
}

// send sends a record of a source to a task.
func (f *flow) send(source, task int, r record) {
	f.toTask[source][task] = append(f.toTask[source][task], r)
}

// tell sends a source's time to all tasks.
func (f *flow) tell(source int) {
	own := Sources{f.times.TopicID, slices.Repeat([]int64{Unknown}, flowSources)}
	own.TimesMS[source] = f.times.TimesMS[source]
	for task := range flowTasks {
		f.send(source, task, record{task: Task{"source", int32(source)}, vector: &own})
	}
}

// pass lets a task take a record of a source.
func (f *flow) pass(source, task int) bool {
	queue := &f.toTask[source][task]
	if len(*queue) == 0 {
		return false
	}
	r := (*queue)[0]
	*queue = (*queue)[1:]
	if r.vector != nil {
		f.heard[task].Hear(r.task, *r.vector)
		return true
	}
	to := &f.toNode[task][partitionOf(r.key)]
	*to = append(*to, r)
	return true
}

func partitionOf(key string) int { return int(key[0]) % flowPartitions }

// vector lets a task tell all partitions what it has passed on.
func (f *flow) vector(task int) {
	if s, ok := f.heard[task].Vector(); ok {
		for i := range flowPartitions {
			f.toNode[task][i] = append(f.toNode[task][i], record{task: Task{"task", int32(task)}, vector: clone(s)})
		}
	}
}

func (f *flow) readOne(task, partition int) bool {
	queue := &f.toNode[task][partition]
	if len(*queue) == 0 {
		return false
	}
	f.nodes[partition].take((*queue)[0])
	*queue = (*queue)[1:]
	return true
}

func (f *flow) do(m move) {
	node := f.nodes[m.To]
	switch m.Do {
	case "event":
		f.at[m.From] += m.On
		t := max(0, f.at[m.From]-m.Back)
		f.sent = append(f.sent, TryEvent{Source: int64(m.From), TimeMS: t, Key: m.Key, Value: m.Value})
		e := &Event{TimeMS: t, StreamTimeMS: f.stamp(m.From, t), Value: valueOf(m.Value)}
		f.send(m.From, m.Over, record{key: m.Key, event: e})
	case "tick":
		// A tick is a time of the source without an event.
		f.at[m.From] += m.On
		f.stamp(m.From, f.at[m.From])
		f.sent = append(f.sent, TryEvent{Source: int64(m.From), TimeMS: f.at[m.From], Key: tickKey})
	case "tell":
		f.tell(m.From)
	case "pass":
		f.pass(m.From, m.Over)
	case "vector":
		f.vector(m.Over)
	case "forget":
		f.forget(m.Over)
	case "read":
		f.readOne(m.Over, m.To)
	case "arrive":
		f.arrive()
	case "wake":
		node.wake()
	case "commit":
		node.commit()
	case "clock":
		// The time of day goes on between transactions, so that what is read again is
		// read at the same time.
		for _, n := range f.nodes {
			n.commit()
		}
		f.now += m.On
	case "abort":
		node.due()
		node.abort()
	case "restart":
		node.restart()
	}
}

// arrive lets everything arrive.
func (f *flow) arrive() {
	for source := range flowSources {
		f.tell(source)
		for task := range flowTasks {
			for f.pass(source, task) {
			}
		}
	}
	for task := range flowTasks {
		f.vector(task)
		for partition := range flowPartitions {
			for f.readOne(task, partition) {
			}
		}
	}
}

// drain lets everything arrive, and what is due by then be woken.
func (f *flow) drain() {
	f.arrive()
	for _, n := range f.nodes {
		n.settle()
	}
}

// finish closes everything.
func (f *flow) finish() {
	for source := range flowSources {
		f.stamp(source, flowEnd)
	}
	f.drain()
}
