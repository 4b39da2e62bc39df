package exactly

import (
	"context"
	"testing"
	"time"

	"github.com/lovoo/goka"
	"github.com/lovoo/goka/codec"
)

// A group that has read all is behind by nothing, whatever markers its input
// has.
func TestBehind(t *testing.T) {
	l := newLab(t)
	const n = 200
	upstream := l.running(l.config("a", t.TempDir()), l.counting())
	reading := goka.DefineGroup(l.group+"-reading", goka.Input(goka.Stream(l.out), new(codec.String), func(goka.Context, any) {}))
	var status Status
	cfg := l.config("b", t.TempDir())
	cfg.Status = &status
	drain := l.running(cfg, reading)
	l.send(numbered(n)...)
	deadline, tick := time.After(patience), time.NewTicker(10*time.Millisecond)
	defer tick.Stop()
	for status.Snapshot().Records < n {
		select {
		case <-deadline:
			t.Fatalf("%d of %d records were read", status.Snapshot().Records, n)
		case <-tick.C:
		}
	}
	if err := drain(); err != nil {
		t.Fatal(err)
	}
	group := string(reading.Group())
	lags, err := l.admin.Lag(context.Background(), group)
	if err != nil || lags[group].Lag.Total() == 0 {
		t.Fatalf("the brokers tell a lag of %d (%v): there are no markers to see through", lags[group].Lag.Total(), err)
	}
	lag, err := Behind(context.Background(), l.client, group)
	if err != nil || lag.Lag.Total() != 0 {
		t.Errorf("it has read all and is %d behind (%v)", lag.Lag.Total(), err)
	}
	l.send(sameKey(1)...)
	l.read(l.out, n+1)
	if err := upstream(); err != nil {
		t.Fatal(err)
	}
	lag, err = Behind(context.Background(), l.client, group)
	if err != nil || lag.Lag.Total() < 1 {
		t.Errorf("with a record more it is %d behind (%v)", lag.Lag.Total(), err)
	}
	if _, err := Behind(context.Background(), l.client, "no such group"); err != nil {
		t.Errorf("a group that never was: %v", err)
	}
}
