package windowsbench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tintype/tintype/blob"
	"github.com/tintype/tintype/event"
	"github.com/tintype/tintype/topologies"
	"github.com/tintype/tintype/transform/window"
)

// Options say what to measure, and how.
type Options struct {
	Brokers []string
	// Dir takes the state of tables.
	Dir        string
	Partitions int
	// Only names the measurements to make: throughput, growth, million; empty: all.
	Only []string
	// Rounds is how often each side of the throughput has its turn.
	Rounds  int
	Records int
	Keys    int
	// Commit is the commit interval of both sides.
	Commit time.Duration
	// Cadence is the least time between early results of a key.
	Cadence time.Duration
	// Growth are the numbers of open windows to measure at.
	Growth []int
	// Million is how many windows are open when recovery and closing are measured.
	Million int
	// Peer runs Kafka Streams; nil: there is no peer.
	Peer     func(ctx context.Context, job PeerJob) (PeerRun, error)
	Progress func(line string)
}

// A PeerJob is what Kafka Streams is to do: count a topic by key in windows. The topics
// are there, the application is new.
type PeerJob struct {
	Brokers, Input, Output, Application string
	Spec                                window.Spec
	Commit                              time.Duration
	Records                             int
}

// A PeerRun is one turn of Kafka Streams.
type PeerRun struct {
	RecordsPerSecond float64 `json:"records_per_second"`
	Settings         string  `json:"settings"`
}

// Report is what was measured.
type Report struct {
	Machine    Machine     `json:"machine"`
	Settings   Settings    `json:"settings"`
	Throughput *Throughput `json:"throughput,omitempty"`
	Growth     []Growth    `json:"growth,omitempty"`
	Million    *Million    `json:"million,omitempty"`
}

// Machine is what a report was measured on.
type Machine struct {
	CPUs int       `json:"cpus"`
	Go   string    `json:"go"`
	Load string    `json:"load_average,omitempty"`
	Date time.Time `json:"date"`
}

// Settings are the same for all measurements.
type Settings struct {
	Partitions       int     `json:"partitions"`
	CommitIntervalMS float64 `json:"commit_interval_ms"`
	CadenceMS        float64 `json:"early_cadence_ms"`
	Window           string  `json:"window"`
}

type bench struct {
	Options
	prefix string
	client *kgo.Client
	admin  *kadm.Client
	report *Report
}

// windowSize is the size of the tumbling windows that are measured.
const windowSize = 10 * time.Second

// Run measures, by turns where there are sides.
func Run(ctx context.Context, o Options) (_ *Report, err error) {
	b := &bench{Options: o, prefix: "bench-" + uuid.NewString()[:8]}
	if b.client, err = kgo.NewClient(kgo.SeedBrokers(o.Brokers...)); err != nil {
		return nil, fmt.Errorf("bench: client: %w", err)
	}
	defer b.client.Close()
	b.admin = kadm.NewClient(b.client)
	defer func() { err = errors.Join(err, b.clean(ctx)) }()
	b.report = &Report{
		Machine: Machine{CPUs: runtime.GOMAXPROCS(0), Go: runtime.Version(), Date: time.Now().UTC().Truncate(time.Second)},
		Settings: Settings{
			Partitions: o.Partitions, CommitIntervalMS: float64(o.Commit.Milliseconds()), CadenceMS: float64(o.Cadence.Milliseconds()),
			Window: window.NewTumbling(windowSize, 0).String() + ", count and bytes_in, exactly once",
		},
	}
	if load, err := os.ReadFile("/proc/loadavg"); err == nil {
		b.report.Machine.Load = strings.Join(strings.Fields(string(load))[:3], " ")
	}
	for _, m := range []struct {
		name string
		run  func(context.Context) error
	}{{"throughput", b.throughput}, {"growth", b.growth}, {"million", b.million}} {
		if len(o.Only) > 0 && !slices.Contains(o.Only, m.name) {
			continue
		}
		if err := m.run(ctx); err != nil {
			return nil, fmt.Errorf("bench: %s: %w", m.name, err)
		}
	}
	return b.report, nil
}

