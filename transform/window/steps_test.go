package window

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// step does one step of a scenario; testdata/README.md describes each.
func (s *scenario) step(command string, args []string) {
	w := s.world
	switch command {
	case "event":
		s.event(args)
	case "tick":
		w.stamp(s.index("p", args[0]), s.at(args[1:]))
	case "vector":
		s.vector(s.task(args[0]), args[1:])
	case "vectors":
		s.vectors()
	case "after":
		w.now += s.number(args[0])
	case "commit":
		for _, i := range s.chosen(args) {
			if keys := w.nodes[i].commit(); len(keys) > 0 {
				s.print("w%d wakes %s", i, strings.Join(keys, ", "))
			}
		}
	case "wake":
		for _, i := range s.chosen(args) {
			s.outputs(w.nodes[i].wake())
		}
	case "settle":
		s.vectors()
		for _, n := range w.nodes {
			s.outputs(n.settle())
		}
	case "abort":
		for _, i := range s.chosen(args) {
			s.reads(i, "")
			w.nodes[i].due()
			s.outputs(w.nodes[i].abort())
		}
	case "restart":
		for _, i := range s.chosen(args) {
			s.recovers(i)
		}
	case "move":
		i := s.index("w", args[0])
		w.nodes[i].instance = args[1]
		s.recovers(i)
	case "aggregate":
		s.aggregate(args)
		w.config.Set = s.set()
	case "undeclare":
		s.aggregates = slices.DeleteFunc(s.aggregates, func(a Aggregate) bool { return a.String() == args[0] })
		w.config.Set = s.set()
	case "topic":
		w.times = Sources{TopicID: [16]byte{args[0][0]}, TimesMS: slices.Repeat([]int64{Unknown}, s.config.Sources)}
	case "open":
		s.open()
	case "results":
		s.results()
	default:
		s.fail("there is no step %q", command)
	}
}

// event sends an event by a source to the partition of its key.
func (s *scenario) event(args []string) {
	source, t, key := s.index("p", args[0]), s.at(args[1:]), args[3]
	e := &Event{TimeMS: t, StreamTimeMS: s.world.stamp(source, t)}
	for _, arg := range args[4:] {
		name, text, _ := strings.Cut(arg, "=")
		switch name {
		case "bytes_in":
			e.Value.BytesIn = s.number(text)
			e.Value.Told |= BytesIn | BytesInMin | BytesInMax
		case "uploader":
			e.Value.Uploader = text
			e.Value.Told |= Uploaders
		case "latency_ms":
			e.Value.LatencyMS = float64(s.number(text))
			e.Value.Told |= LatencyMS
		default:
			s.fail("an event has no %q", name)
		}
	}
	s.outputs(s.world.nodes[s.home[key]].take(record{key: key, event: e}))
}

// vector sends a task's vector to all partitions: the times named, or those that the
// sources have.
func (s *scenario) vector(task Task, args []string) {
	vector := clone(s.world.times)
	for i, arg := range args {
		if i == 0 {
			vector.TimesMS = slices.Repeat([]int64{Unknown}, s.config.Sources)
		}
		source, t, _ := strings.Cut(arg, "=")
		vector.TimesMS[s.index("p", source)] = s.number(t)
	}
	for _, n := range s.world.nodes {
		n.take(record{task: task, vector: vector})
	}
}

func (s *scenario) vectors() {
	for _, task := range s.config.Feeders {
		s.vector(task, nil)
	}
}

// recovers restarts a partition.
func (s *scenario) recovers(i int) {
	n := s.world.nodes[i]
	gone := 0
	for key := range n.state {
		k, err := DecodeKey(n.state[key], s.world.config.Set)
		if err != nil {
			s.fail("%v", err)
		}
		gone += k.Undeclared()
	}
	note := fmt.Sprintf("recovers %d keys on %s", len(n.state), n.instance)
	if gone > 0 {
		note += fmt.Sprintf(", %d windows are not declared", gone)
	}
	s.reads(i, note)
	s.outputs(n.restart())
}

// reads says that a partition begins again.
func (s *scenario) reads(i int, note string) {
	if note != "" {
		note += ", "
	}
	s.print("w%d %sreads %d records again", i, note, len(s.world.nodes[i].read))
}

func (s *scenario) outputs(written []output) {
	for _, o := range written {
		s.print("%s", o)
	}
}

func (s *scenario) open() {
	for i, n := range s.world.nodes {
		keys := maps.Clone(n.state)
		maps.Copy(keys, n.changed)
		for _, key := range slices.Sorted(maps.Keys(keys)) {
			for _, r := range n.load(key).Open() {
				s.print("w%d %s %s %s, %s", i, r.Aggregate.Spec, key, r.Aggregate.show(r.Bounds), show(r.Totals))
			}
		}
	}
}

func (s *scenario) results() {
	for _, n := range s.world.nodes {
		rows := n.latest()
		for _, id := range slices.Sorted(maps.Keys(rows)) {
			s.print("%s", rows[id])
		}
	}
}

// String is a line of output.
func (o output) String() string {
	if o.late != nil {
		a := o.late.Aggregate
		return fmt.Sprintf("%-9s%s %s %s", o.late.Cause, a.Spec, o.key, a.show(o.late.Bounds))
	}
	kind, totals := "early", ""
	switch {
	case o.Final:
		kind = "final"
	case o.Retracted:
		kind = "retract"
	}
	if o.Totals != nil {
		totals = ", " + show(o.Totals)
	}
	return fmt.Sprintf("%-9s%s %s %s revision %d%s", kind, o.Aggregate.Spec, o.key, o.Aggregate.show(o.Bounds), o.Revision, totals)
}

// show writes bounds in the way of their kind.
func (s Spec) show(b Bounds) string {
	if s.Kind == Session {
		return fmt.Sprintf("[%d, %d]", b.StartMS, b.EndMS)
	}
	return fmt.Sprintf("[%d, %d)", b.StartMS, b.EndMS)
}

func showTime(t int64) string {
	if t == Unknown {
		return "unknown"
	}
	return strconv.FormatInt(t, 10)
}

// show writes what was measured.
func show(t *Totals) string {
	text := fmt.Sprintf("count %d", t.Count)
	for i, name := range measureNames {
		m := Measures(1) << i
		if t.Told&m == 0 {
			continue
		}
		if m == LatencyMS {
			median, _ := t.LatencyMS.At(0.5)
			text += fmt.Sprintf(", %s p50 %.3g", name, median)
			continue
		}
		n := map[Measures]int64{
			BytesIn: t.BytesIn, BytesOut: t.BytesOut, Pixels: t.Pixels, BytesInMin: t.BytesInMin, BytesInMax: t.BytesInMax,
			Uploaders: t.Uploaders.Estimate(),
		}[m]
		text += fmt.Sprintf(", %s %d", name, n)
	}
	return text
}
