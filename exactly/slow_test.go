package exactly

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/lovoo/goka"
	"github.com/lovoo/goka/codec"
	"github.com/twmb/franz-go/pkg/kgo"
)

// slowConfig has a transaction timeout that tests can wait for.
func (l *lab) slowConfig() Config {
	cfg := l.config("a", "")
	cfg.TransactionTimeout, cfg.CommitInterval = 1500*time.Millisecond, 20*time.Millisecond
	return cfg
}

// Together the records take many times the transaction timeout. Each transaction
// takes only as many as fit, so that they are committed as they are done.
func TestSlowRecordsMakeProgress(t *testing.T) {
	l := newLab(t)
	const n = 40
	cfg := l.slowConfig()
	cfg.Status = new(Status)
	graph := goka.DefineGroup(l.group, goka.Input(goka.Stream(l.in), new(codec.String), func(ctx goka.Context, value any) {
		time.Sleep(100 * time.Millisecond) //nolint:forbidigo // The record is slow.
		ctx.Emit(goka.Stream(l.out), ctx.Key(), value)
	}), goka.Output(goka.Stream(l.out), new(codec.String)))
	records := make([]*kgo.Record, n)
	for i := range records {
		records[i] = &kgo.Record{Key: []byte("one partition"), Value: fmt.Append(nil, i)}
	}
	l.send(records...)
	l.running(cfg, graph)
	l.exact(l.read(l.out, n), n)
	if s := cfg.Status.Snapshot(); s.Committed < 5 || s.Aborted > 0 {
		t.Errorf("%d transactions, %d of them aborted", s.Committed, s.Aborted)
	}
}

// A record that alone exceeds the timeout is given to the callback again, which
// then settles it without its work.
func TestARecordThatIsTooSlowAlone(t *testing.T) {
	for _, prepares := range []bool{false, true} {
		t.Run(map[bool]string{true: "prepared", false: "plain"}[prepares], func(t *testing.T) {
			l := newLab(t)
			work := func() { time.Sleep(4 * time.Second) } //nolint:forbidigo // The record is slow.
			cfg := l.slowConfig()
			if prepares {
				cfg.Prepare = func(in Input) *Task {
					if string(in.Value) == "50" {
						work()
					}
					return nil
				}
			}
			graph := goka.DefineGroup(l.group, goka.Input(goka.Stream(l.in), new(codec.String), func(ctx goka.Context, value any) {
				switch {
				case TooSlow(ctx):
					value = "slow " + value.(string)
				case value == "50" && !prepares:
					work()
				}
				ctx.Emit(goka.Stream(l.out), ctx.Key(), value)
			}), goka.Output(goka.Stream(l.out), new(codec.String)))
			l.send(numbered(100)...)
			l.running(cfg, graph)
			seen := l.read(l.out, 100)
			if seen["slow 50"] != 1 || seen["50"] != 0 || len(seen) != 100 {
				t.Errorf("%d values, slow 50: %d, 50: %d", len(seen), seen["slow 50"], seen["50"])
			}
		})
	}
}

// A callback that does not ask, and is too slow again, ends the run by name.
func TestTooSlowTwiceEndsTheRun(t *testing.T) {
	l := newLab(t)
	graph := goka.DefineGroup(l.group, goka.Input(goka.Stream(l.in), new(codec.String), func(goka.Context, any) {
		time.Sleep(2 * time.Second) //nolint:forbidigo // The record is slow.
	}))
	l.send(&kgo.Record{Key: []byte("k"), Value: []byte("v")})
	var slow *TooSlowError
	if err := Run(t.Context(), l.slowConfig(), graph); !errors.As(err, &slow) || slow.Topic != l.in || slow.Offset != 0 {
		t.Errorf("%v", err)
	}
}