// A place is the topics of one measurement, which several groups may read.
type place struct {
	topics event.Topics
	feeder *feeder
}

// place makes topics, and a feeder of measures. The topic measures keeps the
// timestamps that it is given, for Kafka Streams.
func (b *bench) place(ctx context.Context, what string) (*place, error) {
	name := b.prefix + "-" + what
	p := &place{topics: event.TopicsOf(name, name+"-uploads")}
	for _, topic := range []event.Topic{p.topics.Measures, p.topics.WindowResults, p.topics.Late, p.topics.DeadLetters} {
		if _, err := b.admin.CreateTopic(ctx, int32(b.Partitions), 1, map[string]*string{"retention.ms": new("-1")}, topic.Name); err != nil {
			return nil, fmt.Errorf("create topic %s: %w", topic.Name, err)
		}
	}
	if err := until(ctx, "the topics to appear", func() (bool, error) {
		listed, err := b.admin.ListTopics(ctx, p.topics.Measures.Name, p.topics.WindowResults.Name, p.topics.Late.Name, p.topics.DeadLetters.Name)
		return err == nil && listed.Error() == nil, err
	}); err != nil {
		return nil, err
	}
	var err error
	p.feeder, err = newFeeder(b.Brokers, p.topics.Measures.Name, b.Partitions)
	return p, err
}

// patience bounds what a measurement waits for.
const patience = 10 * time.Minute

// until waits for something that only asking can tell.
func until(ctx context.Context, what string, ok func() (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		done, err := ok()
		if done || err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("wait for %s: %w", what, ctx.Err())
		}
	}
}

// A stage is a running stage windows.
type stage struct {
	runner *topologies.Runner
	cancel context.CancelFunc
	done   chan error
}

// start runs stage windows over a place, as a deployment of its own name, until stop.
func (b *bench) start(ctx context.Context, p *place, deployment, stateDir string, set *window.Set, cadence time.Duration) (*stage, error) {
	blobs, err := blob.Open(ctx, "mem://")
	if err != nil {
		return nil, err
	}
	runner, err := topologies.NewRunner(topologies.Config{
		Deployment: deployment, Topics: p.topics, Brokers: b.Brokers, CreateTopics: true, Blobs: blobs,
		StateDir: stateDir, Instance: "bench", CommitInterval: b.Commit, Windows: set, EarlyCadence: cadence, MaxOpenWindows: 1 << 30,
	}, event.StageWindows)
	if err != nil {
		return nil, errors.Join(err, blobs.Close())
	}
	ctx, cancel := context.WithCancel(ctx)
	s := &stage{runner: runner, cancel: cancel, done: make(chan error, 1)}
	go func() { s.done <- errors.Join(runner.Run(ctx, b.Partitions), blobs.Close()) }()
	return s, nil
}

// stop drains the stage.
func (s *stage) stop() error {
	s.cancel()
	return <-s.done
}

// settled is how many records of the topic measures a deployment's group has
// committed; a topic without gaps has as many as its end.
func (b *bench) settled(ctx context.Context, p *place, deployment string) int64 {
	offsets, err := b.admin.FetchOffsets(ctx, topologies.Group(deployment, event.StageWindows))
	if err != nil {
		return 0 // The group is only just coming to be.
	}
	sum := int64(0)
	for _, o := range offsets.Offsets()[p.topics.Measures.Name] {
		sum += max(o.At, 0)
	}
	return sum
}

// clean deletes what the run made.
func (b *bench) clean(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	topics, err := b.admin.ListTopics(ctx)
	if err != nil {
		return fmt.Errorf("bench: list topics to delete: %w", err)
	}
	own := slices.DeleteFunc(topics.Names(), func(name string) bool { return !strings.HasPrefix(name, b.prefix) })
	if _, err := b.admin.DeleteTopics(ctx, own...); err != nil {
		return fmt.Errorf("bench: delete topics: %w", err)
	}
	return nil
}

func timeOf(ms int64) time.Time { return time.UnixMilli(ms) }

func median(list []float64) float64 {
	sorted := slices.Sorted(slices.Values(list))
	return sorted[len(sorted)/2]
}
