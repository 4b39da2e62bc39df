package produce

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// schedule waits n times and returns when each wait ended, counted from the
// first call.
func schedule(t *testing.T, p *pacer, n int) []time.Duration {
	t.Helper()
	begin := time.Now()
	var at []time.Duration
	for range n {
		if err := p.wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		at = append(at, time.Since(begin))
	}
	return at
}

func TestUploadsAreSpacedEvenly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for i, at := range schedule(t, newPacer(250), 1000) {
			if want := time.Duration(i) * 4 * time.Millisecond; at != want {
				t.Fatalf("upload %d after %s, want %s", i, at, want)
			}
		}
	})
}

func TestAStallIsMadeUpForInPart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPacer(100)
		schedule(t, p, 1)
		time.Sleep(60 * time.Millisecond) //nolint:forbidigo // The bubble's clock.
		at := schedule(t, p, 10)
		if at[5] != 0 || at[6] != 10*time.Millisecond {
			t.Errorf("after a stall of 6 intervals: %v, want 6 uploads at once, then one every 10 ms", at)
		}
		time.Sleep(time.Minute) //nolint:forbidigo // The bubble's clock.
		at = schedule(t, p, 100)
		burst := int(maxCatchUp/(10*time.Millisecond)) + 1
		if at[burst-1] != 0 || at[burst] != 10*time.Millisecond {
			t.Errorf("after a minute: the burst is not of %d uploads: %v", burst, at)
		}
	})
}

func TestNoRateWaitsForNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		if at := schedule(t, newPacer(0), 1000); at[999] != 0 {
			t.Errorf("1000 uploads took %s", at[999])
		}
	})
}

func TestPacingEndsWithTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		enough := errors.New("enough")
		p := newPacer(0.001)
		if err := p.wait(ctx); err != nil {
			t.Fatalf("the first upload waits for nothing: %v", err)
		}
		time.AfterFunc(time.Second, func() { cancel(enough) })
		begin := time.Now()
		if err := p.wait(ctx); !errors.Is(err, enough) || time.Since(begin) != time.Second {
			t.Errorf("wait: %v after %s", err, time.Since(begin))
		}
		if err := newPacer(0).wait(ctx); !errors.Is(err, enough) {
			t.Errorf("wait without a rate: %v", err)
		}
	})
}
