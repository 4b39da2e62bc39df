package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/google/uuid"

	"github.com/tintype/tintype/bench"
	"github.com/tintype/tintype/internal/deployment"
	"github.com/tintype/tintype/topologies"
)

// benchCommand measures.
type benchCommand struct {
	Throughput throughputCommand   `cmd:"" help:"Measure photos a second and latency, beside the bare loop of the same functions."`
	Goka       gokaCommand         `cmd:"" help:"Measure the engine, exactly once, beside stock goka."`
	Windows    benchWindowsCommand `cmd:"" help:"Measure windows."`
}

// throughputCommand measures the whole pipeline on this machine.
type throughputCommand struct {
	serverFlags
	workFlags
	Synthetic   int           `help:"How many photos to generate for each round." default:"200"`
	Rounds      int           `help:"How often both sides are measured, by turns; the median counts." default:"3"`
	Seed        uint64        `help:"Seed of the generated photos." default:"1"`
	Small       bool          `help:"Generate photos of a few kilobytes."`
	Rate        float64       `help:"Uploads a second at which latency is measured; 0 is half of the throughput found." default:"0"`
	WaitTimeout time.Duration `help:"How long a round may wait for its last rows." default:"5m"`
	Output      string        `short:"o" env:"-" help:"text or json." enum:"text,json" default:"text"`
}

// Help shows examples and says what is measured.
func (throughputCommand) Help() string {
	return "Examples:\n  tintype bench throughput\n  tintype bench throughput --small --synthetic 5000 --rounds 5 -o json\n\n" +
		"Throughput counts from the first upload to the moment when the last row is queryable, at full load; latency is measured at a rate " +
		"that leaves room. CPU is that of this process: the producer, all stages and, without --kafka, the embedded Kafka; ClickHouse has a process of its own.\n\n" +
		"With servers of your own the topics of the run are deleted afterwards; its rows stay, so name a database for it in --clickhouse."
}

// Run implements the command.
func (c *throughputCommand) Run(e *env) (err error) {
	dir, err := os.MkdirTemp("", "tintype-bench-")
	if err != nil {
		return &setupError{err}
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	work, err := c.work(filepath.Join(dir, "state"), topologies.NewMetrics())
	if err != nil {
		return err
	}
	addresses, stop, err := c.servers(e, dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stop()) }()
	// Uploads of other runs would be work, or duplicates that cost none.
	name := "bench-" + uuid.NewString()[:8]
	d, err := openAt(e.ctx, addresses, nameFlags{Deployment: name, UploadsTopic: name + "-uploads"}, e.logger())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	if c.Kafka != "" {
		defer func() { err = errors.Join(err, deleteTopics(e.ctx, d)) }()
	}
	report, err := bench.Throughput(e.ctx, d, work, bench.Options{
		Photos: c.Synthetic, Rounds: c.Rounds, Seed: c.Seed, Small: c.Small, Rate: c.Rate, Timeout: c.WaitTimeout, Progress: e.say,
	})
	if err != nil {
		return err
	}
	if err := c.print(e.stdout, report); err != nil {
		return err
	}
	if report.Missing > 0 {
		return fmt.Errorf("%d uploads were not queryable in time", report.Missing)
	}
	return nil
}

// deleteTopics deletes what a bench made on servers that stay. The groups are
// empty then, and Kafka forgets them by itself.
func deleteTopics(ctx context.Context, d *deployment.Deployment) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
	defer cancel()
	admin, err := d.Kafka.Admin()
	if err != nil {
		return err
	}
	defer admin.Close()
	all, err := admin.ListTopics(ctx)
	if err != nil {
		return fmt.Errorf("bench: list topics to delete: %w", err)
	}
	own := slices.DeleteFunc(all.Names(), func(topic string) bool { return !strings.HasPrefix(topic, d.Name+"-") })
	if _, err := admin.DeleteTopics(ctx, own...); err != nil {
		return fmt.Errorf("bench: delete topics: %w", err)
	}
	return nil
}

func (c *throughputCommand) print(w io.Writer, r *bench.Report) error {
	if c.Output == "json" {
		return json.NewEncoder(w).Encode(r)
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	line := func(format string, args ...any) { _, _ = fmt.Fprintf(t, format+"\n", args...) } // Flush returns the error.
	line("photos\t%d a round, %s each on average, seed %d", c.Synthetic, bytesText(uint64(r.PhotoBytes)), r.Seed)
	line("machine\t%d processors, %s, %s", r.CPUs, r.System, r.Go)
	for i, round := range r.Rounds {
		line("round %d\tpipeline %.1f photos/s, bare loop %.1f", i+1, round.Pipeline.PhotosPerSecond, round.Bare.PhotosPerSecond)
	}
	line("pipeline\t%.1f photos/s, %.1f ms of CPU a photo (median)", r.Pipeline.PhotosPerSecond, r.Pipeline.CPUMSPerPhoto)
	line("bare loop\t%.1f photos/s, %.1f ms of CPU a photo (median)", r.Bare.PhotosPerSecond, r.Bare.CPUMSPerPhoto)
	line("share\t%.0f %% of the bare loop's speed", 100*r.Share)
	line("upload to queryable\tp50 %.0f ms, p99 %.0f ms, max %.0f ms at %.0f photos/s", r.Latency.P50MS, r.Latency.P99MS, r.Latency.MaxMS, r.Latency.Rate)
	return t.Flush()
}
