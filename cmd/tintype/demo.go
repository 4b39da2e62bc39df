package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/tintype/tintype/bench/synthetic"
	"github.com/tintype/tintype/internal/deployment"
	"github.com/tintype/tintype/internal/produce"
	"github.com/tintype/tintype/topologies"
)

// demoCommand shows the whole way of a photo on one machine.
type demoCommand struct {
	serverFlags
	workFlags
	faceFlags
	Photos      string        `help:"Folder of photos to develop, instead of generated ones." type:"path" placeholder:"FOLDER"`
	Synthetic   int           `help:"How many photos to generate." default:"200"`
	Seed        uint64        `help:"Seed of the generated photos." default:"1"`
	Small       bool          `help:"Generate photos of a few kilobytes."`
	Once        bool          `help:"End after the summary."`
	Dir         string        `help:"Folder that keeps everything; without it a temporary one that is deleted." type:"path" placeholder:"FOLDER"`
	WaitTimeout time.Duration `help:"How long to wait for the last rows." default:"5m"`
	Output      string        `short:"o" env:"-" help:"text or json." enum:"text,json" default:"text"`
}

// Help shows examples.
func (demoCommand) Help() string {
	return "Examples:\n  tintype demo\n  tintype demo --photos ~/Pictures --once\n  tintype demo --once -o json"
}

// Run implements the command.
func (c *demoCommand) Run(e *env) (err error) {
	if c.Synthetic < 1 && c.Photos == "" {
		return &usageError{errors.New("demo: --synthetic is 1 at least")}
	}
	softMemoryLimit()
	dir := c.Dir
	if dir == "" {
		if dir, err = os.MkdirTemp("", "tintype-demo-"); err != nil {
			return &setupError{err}
		}
		defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	}
	log := e.logger()
	addresses, stop, err := c.servers(e, dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stop()) }()
	d, err := openAt(e.ctx, addresses, nameFlags{}, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	return c.develop(e, d, addresses, filepath.Join(dir, "state"), log)
}

// develop runs the stages, uploads, and shows the summary; without --once it
// goes on until a signal.
func (c *demoCommand) develop(e *env, d *deployment.Deployment, addresses demoAddresses, stateDir string, log *slog.Logger) error {
	metrics := topologies.NewMetrics()
	work, err := c.work(stateDir, metrics)
	if err != nil {
		return err
	}
	runner, err := openRunner(d, work)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(e.ctx)
	defer cancel()
	metricsAddress, wait, err := c.serve(ctx, d, runner, metrics, log)
	if err != nil {
		return err
	}
	defer wait()
	addresses.Metrics = "http://" + metricsAddress + "/metrics"
	ended := make(chan error, 1)
	go func() {
		ended <- runner.Run(ctx, d.PartitionCount)
		cancel() // Nobody develops any more.
	}()
	awaitReady(ctx, runner)
	began := time.Now()
	result, err := c.upload(ctx, e, d)
	if err == nil {
		err = c.show(ctx, e, d, addresses, began, result)
	}
	if err == nil && !c.Once {
		<-ctx.Done()
	}
	cancel()
	return errors.Join(<-ended, err)
}

// readyTimeout is how long a demo waits for its stages; it uploads then anyway,
// and what is wrong shows in what comes out.
const readyTimeout = 30 * time.Second

// awaitReady waits until the stages work, so that the latencies are those of a
// running deployment.
func awaitReady(ctx context.Context, runner *topologies.Runner) {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	_ = runner.AwaitReady(ctx) // What comes out tells.
}

// upload sends the photos and waits for their rows.
func (c *demoCommand) upload(ctx context.Context, e *env, d *deployment.Deployment) (outcome, error) {
	u := uploading{deployment: d, wait: true, waitTimeout: c.WaitTimeout, stderr: e.stderr, config: produce.Config{Uploader: "demo"}}
	if c.Photos != "" {
		e.say("uploading " + c.Photos)
		u.source = produce.Paths([]string{c.Photos}, e.stdin)
	} else {
		e.say(fmt.Sprintf("generating and uploading %d photos", c.Synthetic))
		u.source = produce.Synthetic(synthetic.New(synthetic.Options{Seed: c.Seed, Small: c.Small}), c.Synthetic)
		u.total = int64(c.Synthetic)
	}
	return u.run(ctx)
}

// show prints the summary and, where it goes on running, the addresses.
func (c *demoCommand) show(ctx context.Context, e *env, d *deployment.Deployment, addresses demoAddresses, began time.Time, result outcome) error {
	elapsed := time.Since(began)
	s, err := readSummary(ctx, d.ClickHouse, d.UploadsID, began.Add(-time.Minute))
	if err != nil {
		return err
	}
	if s.Windows, err = readWindows(ctx, d.ClickHouse, began, s.Uploads); err != nil {
		return err
	}
	s.ElapsedS, s.PhotosPerSecond = elapsed.Seconds(), float64(result.Queryable)/elapsed.Seconds()
	s.LatencyP50MS, s.LatencyP99MS = float64(result.P50)/float64(time.Millisecond), float64(result.P99)/float64(time.Millisecond)
	addresses.Kafka, addresses.ClickHouse = redacted(addresses.Kafka), redacted(addresses.ClickHouse)
	s.Missing, s.Addresses = len(result.Missing), addresses
	if err := s.print(e.stdout, c.Output); err != nil {
		return err
	}
	if !c.Once && c.Output == "text" {
		if err := addresses.print(e.stdout); err != nil {
			return err
		}
	}
	if result.Failed > 0 {
		return fmt.Errorf("%d files were not uploaded", result.Failed)
	}
	return result.missing(e.stderr)
}

// say tells a person what happens, beside the logs.
func (e *env) say(line string) {
	_, _ = fmt.Fprintln(e.stderr, "tintype:", line) // There is nowhere else to say it.
}
