package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/tintype/tintype/event"
	"github.com/tintype/tintype/exactly"
	"github.com/tintype/tintype/internal/deployment"
	"github.com/tintype/tintype/internal/lifecycle"
	"github.com/tintype/tintype/internal/servers"
	"github.com/tintype/tintype/topologies"
	"github.com/tintype/tintype/transform/pixel"
)

// workFlags say how a process runs the stages; demo, run and bench share them.
type workFlags struct {
	Sizes          string        `help:"Renditions to make: [NAME=]SIZE:fit or WIDTHxHEIGHT:fill, by commas." default:"1024:fit,512:fit,128x128:fill"`
	DecodeBudget   time.Duration `help:"How long one photo may take to render; it dies with reason decode_budget after that." default:"5s"`
	RenderMemory   int64         `help:"Bytes that all photos in hand of the process hold at most, as files and while they are rendered." default:"268435456"`
	Delivery       string        `help:"What is promised of each upload: exactly-once, at-least-once (none is lost, some may come twice), at-most-once (none comes twice, some may be lost)." enum:"exactly-once,at-least-once,at-most-once" default:"exactly-once"`
	RepeatTTL      time.Duration `help:"How long an upload id is taken, in event time: the same id within it is a repeat." default:"720h"`
	CommitInterval time.Duration `help:"Longest time that a transaction gathers." default:"100ms"`
	LoadLinger     time.Duration `help:"How long the loader gathers rows for an insert." default:"100ms"`
	timeFlags
}

// timeFlags say how event time is treated.
type timeFlags struct {
	Aggregates     string        `help:"YAML file that declares the aggregates of windows (docs/windows.md); without it the defaults." type:"path" placeholder:"FILE"`
	EarlyCadence   time.Duration `help:"Least time between two early results of a key." default:"1s"`
	MaxOpenWindows int           `help:"How many open windows of an aggregate a key may have; an upload over it is a dead letter of stage windows." default:"10000"`
	MaxAhead       time.Duration `help:"How far an upload's event time may be ahead of the time the broker appended it at; further ahead it becomes that time." default:"1m"`
	TickAfter      time.Duration `help:"How long a partition of uploads is idle before a control record moves its stream time." default:"10s"`
	TickAllowance  time.Duration `help:"How far such a control record stays behind its append time." default:"10s"`
	Ticks          bool          `help:"Write control records into idle partitions of uploads; without them those hold back the windows." default:"true" negatable:""`
}

// time turns the flags into what a runner takes.
func (f timeFlags) time() (deployment.Time, error) {
	if f.EarlyCadence <= 0 || f.MaxAhead <= 0 || f.TickAfter <= 0 || f.TickAllowance <= 0 || f.MaxOpenWindows <= 0 {
		return deployment.Time{}, &usageError{errors.New("--early-cadence, --max-ahead, --tick-after, --tick-allowance and --max-open-windows are more than 0")}
	}
	t := deployment.Time{
		EarlyCadence: f.EarlyCadence, MaxOpenWindows: f.MaxOpenWindows, MaxAhead: f.MaxAhead, TickAfter: f.TickAfter, TickAllowance: f.TickAllowance,
	}
	if !f.Ticks {
		t.TickAfter = -1
	}
	if f.Aggregates == "" {
		return t, nil
	}
	file, err := os.Open(f.Aggregates)
	if err != nil {
		return deployment.Time{}, &usageError{fmt.Errorf("--aggregates: %w", err)}
	}
	defer func() { _ = file.Close() }() // It was only read.
	if t.Windows, err = topologies.ReadAggregates(file); err != nil {
		return deployment.Time{}, &usageError{fmt.Errorf("--aggregates %s: %w", f.Aggregates, err)}
	}
	return t, nil
}

// work turns the flags into what a runner takes.
func (f workFlags) work(stateDir string, metrics *topologies.Metrics) (deployment.Work, error) {
	specs, err := pixel.ParseSpecs(f.Sizes)
	if err != nil {
		return deployment.Work{}, &usageError{fmt.Errorf("--sizes: %w", err)}
	}
	if f.DecodeBudget <= 0 || f.RenderMemory <= 0 || f.CommitInterval <= 0 || f.LoadLinger <= 0 || f.RepeatTTL <= 0 {
		return deployment.Work{}, &usageError{errors.New("--decode-budget, --render-memory, --repeat-ttl, --commit-interval and --load-linger are more than 0")}
	}
	eventTime, err := f.time()
	if err != nil {
		return deployment.Work{}, err
	}
	return deployment.Work{
		Time: eventTime, StateDir: stateDir, Specs: specs, DecodeBudget: f.DecodeBudget, RenderMemory: f.RenderMemory,
		Delivery: exactly.Delivery(f.Delivery), RepeatTTL: f.RepeatTTL, CommitInterval: f.CommitInterval, LoadLinger: f.LoadLinger, Metrics: metrics,
	}, nil
}

