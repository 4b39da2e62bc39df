package chaos

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestPlan(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		seed := rapid.Uint64().Draw(t, "seed")
		length := time.Duration(rapid.IntRange(int(MinLength/time.Second), 3*60*60).Draw(t, "seconds")) * time.Second
		workers := rapid.IntRange(1, 9).Draw(t, "workers")
		plan := Plan(seed, length, workers)
		if again := Plan(seed, length, workers); !slices.Equal(plan, again) {
			t.Fatal("the same seed has two plans")
		}
		count := map[Kind]int{}
		var anew []time.Duration
		for _, f := range plan {
			count[f.Kind]++
			if f.Kind == Recreate {
				anew = append(anew, f.At)
			}
		}
		for _, kind := range Kinds() {
			if got, want := count[kind], PerKind(length); got != want {
				t.Errorf("%s: %d times, not %d", kind, got, want)
			}
		}
		for i, f := range plan {
			if f.At <= 0 || f.At+f.For > length {
				t.Errorf("%s at %v for %v is not within %v", f.Kind, f.At, f.For, length)
			}
			if i > 0 && f.At < plan[i-1].At {
				t.Errorf("%s at %v comes after %v", f.Kind, f.At, plan[i-1].At)
			}
			if f.Worker < 0 || f.Worker >= workers {
				t.Errorf("%s strikes worker %d of %d", f.Kind, f.Worker, workers)
			}
			for _, at := range anew {
				if f.Kind != Recreate && f.At < at && f.At+f.For > at {
					t.Errorf("%s at %v for %v is under way at %v", f.Kind, f.At, f.For, at)
				}
			}
		}
	})
}

// TestSeedsDiffer: a plan that did not depend on its seed would pass the other test.
func TestSeedsDiffer(t *testing.T) {
	if slices.Equal(Plan(1, time.Hour, 3), Plan(2, time.Hour, 3)) {
		t.Error("two seeds have the same plan")
	}
	both := map[bool]bool{}
	for _, f := range Plan(1, time.Hour, 3) {
		if f.Kind == KillBroker {
			both[f.For > 0] = true
		}
	}
	if len(both) != 2 {
		t.Error("a killed broker is never back at once, or always")
	}
}
