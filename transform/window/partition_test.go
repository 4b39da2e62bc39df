package window

import (
	"fmt"
	"slices"
	"testing"
)

// newPartition has a tumbling window of 10 ms, and shows at most every 100 ms.
func newPartition(t *testing.T) (*Partition, []*Aggregate) {
	t.Helper()
	set, err := NewSet([]Aggregate{{Spec: Spec{Kind: Tumbling, SizeMS: 10, AdvanceMS: 10}, Dimension: "user"}})
	if err != nil {
		t.Fatal(err)
	}
	return NewPartition(PartitionConfig{
		Set: set, Sources: 1, Feeders: []Task{{"extract", 0}}, WatermarkMS: Unknown, CadenceMS: 100, Limit: 10,
	}), set.All()
}

// What is due comes some at a time, whether it is to close, to show, or both; what is
// to close comes first.
func TestDueComesInParts(t *testing.T) {
	for _, n := range []int{1, 3, 10} {
		t.Run(fmt.Sprint(n), func(t *testing.T) { testDueComesInParts(t, n) })
	}
}

func testDueComesInParts(t *testing.T, n int) {
	p, aggregates := newPartition(t)
	const now = 1_000_000
	keys := map[string]*Key{}
	for name, test := range map[string]struct {
		at     int64
		events int
	}{"close": {5, 1}, "both": {5, 2}, "show": {25, 2}, "none": {25, 1}} {
		for i := range 2 {
			key := fmt.Sprint(name, i)
			keys[key] = new(Key)
			for range test.events {
				// The first event shows at once, the second one a cadence later.
				p.Add(key, keys[key], aggregates, &Event{TimeMS: test.at, StreamTimeMS: test.at}, now)
			}
		}
	}
	if p.IsDue(now+99) || len(p.Due(now+99, n)) > 0 {
		t.Error("something is due before its time")
	}
	if s, ok := p.Sources(); ok {
		t.Errorf("%v is known, and nobody has told of it", s)
	}
	p.Hear(Task{"extract", 0}, Sources{TimesMS: []int64{10}})
	if s, ok := p.Sources(); !ok || !s.Equal(Sources{TimesMS: []int64{10}}) {
		t.Errorf("known is %v", s)
	}
	var all []string
	for p.IsDue(now + 100) {
		part := p.Due(now+100, n)
		if slices.Sort(part); len(part) > n || len(slices.Compact(slices.Clone(part))) < len(part) {
			t.Errorf("%q are more than %d, or not each another one", part, n)
		}
		if len(all) == 0 && n < 4 && slices.ContainsFunc(part, func(key string) bool { return key[:4] == "show" }) {
			t.Errorf("%q come before all that is to close", part)
		}
		all = append(all, part...)
	}
	slices.Sort(all)
	// One that is both comes twice if the parts fall so.
	all = slices.Compact(all)
	if want := []string{"both0", "both1", "close0", "close1", "show0", "show1"}; !slices.Equal(all, want) {
		t.Errorf("due are %q, want %q", all, want)
	}
	for _, key := range all {
		p.Wake(key, keys[key], now+100)
	}
	if p.IsDue(now+1000) || p.Len() != 4 {
		t.Errorf("something is still due of %d keys", p.Len())
	}
}

// A key that is woken for nothing is as it was.
func TestAWakeForNothing(t *testing.T) {
	p, aggregates := newPartition(t)
	k := new(Key)
	p.Add("a", k, aggregates, &Event{TimeMS: 5, StreamTimeMS: 5}, 1000)
	before := k.Encode()
	for range 2 {
		if got := p.Wake("a", k, 5000); len(got) > 0 {
			t.Errorf("woken, it comes to %v", got)
		}
	}
	if after := k.Encode(); !slices.Equal(before, after) {
		t.Errorf("%x has become %x", before, after)
	}
	gone := new(Key)
	if got := p.Wake("gone", gone, 5000); len(got) > 0 || gone.Encode() != nil || p.Len() != 1 {
		t.Errorf("a key that is no more comes to %v", got)
	}
}

// Early results go by the time of day, which may go back; then they wait.
func TestTheTimeOfDayGoesBack(t *testing.T) {
	p, aggregates := newPartition(t)
	k := new(Key)
	add := func(now int64) int {
		results, _ := p.Add("a", k, aggregates, &Event{TimeMS: 5, StreamTimeMS: 5}, now)
		return len(results)
	}
	if add(10_000) != 1 || add(9000) != 0 || add(10_099) != 0 || add(10_100) != 1 {
		t.Error("early results do not come at 10,000 and 10,100")
	}
}
