package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/tintype/tintype/exactly"
	"github.com/tintype/tintype/internal/chaos"
)

// chaosCommand breaks a deployment of its own and recounts.
type chaosCommand struct {
	Seed     uint64  `help:"Seed of the plan; the same seed strikes the same way. 0 takes one by chance." placeholder:"S"`
	Minutes  float64 `help:"How long faults strike." default:"2"`
	Workers  int     `help:"Worker processes." default:"3"`
	Rate     float64 `help:"Uploads a second." default:"10"`
	Uploads  int     `help:"Fail where the log has fewer uploads at the end." placeholder:"N"`
	Delivery string  `help:"What the workers promise of each upload." enum:"exactly-once,at-least-once,at-most-once" default:"exactly-once"`
	Compare  bool    `help:"Run the plan under each of the three deliveries, and show them side by side."`
	Dir      string  `help:"Folder for the data and logs of all processes, which is kept; without it a temporary one, which is kept where the run failed." type:"path"`
	Output   string  `short:"o" env:"-" help:"text, or json: one object a run." enum:"text,json" default:"text"`
}

// Help shows examples.
func (chaosCommand) Help() string {
	return "Examples:\n  tintype chaos --seed 7 --minutes 2\n  tintype chaos --seed 7 --compare\n\n" +
		"Starts a real Kafka broker (it needs Java and Maven), ClickHouse and workers as processes of their own, kills, pauses and starves them by a plan, " +
		"and then recounts in two ways: tintype audit and tintype verify, and a plain consumer with plain SQL and windows counted by hand. " +
		"Exit code 1 when anything is missing or there twice, or when less than half of the kills hit an open transaction or an insert in flight."
}

// Run implements the command.
func (c *chaosCommand) Run(e *env) error {
	if c.length() < chaos.MinLength || c.Workers < 1 || c.Rate <= 0 {
		return &usageError{fmt.Errorf("--minutes is %g or more, --workers and --rate are more than 0", chaos.MinLength.Minutes())}
	}
	if c.Seed == 0 {
		c.Seed = rand.Uint64N(1_000_000) + 1
	}
	deliveries := []exactly.Delivery{exactly.Delivery(c.Delivery)}
	if c.Compare {
		deliveries = []exactly.Delivery{exactly.AtMostOnce, exactly.AtLeastOnce, exactly.ExactlyOnce}
	}
	var results []*chaos.Result
	for _, delivery := range deliveries {
		r, err := c.once(e, delivery)
		if err != nil {
			return err
		}
		results = append(results, r)
	}
	if err := c.print(e.stdout, results); err != nil {
		return err
	}
	if c.Compare && len(chaos.TellApart(results)) > 0 {
		return errors.New("chaos: the deliveries do not differ under these faults, so they prove nothing")
	}
	for _, r := range results {
		if len(c.failures(r)) > 0 {
			return fmt.Errorf("chaos: failed; the same again: tintype chaos --seed %d --minutes %g --workers %d --rate %g --delivery %s", r.Seed, c.Minutes, c.Workers, c.Rate, r.Delivery)
		}
	}
	return nil
}

// length is that of the plan.
func (c *chaosCommand) length() time.Duration {
	return time.Duration(c.Minutes * float64(time.Minute))
}

// failures says why a run failed.
func (c *chaosCommand) failures(r *chaos.Result) []string {
	failures := r.Failures()
	if r.Recount.Uploads < c.Uploads {
		failures = append(failures, fmt.Sprintf("the log has %d uploads, not %d", r.Recount.Uploads, c.Uploads))
	}
	return failures
}

// once runs the plan under one delivery.
func (c *chaosCommand) once(e *env, delivery exactly.Delivery) (result *chaos.Result, err error) {
	dir := c.Dir
	if dir == "" {
		if dir, err = os.MkdirTemp("", "tintype-chaos-"); err != nil {
			return nil, &setupError{err}
		}
	}
	if c.Compare {
		dir = filepath.Join(dir, string(delivery))
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, &setupError{err}
	}
	binary, err := os.Executable()
	if err != nil {
		return nil, &setupError{err}
	}
	var mu sync.Mutex
	began := time.Now()
	say := func(format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		_, _ = fmt.Fprintf(e.stderr, "%6s  "+format+"\n", append([]any{time.Since(began).Round(time.Second)}, args...)...) // There is nowhere else to say it.
	}
	say("chaos: seed %d, %g minutes, %s, logs in %s", c.Seed, c.Minutes, delivery, dir)
	ctx, cancel := context.WithTimeout(e.ctx, 3*c.length()+20*time.Minute)
	defer cancel()
	result, err = chaos.Run(ctx, chaos.Options{
		Seed: c.Seed, Length: c.length(), Workers: c.Workers, Rate: c.Rate, Delivery: delivery, Dir: dir,
		Binary: binary, Say: say,
	})
	if errors.Is(err, chaos.ErrMissing) {
		return nil, &setupError{err}
	}
	if err != nil {
		return nil, fmt.Errorf("%w (logs in %s)", err, dir)
	}
	if c.Dir != "" || len(c.failures(result)) > 0 {
		return result, nil
	}
	if err := os.RemoveAll(dir); err != nil {
		return nil, fmt.Errorf("chaos: delete the folder of a run: %w", err)
	}
	return result, nil
}

