package exactly

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/lovoo/goka"
	"github.com/lovoo/goka/codec"
)

// What a hook produces is committed with the records that it speaks for, behind them,
// and vanishes with an abort.
func TestProduceIsPartOfTheTransaction(t *testing.T) {
	l := newLab(t)
	const n, fails = 300, 3
	var turns atomic.Int32
	cfg := l.config("a", t.TempDir())
	cfg.Hooks.BeforeCommit = func(ctx context.Context) error {
		turn := turns.Add(1)
		record := Record{Topic: l.out, Key: "k0", Value: fmt.Appendf(nil, "mark %d", turn), Headers: goka.Headers{"h": []byte("v")}}
		if err := Produce(ctx, record); err != nil {
			return err
		}
		if turn%2 == 1 && turn < 2*fails {
			return errors.New("not this one")
		}
		return nil
	}
	cfg.Status = new(Status)
	l.running(cfg, l.counting())
	l.send(numbered(n)...)
	l.await(func() bool { return l.committedAll() && cfg.Status.Snapshot().InFlight == 0 })
	marks, last := 0, ""
	l.each(l.out, n, func(value string) {
		if last = value; !strings.HasPrefix(value, "mark ") {
			return
		}
		marks++
		var turn int32
		if _, err := fmt.Sscanf(value, "mark %d", &turn); err != nil || (turn%2 == 1 && turn < 2*fails) {
			t.Errorf("%q is there, of a transaction that was aborted (%v)", value, err)
		}
	})
	if committed := cfg.Status.Snapshot().Committed; marks != int(committed) {
		t.Errorf("%d marks of %d transactions, the last record is %q", marks, committed, last)
	}
}

func TestProduceRefuses(t *testing.T) {
	if err := Produce(t.Context(), Record{Topic: "t"}); err == nil {
		t.Error("a record was taken outside of the hook")
	}
	l := newLab(t)
	cfg := l.config("a", "")
	cfg.MaxMessageBytes = 1000
	refused := make(chan error, 1)
	cfg.Hooks.BeforeCommit = func(ctx context.Context) error {
		select {
		case refused <- Produce(ctx, Record{Topic: l.out, Value: make([]byte, 2000)}):
		default:
		}
		return nil
	}
	l.running(cfg, l.counting())
	l.send(numbered(1)...)
	if _, ok := errors.AsType[*OversizeError](<-refused); !ok {
		t.Error("a record over the limit was taken")
	}
}

// A walk over the table sees the last commit, in order, from any goroutine.
func TestEachKeyWalksOverWhatIsCommitted(t *testing.T) {
	l := newLab(t)
	cfg := l.config("a", t.TempDir())
	cfg.Status = new(Status)
	if err := cfg.Status.EachKey(0, "", func(string, []byte) bool { return true }); err == nil {
		t.Error("a table that is not open was walked over")
	}
	drain := l.running(cfg, l.counting())
	l.send(numbered(200)...)
	l.await(func() bool { return l.committedAll() && cfg.Status.Snapshot().InFlight == 0 })
	keys, first := 0, ""
	for partition := range int32(labPartitions) {
		before := ""
		err := cfg.Status.EachKey(partition, "", func(key string, value []byte) bool {
			if key <= before || len(value) == 0 {
				t.Errorf("key %q follows %q, with a value of %d bytes", key, before, len(value))
			}
			if before = key; first == "" {
				first = key
			}
			keys++
			return true
		})
		if err != nil {
			t.Error(err)
		}
		err = cfg.Status.EachKey(partition, before, func(key string, _ []byte) bool {
			if key != before {
				t.Errorf("a walk from %q begins with %q", before, key)
			}
			return false
		})
		if err != nil {
			t.Error(err)
		}
	}
	if keys != 37 {
		t.Errorf("%d keys, want 37", keys)
	}
	if err := drain(); err != nil {
		t.Fatal(err)
	}
	if err := cfg.Status.EachKey(0, first, func(string, []byte) bool { return true }); err == nil {
		t.Error("a table that was closed was walked over")
	}
}

// State that is kept in memory goes into the table once a transaction, under each
// delivery; an abort leaves the table as it was.
func TestSetValueWritesTheTable(t *testing.T) {
	for _, delivery := range []Delivery{ExactlyOnce, AtLeastOnce, AtMostOnce} {
		t.Run(string(delivery), func(t *testing.T) {
			l := newLab(t)
			const n = 300
			var mu sync.Mutex
			counts, aborts := map[string]int64{}, 0
			graph := goka.DefineGroup(l.group,
				goka.Input(goka.Stream(l.in), new(codec.String), func(ctx goka.Context, _ any) {
					mu.Lock()
					defer mu.Unlock()
					if _, known := counts[ctx.Key()]; !known {
						counts[ctx.Key()], _ = ctx.Value().(int64)
					}
					counts[ctx.Key()]++
				}),
				goka.Persist(new(codec.Int64)))
			cfg := l.config("a", t.TempDir())
			cfg.Delivery = delivery
			cfg.Hooks.Assigned = func(context.Context, []Claim) error {
				clear(counts) // The table knows.
				return nil
			}
			cfg.Hooks.BeforeCommit = func(ctx context.Context) error {
				for key, count := range counts {
					if err := SetValue(ctx, key, strconv.AppendInt(nil, count, 10)); err != nil {
						return err
					}
				}
				if delivery == ExactlyOnce && aborts < 2 {
					aborts++
					return errors.New("not this one")
				}
				return nil
			}
			cfg.Status = new(Status)
			l.running(cfg, graph)
			l.send(numbered(n)...)
			l.await(func() bool { return l.committedAll() && cfg.Status.Snapshot().InFlight == 0 })
			l.table(n)
		})
	}
	if err := SetValue(t.Context(), "k", nil); err == nil {
		t.Error("a value was set outside of the hook")
	}
}
