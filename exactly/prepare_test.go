package exactly

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lovoo/goka"
	"github.com/lovoo/goka/codec"
	"github.com/twmb/franz-go/pkg/kgo"
)

// prepared runs records of one key through a group that prepares with plan and
// emits what show makes of each, in order.
func prepared(t *testing.T, plan Prepare, records []*kgo.Record, show func(ctx goka.Context, value any) string) []string {
	t.Helper()
	l := newLab(t)
	graph := goka.DefineGroup(l.group,
		goka.Input(goka.Stream(l.in), new(codec.String), func(ctx goka.Context, value any) {
			ctx.Emit(goka.Stream(l.out), ctx.Key(), show(ctx, value))
		}),
		goka.Output(goka.Stream(l.out), new(codec.String)), goka.Persist(new(codec.String)),
	)
	l.send(records...)
	cfg := l.config("a", t.TempDir())
	cfg.Prepare = plan
	l.running(cfg, graph)
	var values []string
	l.each(l.out, len(records), func(value string) { values = append(values, value) })
	return values
}

// sameKey makes n records of one key, and so of one partition.
func sameKey(n int) []*kgo.Record {
	records := make([]*kgo.Record, n)
	for i := range records {
		records[i] = &kgo.Record{Key: []byte("k"), Value: []byte(strconv.Itoa(i))}
	}
	return records
}

func order(n int) []string {
	want := make([]string, n)
	for i := range want {
		want[i] = strconv.Itoa(i)
	}
	return want
}

// Tasks of one partition run side by side, and the callbacks see their values in
// the order of the log.
func TestTasksRunSideBySideAndCallbacksInOrder(t *testing.T) {
	const n = 40
	var mu sync.Mutex
	running, most := 0, 0
	together := make(chan struct{})
	values := prepared(t, func(in Input) *Task {
		return &Task{Do: func(ctx context.Context) (any, error) {
			mu.Lock()
			running++
			if most = max(most, running); most == 2 {
				select {
				case <-together:
				default:
					close(together)
				}
			}
			mu.Unlock()
			if string(in.Value) != "0" { // The first poll has one record alone.
				select {
				case <-together:
				case <-time.After(patience):
				case <-ctx.Done():
				}
			}
			mu.Lock()
			running--
			mu.Unlock()
			return string(in.Value), nil
		}}
	}, sameKey(n), func(ctx goka.Context, value any) string {
		got, ok, err := Prepared(ctx)
		if !ok || err != nil || got != value {
			return fmt.Sprintf("%v, %v, %v for %v", got, ok, err, value)
		}
		return value.(string)
	})
	if want := order(n); !slices.Equal(values, want) {
		t.Errorf("got %v, want %v", values, want)
	}
	mu.Lock()
	defer mu.Unlock()
	if most < 2 {
		t.Error("no two tasks of the partition ran at once")
	}
}

// What is in hand with one key is worked on once; a failure is nobody else's.
func TestOneKeyIsOneTask(t *testing.T) {
	const n = 30
	var mu sync.Mutex
	done, failed := 0, 0
	values := prepared(t, func(in Input) *Task {
		return &Task{Key: "shared", Do: func(context.Context) (any, error) {
			mu.Lock()
			defer mu.Unlock()
			if in.Offset%7 == 3 {
				failed++
				return nil, errors.New("this one fails")
			}
			done++
			return "made", nil
		}}
	}, sameKey(n), func(ctx goka.Context, value any) string {
		got, ok, err := Prepared(ctx)
		if !ok || (err == nil) == (got == nil) {
			return fmt.Sprintf("%v, %v, %v", got, ok, err)
		}
		if err != nil && ctx.Offset()%7 != 3 {
			return "it has another record's failure"
		}
		return value.(string)
	})
	if want := order(n); !slices.Equal(values, want) {
		t.Errorf("got %v, want %v", values, want)
	}
	mu.Lock()
	defer mu.Unlock()
	if done+failed >= n {
		t.Errorf("%d tasks were done and %d failed: nothing was shared by %d records", done, failed, n)
	}
}

// The state that a task sees is the last commit's, and never that of an open
// transaction.
func TestTasksSeeCommittedState(t *testing.T) {
	const n = 50
	var mu sync.Mutex
	seen := map[string]string{}
	values := prepared(t, func(in Input) *Task {
		return &Task{Do: func(context.Context) (any, error) {
			state, err := in.Committed()
			mu.Lock()
			defer mu.Unlock()
			seen[string(in.Value)] = string(state)
			return nil, err
		}}
	}, sameKey(n), func(ctx goka.Context, value any) string {
		if _, _, err := Prepared(ctx); err != nil {
			return err.Error()
		}
		ctx.SetValue(value)
		return value.(string)
	})
	if want := order(n); !slices.Equal(values, want) {
		t.Errorf("got %v, want %v", values, want)
	}
	mu.Lock()
	defer mu.Unlock()
	saw := 0
	for i := range n {
		state := seen[strconv.Itoa(i)]
		if state == "" {
			continue
		}
		saw++
		if at, err := strconv.Atoi(state); err != nil || at >= i {
			t.Errorf("record %d was prepared with the state of %q", i, state)
		}
	}
	if saw == 0 {
		t.Error("no task saw any state")
	}
}

// A record without a task goes its way, and a task that panics is its callback's
// error, not the process's end.
func TestPanicsAreErrors(t *testing.T) {
	values := prepared(t, func(in Input) *Task {
		switch string(in.Value) {
		case "0":
			return nil
		case "1":
			panic("while planning")
		}
		return &Task{Key: "k", Do: func(context.Context) (any, error) { panic("while working") }}
	}, sameKey(3), func(ctx goka.Context, _ any) string {
		_, ok, err := Prepared(ctx)
		if err != nil && !IsPermanent(err) {
			return "it would be tried again and again"
		}
		return fmt.Sprintf("%v %v", ok, err)
	})
	if values[0] != "false <nil>" || !strings.Contains(values[1], "while planning") || !strings.Contains(values[2], "while working") {
		t.Errorf("got %q", values)
	}
}

// Where records are prepared, a transaction takes what it can finish soon; where
// they are not, what it can finish at all.
func TestBudgetAims(t *testing.T) {
	cfg := Config{Brokers: []string{"b:1"}, Instance: "i", CommitInterval: 100 * time.Millisecond, TransactionTimeout: 30 * time.Second}
	cfg, err := cfg.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		prepares bool
		service  time.Duration
		want     int
	}{
		{false, 50 * time.Millisecond, 200},
		{true, 50 * time.Millisecond, aimRecords},
		{true, time.Millisecond, 100},
		{true, 5 * time.Second, 2},
	} {
		if cfg.Prepare = nil; c.prepares {
			cfg.Prepare = func(Input) *Task { return nil }
		}
		b := newBudget(cfg)
		b.observe(cfg.MaxPollRecords, 1, time.Duration(cfg.MaxPollRecords)*c.service)
		if got := b.take(0, 0, 0); got != c.want {
			t.Errorf("prepares %v, %v a record: takes %d, want %d", c.prepares, c.service, got, c.want)
		}
	}
}