// print shows the results side by side.
func (c *chaosCommand) print(w io.Writer, results []*chaos.Result) error {
	if c.Output == "json" {
		for _, r := range results {
			if err := json.NewEncoder(w).Encode(r); err != nil {
				return err
			}
		}
		return nil
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	line := func(name string, value func(*chaos.Result) any) {
		_, _ = fmt.Fprint(t, name) // Flush returns the error.
		for _, r := range results {
			_, _ = fmt.Fprintf(t, "\t%v", value(r)) // As above.
		}
		_, _ = fmt.Fprintln(t) // As above.
	}
	line("delivery", func(r *chaos.Result) any { return r.Delivery })
	line("uploads acked", func(r *chaos.Result) any { return r.Acked })
	line("uploads in the log", func(r *chaos.Result) any { return r.Recount.Uploads })
	line("fates missing", func(r *chaos.Result) any { return r.Recount.FatesMissing })
	line("fates twice", func(r *chaos.Result) any { return r.Recount.FatesTwice })
	line("fates without an upload", func(r *chaos.Result) any { return r.Recount.FatesInvented })
	line("rows missing", func(r *chaos.Result) any { return r.Recount.RowsMissing })
	line("rows twice", func(r *chaos.Result) any { return r.Recount.RowsTwice })
	line("rows without an upload", func(r *chaos.Result) any { return r.Recount.RowsInvented })
	line("other differences", func(r *chaos.Result) any { return len(r.Recount.Others) })
	line("audit", func(r *chaos.Result) any { return map[bool]string{true: "proved", false: "not proved"}[r.AuditOK] })
	line("windows", func(r *chaos.Result) any { return r.Windows.Windows })
	line("windows missing or wrong", func(r *chaos.Result) any {
		return r.Windows.Missing + r.Windows.Wrong + r.Windows.Invented + r.Windows.Open + r.Windows.Twice
	})
	line("late uploads", func(r *chaos.Result) any { return r.Windows.Late })
	line("late uploads missing or wrong", func(r *chaos.Result) any { return r.Windows.LateMissing + r.Windows.LateInvented + r.Windows.LeftOut })
	line("verify", func(r *chaos.Result) any { return map[bool]string{true: "proved", false: "not proved"}[r.VerifyOK] })
	line("kills", func(r *chaos.Result) any { return r.Hits.Kills })
	line("  hit an open transaction", func(r *chaos.Result) any { return r.Hits.Open })
	line("  hit an insert in flight", func(r *chaos.Result) any { return r.Hits.InFlight })
	line("  hit either", func(r *chaos.Result) any { return r.Hits.Either })
	for _, kind := range chaos.Kinds() {
		line("fault: "+string(kind), func(r *chaos.Result) any { return fmt.Sprintf("%d of %d", r.Faults[kind], r.Planned[kind]) })
	}
	line("verdict", func(r *chaos.Result) any {
		return map[bool]string{true: "passed", false: "FAILED"}[len(c.failures(r)) == 0]
	})
	if err := t.Flush(); err != nil {
		return err
	}
	const most = 20
	for _, r := range results {
		failures := c.failures(r)
		if more := len(failures) - most; more > 0 {
			failures = append(failures[:most], fmt.Sprintf("and %d more: -o json shows all", more))
		}
		for _, text := range failures {
			if _, err := fmt.Fprintf(w, "%s: %s\n", r.Delivery, text); err != nil {
				return err
			}
		}
	}
	if c.Compare {
		for _, text := range chaos.TellApart(results) {
			if _, err := fmt.Fprintln(w, text); err != nil {
				return err
			}
		}
	}
	return nil
}
