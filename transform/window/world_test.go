package window

import (
	"maps"
	"slices"
)

// A world is a stage of windows in memory, with all that stands around it: sources
// that stamp what they send, tasks that send vectors, and partitions that read,
// commit, abort, restart and move. It does to the engine what the stage does.
type world struct {
	t      failer
	config PartitionConfig
	// times are the stream times of the sources.
	times Sources
	nodes []*node
	// now is the time of day.
	now int64
}

// A failer is a test, of rapid or not.
type failer interface {
	Helper()
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

// A record is what a partition reads: an event, a vector of a task, or, with
// neither, a key to be woken.
type record struct {
	key    string
	event  *Event
	task   Task
	vector *Sources
}

// An output is what a partition writes: a result, or an event that one window does
// not count.
type output struct {
	key string
	Result
	late *Late
}

// A node is one partition of the stage. What it has read since its last commit it
// reads again after an abort or a restart.
type node struct {
	world     *world
	instance  string
	set       *Set
	partition *Partition
	// read is what was read since the last commit, written and changed what came of it.
	read    []record
	written []output
	changed map[string][]byte
	// loop is the keys that will be woken, and what is not read of them yet.
	taken, loop []string

	// All of this outlives a restart.
	state     map[string][]byte
	watermark int64
	results   []output
}

func newWorld(t failer, c PartitionConfig, partitions int) *world {
	w := &world{t: t, config: c, times: Sources{TopicID: [16]byte{'A'}, TimesMS: slices.Repeat([]int64{Unknown}, c.Sources)}}
	for range partitions {
		n := &node{world: w, instance: "a", state: map[string][]byte{}, watermark: Unknown}
		n.recover()
		w.nodes = append(w.nodes, n)
	}
	return w
}

// stamp advances the stream time of a source.
func (w *world) stamp(source int, t int64) int64 {
	w.times.TimesMS[source] = max(w.times.TimesMS[source], t)
	return w.times.TimesMS[source]
}

// clone copies a vector, as sending it does.
func clone(s Sources) *Sources { return &Sources{s.TopicID, slices.Clone(s.TimesMS)} }

// load decodes a key anew for each record: nothing lives in memory alone.
func (n *node) load(key string) *Key {
	data, ok := n.changed[key]
	if !ok {
		data = n.state[key]
	}
	k, err := DecodeKey(data, n.set)
	if err != nil {
		n.world.t.Fatal(err)
	}
	return k
}

// take reads one record and returns what it wrote.
func (n *node) take(r record) []output {
	n.read = append(n.read, r)
	if r.vector != nil {
		n.partition.Hear(r.task, *r.vector)
		return nil
	}
	var (
		written []output
		results []Result
		late    []Late
		k       = n.load(r.key)
	)
	if r.event != nil {
		results, late = n.partition.Add(r.key, k, n.set.All(), r.event, n.world.now)
	} else {
		results = n.partition.Wake(r.key, k, n.world.now)
	}
	for _, l := range late {
		written = append(written, output{key: r.key, late: &l})
	}
	for _, result := range results {
		written = append(written, output{key: r.key, Result: result})
	}
	n.changed[r.key] = k.Encode()
	n.written = append(n.written, written...)
	return written
}

// wake reads what the loop holds.
func (n *node) wake() (written []output) {
	keys := n.loop
	n.loop = nil
	for _, key := range keys {
		written = append(written, n.take(record{key: key})...)
	}
	return written
}

// due takes out the keys that are due, some at a time: they will be in the loop once
// it is committed.
func (n *node) due() {
	for n.partition.IsDue(n.world.now) {
		n.taken = append(n.taken, n.partition.Due(n.world.now, 2)...)
	}
}

// commit returns the keys that are in the loop by it.
func (n *node) commit() []string {
	n.due()
	taken := n.taken
	slices.Sort(taken) // Which of the keys that are due comes first is nobody's promise.
	n.partition.Commit()
	n.loop = append(n.loop, taken...)
	for key, data := range n.changed {
		if data == nil {
			delete(n.state, key)
		} else {
			n.state[key] = data
		}
	}
	n.watermark, n.results = n.partition.Watermark(), append(n.results, n.written...)
	n.begin()
	return taken
}

// begin begins a transaction.
func (n *node) begin() {
	n.read, n.written, n.taken, n.changed = nil, nil, nil, map[string][]byte{}
}

// abort rolls back, and reads again.
func (n *node) abort() []output {
	n.partition.Rollback()
	return n.again()
}

// restart loses what is in memory, and reads again. It has the aggregates that the
// world declares by now.
func (n *node) restart() []output {
	n.recover()
	return n.again()
}

func (n *node) recover() {
	c := n.world.config
	c.WatermarkMS, n.set = n.watermark, c.Set
	n.partition = NewPartition(c)
	read := n.read
	n.begin()
	for _, key := range slices.Sorted(maps.Keys(n.state)) {
		n.partition.Recover(key, n.load(key))
	}
	n.read = read
}

func (n *node) again() (written []output) {
	read := n.read
	n.begin()
	for _, r := range read {
		written = append(written, n.take(r)...)
	}
	return written
}

// settle commits and wakes until nothing is due.
func (n *node) settle() (written []output) {
	for n.commit(); len(n.loop) > 0; n.commit() {
		written = append(written, n.wake()...)
	}
	return written
}

// latest is what a reader of the committed results holds: of each window the result
// of the greatest revision. A revision that does not grow is an error.
func (n *node) latest() map[string]output {
	rows := map[string]output{}
	for _, o := range n.results {
		if o.late != nil {
			continue
		}
		id := o.Aggregate.Name() + " " + o.key + " " + o.Aggregate.show(o.Bounds)
		if old, ok := rows[id]; ok && (old.Revision >= o.Revision || old.Final || old.Retracted) {
			n.world.t.Fatalf("%s: revision %d comes after %d", id, o.Revision, old.Revision)
		}
		rows[id] = o
	}
	return rows
}
