package window

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// drawSet draws one to three aggregates with all measures.
func drawSet(t *rapid.T) *Set {
	var list []Aggregate
	for range rapid.IntRange(1, 3).Draw(t, "aggregates") {
		a := Aggregate{Spec: drawSpec(t), Dimension: "user", Measures: AllMeasures()}
		if !slices.ContainsFunc(list, func(other Aggregate) bool { return other.Name() == a.Name() }) {
			list = append(list, a)
		}
	}
	set, err := NewSet(list)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// Through queues, tasks that lag and forget, aborts and restarts, windows come to what
// the model says of the same events. No event meets a closed window: the model has no
// such cause.
func TestFlow(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := newFlow(t, drawSet(t), rapid.SampledFrom([]int64{0, 20, 1000}).Draw(t, "cadence"))
		for _, m := range rapid.SliceOfN(rapid.Custom(drawMove), 120, 400).Draw(t, "moves") {
			f.do(m)
		}
		f.finish()
		f.checkModel()
		f.checkLatest()
	})
}

// An abort leaves no trace, neither in state nor in results. A restart leaves none in
// what windows hold and come to; only early results may come at other times.
func TestAbortsAndRestartsLeaveNoTrace(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		set, cadence := drawSet(t), rapid.SampledFrom([]int64{0, 20, 1000}).Draw(t, "cadence")
		moves := rapid.SliceOfN(rapid.Custom(drawMove), 120, 400).Draw(t, "moves")
		play := func(without ...string) *flow {
			f := newFlow(t, set, cadence)
			for _, m := range moves {
				if !slices.Contains(without, m.Do) {
					f.do(m)
				}
			}
			f.drain()
			return f
		}
		plain, aborted, restarted := play("abort", "restart"), play("restart"), play()
		all := func(output) bool { return true }
		if !maps.Equal(plain.states(), aborted.states()) {
			t.Fatalf("an abort changes the state")
		}
		if one, other := plain.outputs(all), aborted.outputs(all); !maps.EqualFunc(one, other, slices.Equal) {
			t.Fatalf("without aborts\n%v\nwith\n%v", one, other)
		}
		for _, f := range []*flow{aborted, restarted} {
			if !maps.Equal(plain.contents(), f.contents()) {
				t.Fatalf("open windows differ")
			}
			for _, kind := range []func(output) bool{final, late} {
				if one, other := sorted(plain.outputs(kind)), sorted(f.outputs(kind)); !maps.Equal(one, other) {
					t.Fatalf("undisturbed\n%v\ndisturbed\n%v", one, other)
				}
			}
		}
	})
}

// contents are what the keys hold, but for what was shown of it.
func (f *flow) contents() map[string]string {
	all := map[string]string{}
	for _, n := range f.nodes {
		for key := range n.state {
			k := n.load(key)
			k.ShownAtMS = 0
			for _, g := range k.groups {
				for _, o := range g.windows {
					o.shown, o.stale = 0, nil
				}
			}
			all[key] = string(k.Encode())
		}
	}
	return all
}

// states are what the table holds, byte by byte.
func (f *flow) states() map[string]string {
	all := map[string]string{}
	for _, n := range f.nodes {
		for key, data := range n.state {
			all[key] = string(data)
		}
	}
	return all
}

// outputs are all committed lines of a key, with what was measured in full.
func (f *flow) outputs(which func(output) bool) map[string][]string {
	all := map[string][]string{}
	for _, n := range f.nodes {
		for _, o := range n.results {
			if which(o) {
				all[o.key] = append(all[o.key], o.full())
			}
		}
	}
	return all
}

// full is a line of output and the bytes of its totals.
func (o output) full() string {
	if o.Totals == nil {
		return o.String()
	}
	return fmt.Sprintf("%s %x", o, (&open{Totals: *o.Totals}).append(nil))
}

func final(o output) bool { return o.late == nil && o.Final }
func late(o output) bool  { return o.late != nil }

// sorted forgets the order in which windows closed, and events were late.
func sorted(lines map[string][]string) map[string]string {
	all := map[string]string{}
	for key, list := range lines {
		slices.Sort(list)
		all[key] = strings.Join(list, "\n")
	}
	return all
}

// checkLatest checks that readers end up with the final results, and with nothing
// else that they do not know to be no more.
func (f *flow) checkLatest() {
	for _, n := range f.nodes {
		for id, o := range n.latest() {
			if !o.Final && !o.Retracted {
				f.t.Fatalf("%s is left over: %s", id, o)
			}
		}
		if len(n.state) > 0 || n.partition.Len() > 0 {
			f.t.Fatalf("%d keys and %d in the index are left over", len(n.state), n.partition.Len())
		}
	}
}

// checkModel checks finals and late events against the model of each aggregate.
func (f *flow) checkModel() {
	var got, want []string
	for _, n := range f.nodes {
		for _, o := range n.results {
			switch {
			case o.late != nil:
				got = append(got, fmt.Sprintf("%s %s %v %s", o.late.Aggregate.Spec, o.key, o.late.Bounds, o.late.Cause))
			case o.Final:
				got = append(got, fmt.Sprintf("%s %s %v %d %d", o.Aggregate.Spec, o.key, o.Bounds, o.Totals.Count, o.Totals.BytesIn))
			}
		}
	}
	// Each source in its order; how they interleave does not matter.
	slices.SortStableFunc(f.sent, func(a, b TryEvent) int { return cmp.Compare(a.Source, b.Source) })
	for _, a := range f.config.Set.All() {
		r := model(a.Spec, f.sent)
		for _, w := range r.Windows {
			want = append(want, fmt.Sprintf("%s %s %v %d %d", a.Spec, w.Key, Bounds{w.StartMS, w.EndMS}, w.Count, w.Sum))
		}
		for _, l := range r.Late {
			want = append(want, fmt.Sprintf("%s %s %v %s", a.Spec, l.Key, Bounds{l.StartMS, l.EndMS}, l.Cause))
		}
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		f.t.Fatalf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}
