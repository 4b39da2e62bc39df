// Package gokabench measures package exactly against stock goka on the same
// broker, by turns in one run, so that a busy machine is busy for both.
package gokabench

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Measurements are the names of what can be measured, in the order in which it
// is done.
var Measurements = []string{"count", "hops", "rebalance", "recovery"}

// Options say what to measure.
type Options struct {
	// Brokers are plain host:port addresses.
	Brokers []string
	// Dir takes the state of the tables; what a run puts there, it removes.
	Dir string
	// Only are the Measurements to make; none: all.
	Only []string
	// Rounds is how often each side has its turn.
	Rounds int
	// Partitions of every topic.
	Partitions int
	// CommitInterval is the adapter's; every measurement has the same.
	CommitInterval time.Duration

	// CountRecords are counted by key, with values of each of CountBytes.
	CountRecords int
	CountBytes   []int
	CountKeys    int
	// HopRate is how many records a second pass three hops, for HopTime a turn.
	HopRate float64
	HopTime time.Duration
	// RebalanceRate is how many records a second flow while members come and go.
	RebalanceRate float64
	// RecoveryKeys of RecoveryBytes each are recovered.
	RecoveryKeys  int
	RecoveryBytes int

	// Progress, when set, hears what is being measured.
	Progress func(string)
}

// A Report is what was measured, and on what. A measurement that was not asked
// for is nil.
type Report struct {
	Machine   Machine    `json:"machine"`
	Rounds    int        `json:"rounds"`
	Settings  Settings   `json:"settings"`
	Count     []Count    `json:"count,omitempty"`
	Hops      *Hops      `json:"hops,omitempty"`
	Rebalance *Rebalance `json:"rebalance,omitempty"`
	Recovery  *Recovery  `json:"recovery,omitempty"`
}

// Settings are what both sides ran with.
type Settings struct {
	Partitions       int     `json:"partitions"`
	CommitIntervalMS float64 `json:"adapter_commit_interval_ms"`
	Adapter          string  `json:"adapter"`
	Stock            string  `json:"stock"`
}

// Run measures.
func Run(ctx context.Context, o Options) (r *Report, err error) {
	switch {
	case o.Rounds < 1 || o.Partitions < 1 || o.CountRecords < 1 || o.CountKeys < 1 || len(o.CountBytes) == 0 || o.RecoveryKeys < o.Partitions:
		return nil, errors.New("bench: rounds, partitions, records and keys are 1 at least")
	case o.HopRate <= 0 || o.RebalanceRate <= 0 || o.HopTime <= 0:
		return nil, errors.New("bench: rates and times are positive")
	}
	for _, name := range o.Only {
		if !slices.Contains(Measurements, name) {
			return nil, fmt.Errorf("bench: there is no measurement %q: want %v", name, Measurements)
		}
	}
	if o.Progress == nil {
		o.Progress = func(string) {}
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(o.Brokers...), kgo.RecordPartitioner(kgo.StickyKeyPartitioner(nil)),
		kgo.ProducerLinger(5*time.Millisecond), kgo.MaxBufferedRecords(50_000))
	if err != nil {
		return nil, fmt.Errorf("bench: create client: %w", err)
	}
	defer client.Close()
	b := &bench{Options: o, client: client, admin: kadm.NewClient(client), prefix: "bench-" + uuid.NewString()[:8]}
	defer func() { err = errors.Join(err, b.clean(context.WithoutCancel(ctx))) }()
	r = &Report{Rounds: o.Rounds, Settings: Settings{
		Partitions: o.Partitions, CommitIntervalMS: milliseconds(o.CommitInterval), Adapter: adapterSettings, Stock: stockSettings,
	}}
	if r.Machine, err = b.machine(ctx); err != nil {
		return nil, err
	}
	for _, m := range []struct {
		name    string
		measure func(context.Context) error
	}{
		{"count", func(ctx context.Context) (err error) { r.Count, err = b.count(ctx); return err }},
		{"hops", func(ctx context.Context) (err error) { r.Hops, err = b.hops(ctx); return err }},
		{"rebalance", func(ctx context.Context) (err error) { r.Rebalance, err = b.rebalance(ctx); return err }},
		{"recovery", func(ctx context.Context) (err error) { r.Recovery, err = b.recovery(ctx); return err }},
	} {
		if len(o.Only) > 0 && !slices.Contains(o.Only, m.name) {
			continue
		}
		if err := m.measure(ctx); err != nil {
			return nil, fmt.Errorf("bench: measure %s: %w", m.name, err)
		}
	}
	return r, nil
}

// bench is one run.
type bench struct {
	Options
	client *kgo.Client
	admin  *kadm.Client
	// prefix begins the names of all topics and groups of the run.
	prefix string
	names  int
}

// name makes a name that nothing else has.
func (b *bench) name(what string) string {
	b.names++
	return fmt.Sprintf("%s-%s-%d", b.prefix, what, b.names)
}
