package window

import (
	"cmp"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// Windows and late events are those of the model: windows by the definition, sessions
// as islands, every pair either counted or late, and none of them closed before its
// time, for that would be the cause of a late one.
func TestWindowsAreWhatTheyAreByDefinition(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		spec := drawSpec(t)
		events := interleave(t, drawSources(t))
		got, err := Try(spec, events)
		if err != nil {
			t.Fatal(err)
		}
		if want := model(spec, events); !reflect.DeepEqual(got, want) {
			t.Fatalf("%s\n got %+v\nwant %+v", spec, got, want)
		}
	})
}

// The order in which sources interleave changes nothing.
func TestInterleavingChangesNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		spec, sources := drawSpec(t), drawSources(t)
		one, err := Try(spec, interleave(t, sources))
		if err != nil {
			t.Fatal(err)
		}
		other, err := Try(spec, interleave(t, sources))
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range []*TryResult{&one, &other} {
			slices.SortFunc(r.Late, func(a, b TryLate) int {
				return cmp.Or(cmp.Compare(a.Source, b.Source), cmp.Compare(a.TimeMS, b.TimeMS), cmp.Compare(a.Key, b.Key),
					cmp.Compare(a.Value, b.Value), cmp.Compare(a.StartMS, b.StartMS))
			})
		}
		if !reflect.DeepEqual(one, other) {
			t.Fatalf("%s\none %+v\nother %+v", spec, one, other)
		}
	})
}

// Each event is in one tumbling window, or late.
func TestTumblingCountsAddUp(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		size := int64(rapid.IntRange(1, 40).Draw(t, "size"))
		spec := Spec{Kind: Tumbling, SizeMS: size, AdvanceMS: size, GraceMS: int64(rapid.IntRange(0, 40).Draw(t, "grace"))}
		events := interleave(t, drawSources(t))
		r, err := Try(spec, events)
		if err != nil {
			t.Fatal(err)
		}
		count, sum := int64(len(r.Late)), int64(0)
		for _, l := range r.Late {
			sum += l.Value
		}
		for _, w := range r.Windows {
			count, sum = count+w.Count, sum+w.Sum
		}
		for _, e := range events {
			count, sum = count-1, sum-e.Value
		}
		if count != 0 || sum != 0 {
			t.Fatalf("%d events with a sum of %d are missing", -count, -sum)
		}
	})
}

// The proofs of rules.go, term by term: an event that is accepted at a stream time of
// at least the watermark meets no window that the watermark has closed.
func TestWhatIsAcceptedMeetsNothingClosed(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		spec := drawSpec(t)
		grid := func(label string) int64 {
			return 10*int64(rapid.IntRange(0, 20).Draw(t, label)) + rapid.SampledFrom([]int64{0, 0, 0, 0, 1, -1}).Draw(t, "off")
		}
		at, w := max(0, grid("t")), grid("w")
		st := max(at, w) + max(0, grid("ahead"))
		if spec.Kind != Session {
			for _, b := range spec.windows(nil, at) {
				if spec.accepts(b, st) && w >= spec.deadline(b) {
					t.Fatalf("%s takes an event at %d, stream time %d, and %v is closed by %d", spec, at, st, b, w)
				}
				// A window is closed from the moment on that nobody could count in it.
				if spec.accepts(b, w) == (w >= spec.deadline(b)) {
					t.Fatalf("%s: %v is closed by %d, or is not, against what it accepts", spec, b, w)
				}
			}
			return
		}
		start := grid("start")
		b := Bounds{start, start + max(0, grid("length"))}
		if spec.accepts(Bounds{at, at}, st) && spec.touches(b, at) && w >= spec.deadline(b) {
			t.Fatalf("%s takes an event at %d, stream time %d, that touches %v, closed by %d", spec, at, st, b, w)
		}
		// No sooner would do: one ms earlier, the oldest event that is accepted touches it.
		last := spec.deadline(b) - 1
		oldest := last - spec.GraceMS - spec.GapMS
		if !spec.accepts(Bounds{oldest, oldest}, last) || oldest-spec.GapMS != b.EndMS {
			t.Fatalf("%s: %v could be closed before %d", spec, b, last+1)
		}
	})
}

func TestHoppingWindowsAreAllThatHoldATime(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		size := int64(rapid.IntRange(1, 60).Draw(t, "size"))
		spec := Spec{Kind: Hopping, SizeMS: size, AdvanceMS: int64(rapid.IntRange(1, int(size)).Draw(t, "advance"))}
		at := int64(rapid.IntRange(0, 300).Draw(t, "t"))
		if got, want := spec.windows(nil, at), holding(spec, at); !slices.Equal(got, want) {
			t.Fatalf("%s at %d: got %v, want %v", spec, at, got, want)
		}
	})
}

func TestTryWithoutEvents(t *testing.T) {
	spec := Spec{Kind: Session, GapMS: 10}
	if r, err := Try(spec, nil); err != nil || !reflect.DeepEqual(r, TryResult{WatermarkMS: Unknown}) {
		t.Errorf("nothing comes to %+v: %v", r, err)
	}
	if r, err := Try(Spec{}, []TryEvent{{TimeMS: 1}}); err == nil {
		t.Errorf("no spec comes to %+v", r)
	}
}
