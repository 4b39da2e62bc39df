package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/tintype/tintype/bench/windows"
	"github.com/tintype/tintype/internal/devstack"
	"github.com/tintype/tintype/internal/kstreams"
)

// benchWindowsCommand measures stage windows.
type benchWindowsCommand struct {
	Kafka      string        `help:"Plain host:port addresses of a Kafka, separated by commas; none starts the embedded one, whose figures are its own." placeholder:"ADDRESS"`
	Only       []string      `help:"What to measure, separated by commas: throughput, growth, million; default all." placeholder:"NAME,…"`
	Rounds     int           `help:"How often each side has its turn; medians count." default:"3"`
	Partitions int           `help:"Partitions of each topic." default:"4"`
	Commit     time.Duration `help:"Commit interval of both sides." default:"100ms"`
	Cadence    time.Duration `help:"Least time between two early results of a key." default:"1s"`
	Records    int           `help:"Records to count." default:"2000000"`
	Keys       int           `help:"Keys that are counted." default:"10000"`
	Growth     []int         `help:"Numbers of open windows to measure at." default:"1000,10000,100000,1000000"`
	Million    int           `help:"How many windows are open when recovery and closing are measured." default:"1000000"`
	Peer       bool          `help:"Measure Kafka Streams by turns, over the same topic; needs Java 17 and Maven."`
	Out        string        `help:"File to write the report to, as JSON." type:"path" placeholder:"FILE"`
	Output     string        `short:"o" env:"-" help:"text or json." enum:"text,json" default:"text"`
}

// Help shows examples and says what is measured.
func (benchWindowsCommand) Help() string {
	return "Examples:\n  tintype bench windows --kafka 127.0.0.1:9092 --out bench/results/windows.json\n  tintype bench windows --only million\n\n" +
		"throughput: a count by key in tumbling windows of 10 s, to the last commit. growth: the same with ever more windows open. " +
		"million: what open windows take in memory, how long they take to recover, and how long the flow stops while 1 % of them close.\n\n" +
		"Topics of the run are deleted afterwards."
}

// Run implements the command.
func (c *benchWindowsCommand) Run(e *env) (err error) {
	dir, err := os.MkdirTemp("", "tintype-bench-")
	if err != nil {
		return &setupError{err}
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	address := c.Kafka
	if address == "" {
		e.say("starting the embedded Kafka")
		kafka, err := devstack.StartKafka(e.ctx, devstack.KafkaOptions{Dir: filepath.Join(dir, "kafka")})
		if err != nil {
			return &setupError{err}
		}
		defer func() { err = errors.Join(err, kafka.Close()) }()
		address = kafka.Addr()
	} else if strings.ContainsAny(address, "/@?") {
		return &usageError{fmt.Errorf("--kafka %s: want host:port", redacted(address))}
	}
	var peer func(context.Context, windowsbench.PeerJob) (windowsbench.PeerRun, error)
	if c.Peer {
		if peer, err = kafkaStreams(e.ctx); err != nil {
			return &setupError{err}
		}
	}
	r, err := windowsbench.Run(e.ctx, windowsbench.Options{
		Brokers: strings.Split(address, ","), Dir: dir, Only: c.Only, Rounds: c.Rounds, Partitions: c.Partitions, Commit: c.Commit, Cadence: c.Cadence,
		Records: c.Records, Keys: c.Keys, Growth: c.Growth, Million: c.Million, Peer: peer, Progress: e.say,
	})
	if err != nil {
		return err
	}
	if c.Out != "" {
		data, err := json.MarshalIndent(r, "", "  ")
		if err == nil {
			err = os.WriteFile(c.Out, append(data, '\n'), 0o644)
		}
		if err != nil {
			return fmt.Errorf("bench: write the report: %w", err)
		}
	}
	if c.Output == "json" {
		return json.NewEncoder(e.stdout).Encode(r)
	}
	return printWindowsBench(e.stdout, r)
}

// peerThreads is how many threads Kafka Streams has: one a processor of a small machine.
const peerThreads = 2

// kafkaStreams builds the peer, and returns what runs it.
func kafkaStreams(ctx context.Context) (func(context.Context, windowsbench.PeerJob) (windowsbench.PeerRun, error), error) {
	peer, err := kstreams.Build(ctx)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, job windowsbench.PeerJob) (windowsbench.PeerRun, error) {
		f, err := peer.Throughput(ctx, kstreams.Throughput{
			Bootstrap: job.Brokers, Input: job.Input, Output: job.Output, Application: job.Application,
			Spec:      fmt.Sprintf("%s:%d:%d", job.Spec.Kind, job.Spec.SizeMS, job.Spec.GraceMS),
			Guarantee: "exactly_once_v2", CommitIntervalMS: int(job.Commit.Milliseconds()), Threads: peerThreads, Records: job.Records,
		})
		return windowsbench.PeerRun{
			RecordsPerSecond: float64(f.CommittedRecordsPerS),
			Settings:         fmt.Sprintf("Kafka Streams %s, %s, %d threads, commit every %v, caching and RocksDB as by default", f.Version, f.Guarantee, f.Threads, job.Commit),
		}, err
	}, nil
}

func printWindowsBench(w io.Writer, r *windowsbench.Report) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	line := func(format string, args ...any) { _, _ = fmt.Fprintf(t, format+"\n", args...) } // Flush returns the error.
	line("machine\t%d processors, %s, load %s", r.Machine.CPUs, r.Machine.Go, r.Machine.Load)
	line("settings\t%d partitions, %s; commit every %.0f ms, early results every %.0f ms", r.Settings.Partitions, r.Settings.Window, r.Settings.CommitIntervalMS, r.Settings.CadenceMS)
	if c := r.Throughput; c != nil {
		line("%d records, %d keys\ttintype %.0f records/s", c.Records, c.Keys, c.TintypeMedian)
		if c.Ratio > 0 {
			line("\t%s: %.0f records/s; tintype %.2f times", c.PeerSettings, c.PeerMedian, c.Ratio)
		}
	}
	for _, g := range r.Growth {
		line("%d open windows\t%.0f records/s, heap %.0f MiB, state %.0f MiB", g.OpenWindows, g.RecordsPerSecond, mebibytes(int64(g.HeapBytes)), mebibytes(g.StateBytes))
	}
	if m := r.Million; m != nil {
		line("%d open windows\theap %.0f MiB, state %.0f MiB; recovery cold %.1f s, warm %.1f s", m.OpenWindows, mebibytes(int64(m.HeapBytes)), mebibytes(m.StateBytes), m.ColdRecoverySeconds, m.WarmRecoverySeconds)
		line("%d of them closed\tin %.2f s; longest gap of the flow %.0f ms (before: %.0f ms)", m.Closed, m.ClosingSeconds, m.LongestGapClosingMS, m.LongestGapBeforeMS)
	}
	return t.Flush()
}

func mebibytes(n int64) float64 { return float64(n) / (1 << 20) }
