package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/tintype/tintype/bench/goka"
	"github.com/tintype/tintype/internal/devstack"
)

// gokaCommand measures exactly against stock goka.
type gokaCommand struct {
	Kafka      string        `help:"Plain host:port addresses of a Kafka, separated by commas; none starts the embedded one, whose figures are its own." placeholder:"ADDRESS"`
	KafkaName  string        `help:"What the Kafka is, for the report, where its protocol does not tell enough." placeholder:"TEXT"`
	Only       []string      `help:"What to measure, separated by commas: count, hops, rebalance, recovery; default all." placeholder:"NAME,…"`
	Rounds     int           `help:"How often each side has its turn; medians count." default:"3"`
	Partitions int           `help:"Partitions of each topic." default:"4"`
	Commit     time.Duration `help:"Commit interval of exactly, the same for all measurements." default:"100ms"`
	Records    int           `help:"Records to count." default:"2000000"`
	Bytes      []int         `help:"Sizes of their values." default:"100,1000"`
	Keys       int           `help:"Keys that are counted." default:"10000"`
	Rate       float64       `help:"Records a second through three hops." default:"40"`
	HopTime    time.Duration `help:"How long they flow in each turn." default:"20s"`
	FlowRate   float64       `help:"Records a second while members come and go." default:"400"`
	TableKeys  int           `help:"Keys of the table that is recovered." default:"1000000"`
	TableBytes int           `help:"Size of their values." default:"100"`
	Out        string        `help:"File to write the report to, as JSON." type:"path" placeholder:"FILE"`
	Output     string        `short:"o" env:"-" help:"text or json." enum:"text,json" default:"text"`
}

// Help shows examples and says what is measured.
func (gokaCommand) Help() string {
	return "Examples:\n  tintype bench goka --kafka 127.0.0.1:9092 --out bench/results/goka.json\n  tintype bench goka --only hops,rebalance\n\n" +
		"count: a stateful count by key, to the last commit. hops: three processors with tables in a row, from sending to a committed read. " +
		"rebalance: what a second member costs the first that joins and leaves in order. recovery: from start to recovered tables, with an " +
		"empty state directory and with the last one.\n\n" +
		"The sides run by turns in this process, which sends and reads, too. Topics and groups of the run are deleted afterwards."
}

// Run implements the command.
func (c *gokaCommand) Run(e *env) (err error) {
	dir, err := os.MkdirTemp("", "tintype-bench-")
	if err != nil {
		return &setupError{err}
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	address, name := c.Kafka, c.KafkaName
	if address == "" {
		e.say("starting the embedded Kafka")
		kafka, err := devstack.StartKafka(e.ctx, devstack.KafkaOptions{Dir: filepath.Join(dir, "kafka")})
		if err != nil {
			return &setupError{err}
		}
		defer func() { err = errors.Join(err, kafka.Close()) }()
		address, name = kafka.Addr(), "kfake, embedded in this process"
	} else if strings.ContainsAny(address, "/@?") {
		return &usageError{fmt.Errorf("--kafka %s: want host:port, stock goka is not set up for more", redacted(address))}
	}
	r, err := gokabench.Run(e.ctx, gokabench.Options{
		Brokers: strings.Split(address, ","), Dir: dir, Only: c.Only, Rounds: c.Rounds, Partitions: c.Partitions, CommitInterval: c.Commit,
		CountRecords: c.Records, CountBytes: c.Bytes, CountKeys: c.Keys, HopRate: c.Rate, HopTime: c.HopTime,
		RebalanceRate: c.FlowRate, RecoveryKeys: c.TableKeys, RecoveryBytes: c.TableBytes, Progress: e.say,
	})
	if err != nil {
		return err
	}
	if name != "" {
		r.Machine.Kafka = name
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
	return printGoka(e.stdout, r)
}

func printGoka(w io.Writer, r *gokabench.Report) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	line := func(format string, args ...any) { _, _ = fmt.Fprintf(t, format+"\n", args...) } // Flush returns the error.
	line("machine\t%d processors, %s, %s, load %s", r.Machine.CPUs, r.Machine.System, r.Machine.Go, r.Machine.Load)
	line("kafka\t%s", r.Machine.Kafka)
	line("exactly\t%s; every %.0f ms", r.Settings.Adapter, r.Settings.CommitIntervalMS)
	line("stock goka\t%s", r.Settings.Stock)
	for _, c := range r.Count {
		line("count, %d bytes\texactly %.0f records/s (%.1f µs of CPU each), stock %.0f (%.1f): %.2f times", c.Bytes, c.ExactlyMedian, c.ExactlyCPU, c.StockMedian, c.StockCPU, c.Ratio)
	}
	if h := r.Hops; h != nil {
		line("three hops, %.0f/s\texactly p50 %.0f ms, p99 %.0f; at a fixed interval %.0f, %.0f; stock (at least once) %.0f, %.0f", h.Rate,
			h.Exactly.P50MS, h.Exactly.P99MS, h.Fixed.P50MS, h.Fixed.P99MS, h.Stock.P50MS, h.Stock.P99MS)
	}
	if b := r.Rebalance; b != nil {
		line("rebalance\tjoin: exactly %.0f ms, stock %.0f; leave: exactly %.0f ms, stock %.0f", b.Exactly.JoinGapMedianMS, b.Stock.JoinGapMedianMS, b.Exactly.LeaveGapMedianMS, b.Stock.LeaveGapMedianMS)
	}
	if v := r.Recovery; v != nil {
		line("recovery, %d keys\tcold: exactly %.0f ms, stock %.0f; warm: exactly %.0f ms, stock %.0f", v.Keys, v.Exactly.ColdMedianMS, v.Stock.ColdMedianMS, v.Exactly.WarmMedianMS, v.Stock.WarmMedianMS)
	}
	return t.Flush()
}
