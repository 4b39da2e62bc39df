package window

import (
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// An Index is a map that one looks through from end to end. What was set earlier holds
// until it is taken; of what is due, the earliest is taken first.
func TestIndex(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var (
			x         = NewIndex()
			due       = map[string]int64{}
			committed = map[string]int64{}
			key       = rapid.SampledFrom([]string{"a", "b", "c", "d", "e", "f", "g"})
			at        = rapid.Int64Range(-2, 9)
		)
		dueAt := func(now int64) (n int) {
			for _, when := range due {
				if when <= now {
					n++
				}
			}
			return n
		}
		take := func(t *rapid.T, now int64, n int) {
			want := max(0, min(n, dueAt(now)))
			taken := x.Take(now, n)
			if len(taken) != want {
				t.Fatalf("took %q at %d, want %d of %v", taken, now, want, due)
			}
			latest := int64(Unknown)
			for _, key := range taken {
				when, held := due[key]
				if !held || when > now {
					t.Fatalf("took %q at %d, of %v", taken, now, due)
				}
				latest = max(latest, when)
				delete(due, key)
			}
			for _, when := range due {
				if when < latest {
					t.Fatalf("took %q, and left %v", taken, due)
				}
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"Set": func(t *rapid.T) {
				k, when := key.Draw(t, "key"), at.Draw(t, "at")
				x.Set(k, when)
				if old, held := due[k]; !held || when < old {
					due[k] = when
				}
			},
			"Remove": func(t *rapid.T) {
				k := key.Draw(t, "key")
				x.Remove(k)
				delete(due, k)
			},
			"Take": func(t *rapid.T) { take(t, at.Draw(t, "now"), rapid.IntRange(-1, 8).Draw(t, "n")) },
			"Commit": func(*rapid.T) {
				x.Commit()
				committed = maps.Clone(due)
			},
			"Rollback": func(*rapid.T) {
				x.Rollback()
				due = maps.Clone(committed)
			},
			"": func(t *rapid.T) {
				if x.Len() != len(due) || !maps.Equal(x.due, due) {
					t.Fatalf("holds %v, want %v", x.due, due)
				}
				// Due may say too much, for what was moved or removed, never too little.
				for now := int64(-3); now < 11; now++ {
					if dueAt(now) > 0 && !x.Due(now) {
						t.Fatalf("nothing is due at %d of %v", now, due)
					}
				}
			},
		})
		take(t, 10, 100)
		if x.Due(10) || len(x.keys) > 0 || len(x.times) > 0 {
			t.Fatalf("%v and %v are left when all is taken", x.keys, x.times)
		}
	})
}

// What Due says too much is gone once it was looked for, so that waiting for it to be
// false ends.
func TestIndexForgetsWhatWasMoved(t *testing.T) {
	x := NewIndex()
	x.Set("a", 5)
	x.Remove("a")
	x.Set("a", 9)
	if !x.Due(5) || len(x.Take(5, 1)) > 0 || x.Due(5) {
		t.Error("a is still due at 5")
	}
	x.Set("a", 3)
	if got := x.Take(9, 2); !slices.Equal(got, []string{"a"}) {
		t.Errorf("took %q", got)
	}
}
