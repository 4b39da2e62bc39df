package gokabench

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
)

// small are options that take seconds, on a broker of the test's own.
func small(t *testing.T) Options {
	t.Helper()
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	return Options{
		Brokers: cluster.ListenAddrs(), Dir: t.TempDir(), Rounds: 2, Partitions: 2, CommitInterval: 50 * time.Millisecond,
		CountRecords: 3000, CountBytes: []int{10, 100}, CountKeys: 50, HopRate: 100, HopTime: 300 * time.Millisecond,
		RebalanceRate: 200, RecoveryKeys: 2000, RecoveryBytes: 50,
	}
}

// Each measurement runs to its end, on both sides, and leaves nothing on the
// broker. What it says of speed is not looked at.
func TestMeasurements(t *testing.T) {
	o := small(t)
	o.Only = []string{"count", "hops", "recovery"}
	r, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Count) != 2 || r.Rebalance != nil {
		t.Fatalf("%+v", r)
	}
	for _, c := range r.Count {
		if len(c.Exactly) != o.Rounds || len(c.Stock) != o.Rounds || c.Ratio != c.ExactlyMedian/c.StockMedian || slices.Min(append(c.Exactly, c.Stock...)) <= 0 {
			t.Errorf("%+v", c)
		}
	}
	for _, l := range []Latency{r.Hops.Exactly, r.Hops.Fixed, r.Hops.Stock} {
		if want := o.Rounds * 30; l.Records != want || l.P50MS <= 0 || l.P50MS > l.P99MS || l.P99MS > l.MaxMS {
			t.Errorf("%+v, want %d records", l, want)
		}
	}
	for _, s := range []Starts{r.Recovery.Exactly, r.Recovery.Stock} {
		if len(s.ColdMS) != o.Rounds || len(s.WarmMS) != o.Rounds || s.ColdMedianMS != median(s.ColdMS) {
			t.Errorf("%+v", s)
		}
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(o.Brokers...))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	topics, err := kadm.NewClient(client).ListTopics(t.Context())
	if left := topics.Names(); err != nil || slices.ContainsFunc(left, func(name string) bool { return strings.HasPrefix(name, "bench-") }) {
		t.Errorf("topics %v are left, %v", left, err)
	}
}

func TestOptionsAreChecked(t *testing.T) {
	for _, change := range []func(*Options){
		func(o *Options) { o.Only = []string{"speed"} }, func(o *Options) { o.Rounds = 0 }, func(o *Options) { o.CountBytes = nil },
		func(o *Options) { o.HopRate = 0 }, func(o *Options) { o.RecoveryKeys = 1 },
	} {
		o := Options{
			Rounds: 1, Partitions: 2, CountRecords: 1, CountBytes: []int{1}, CountKeys: 1, HopRate: 1, HopTime: 1, RebalanceRate: 1, RecoveryKeys: 2,
			Brokers: []string{"127.0.0.1:1"},
		}
		change(&o)
		if _, err := Run(t.Context(), o); err == nil {
			t.Errorf("%+v was taken", o)
		}
	}
}

func TestQuantile(t *testing.T) {
	values := []float64{5, 1, 4, 2, 3, 9, 8, 7, 6, 10}
	for p, want := range map[float64]float64{0: 1, 0.5: 6, 0.9: 10, 0.99: 10, 1: 10} {
		if got := quantile(values, p); got != want {
			t.Errorf("%v: %v, want %v", p, got, want)
		}
	}
	if values[0] != 5 || quantile(nil, 0.5) != 0 {
		t.Error("the values were sorted in place, or none have a median")
	}
}

func TestTurns(t *testing.T) {
	if first, second := turns(0, "a", "b"), turns(1, "a", "b"); fmt.Sprint(first, second) != "[a b] [b a]" {
		t.Error(first, second)
	}
}

// A gap counts between outputs of the member that stays, and to the ends.
func TestWatch(t *testing.T) {
	at := func(ms int) time.Time { return time.UnixMilli(int64(ms)) }
	w := new(watch)
	for _, o := range []struct {
		ms, sent int
		first    bool
	}{{0, 0, true}, {100, 90, true}, {250, 100, false}, {400, 390, true}, {900, 890, true}} {
		out := output{at(o.ms), at(o.sent)}
		w.all = append(w.all, out)
		if o.first {
			w.first = append(w.first, out)
		}
	}
	for _, c := range []struct{ from, to, gap, delay int }{{0, 450, 300, 150}, {350, 1000, 500, 10}, {90, 110, 10, 10}, {950, 1000, 50, 0}} {
		if got, want := w.between(at(c.from), at(c.to)), (pause{float64(c.gap), float64(c.delay)}); got != want {
			t.Errorf("%d to %d: %+v, want %+v", c.from, c.to, got, want)
		}
	}
}