// openRunner makes the runner; what it refuses is a flag's value or a state
// folder that cannot be used.
func openRunner(d *deployment.Deployment, work deployment.Work) (*topologies.Runner, error) {
	runner, err := d.Runner(work)
	if _, ok := errors.AsType[*fs.PathError](err); ok {
		return nil, &setupError{fmt.Errorf("%w; is the state folder writable?", err)}
	}
	if err != nil {
		return nil, &usageError{err}
	}
	return runner, nil
}

// faceFlags are the HTTP face of a worker.
type faceFlags struct {
	HTTPListen string `help:"Address of /metrics, /healthz and /readyz; port 0 takes a free one. The default takes a free one when it is in use (default: ${default})." default:"${http_listen}" placeholder:"ADDRESS"`
}

// serve starts the face of a deployment's runner.
func (f faceFlags) serve(ctx context.Context, d *deployment.Deployment, runner *topologies.Runner, metrics *topologies.Metrics, log *slog.Logger) (string, func(), error) {
	client, err := d.Kafka.Client()
	if err != nil {
		return "", nil, err
	}
	behind := func(ctx context.Context, group string) (kadm.DescribedGroupLag, error) {
		return exactly.Behind(ctx, client, group)
	}
	registry := prometheus.NewRegistry()
	metrics.Register(registry)
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		&lifecycle.Lag{Groups: runner.Groups(), Ask: behind}, runner)
	face := lifecycle.Face{
		Listen: f.HTTPListen, Fallback: f.HTTPListen == flagDefaults()["http_listen"], Metrics: registry, Ready: runner.Ready, Pages: runner.Pages(), Log: log,
	}
	address, wait, err := face.Serve(ctx)
	if err != nil {
		client.Close()
		return "", nil, &setupError{err}
	}
	return address, func() { wait(); client.Close() }, nil
}

// runCommand runs stages until a signal.
type runCommand struct {
	deploymentFlags
	workFlags
	faceFlags
	Only     []string `help:"Stages to run: extract, transform, windows, load; all without it." placeholder:"STAGE"`
	StateDir string   `help:"Folder for tables and the instance id; one process a folder." default:"${state}" type:"path"`
}

// Help shows examples.
func (runCommand) Help() string {
	return "Examples:\n  tintype run\n  tintype run --only extract,transform --kafka kafka+tls://me@broker:9093?sasl=scram-sha-512\n\n" +
		"The stages run until SIGTERM or SIGINT; then they finish what is in hand, commit, and leave their groups. " +
		"Run more processes, each with its own --state-dir, to share the partitions."
}

// Run implements the command.
func (c *runCommand) Run(e *env) error {
	softMemoryLimit()
	log := e.logger()
	metrics := topologies.NewMetrics()
	work, err := c.work(c.StateDir, metrics)
	if err != nil {
		return err
	}
	for _, name := range c.Only {
		stage := event.Stage(name)
		if !slices.Contains(topologies.Stages(), stage) {
			return &usageError{fmt.Errorf("--only: there is no stage %q: want extract, transform, windows or load", name)}
		}
		work.Stages = append(work.Stages, stage)
	}
	d, err := c.open(e.ctx, log)
	if err != nil {
		return err
	}
	runner, err := openRunner(d, work)
	if err != nil {
		return errors.Join(err, d.Close())
	}
	address, wait, err := c.serve(e.ctx, d, runner, metrics, log)
	if err != nil {
		return errors.Join(err, d.Close())
	}
	defer wait()
	log.Info("stages started", slog.String("deployment", d.Name), slog.Any("groups", runner.Groups()), slog.Int("partitions", d.PartitionCount),
		slog.String("metrics", "http://"+address+"/metrics"))
	err = runner.Run(e.ctx, d.PartitionCount)
	log.Info("stages ended", slog.Bool("drained", err == nil))
	err = d.Advise(errors.Join(err, d.Close()))
	if servers.Refused(err) {
		return &setupError{err}
	}
	return err
}
