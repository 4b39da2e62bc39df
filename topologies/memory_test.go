package topologies

import (
	"context"
	"testing"
	"testing/synctest"
)

func TestMemoryIsShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(100)
		first, err := m.take(t.Context(), 70)
		if err != nil {
			t.Fatal(err)
		}
		got := make(chan func(), 1)
		go func() {
			release, err := m.take(t.Context(), 1000) // More than there is: all of it.
			if err != nil {
				t.Error(err)
			}
			got <- release
		}()
		synctest.Wait()
		select {
		case <-got:
			t.Fatal("170 bytes were in use of 100")
		default:
		}
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := m.take(ended, 50); err == nil {
			t.Error("a wait outlived its context")
		}
		first()
		release := <-got
		release()
		last, err := m.take(t.Context(), 100)
		if err != nil {
			t.Fatal(err)
		}
		last()
	})
}
