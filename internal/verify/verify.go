// Package verify proves that windows are a function of the log: it recomputes
// stream times, lateness and every closed window by SQL over the tables uploads
// and ticks, and compares them with what the pipeline has written. It takes over
// nothing of the pipeline's own arithmetic.
package verify

import (
	"context"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tintype/tintype/event"
	"github.com/tintype/tintype/internal/audit"
)

// Options say what to verify.
type Options struct {
	ClickHouse driver.Conn
	Kafka      *kgo.Client
	Topics     event.Topics
	// Extract, Transform, Windows and Load are the consumer groups, in the order of
	// the pipeline.
	Extract, Transform, Windows, Load string
	// ExtractLoop and WindowsLoop are the loop topics of their stages.
	ExtractLoop, WindowsLoop string
	// Patterns select aggregates or single windows; none selects all.
	Patterns []Pattern
	// Keys select windows by their keys; none selects all.
	Keys []string
	// Since leaves out windows that start before; zero: none.
	Since time.Time
	// Wait bounds how long records that are under way may take to arrive.
	Wait time.Duration
}

// hops are the topics on the way from extract to the tables, in the order in
// which a record passes them.
func (o Options) hops() []audit.Hop {
	return []audit.Hop{
		{Group: o.Extract, Topic: o.ExtractLoop},
		{Group: o.Transform, Topic: o.Topics.Photos.Name},
		{Group: o.Windows, Topic: o.Topics.Measures.Name},
		{Group: o.Windows, Topic: o.WindowsLoop},
		{Group: o.Load, Topic: o.Topics.Developed.Name},
		{Group: o.Load, Topic: o.Topics.WindowResults.Name},
		{Group: o.Load, Topic: o.Topics.Late.Name},
		{Group: o.Load, Topic: o.Topics.Ticks.Name},
		{Group: o.Load, Topic: o.Topics.DeadLetters.Name}, // Last: the loader may write some itself.
	}
}

// Run verifies a deployment.
func Run(ctx context.Context, o Options) (*Report, error) {
	began := time.Now()
	r, deadline := newReport(began), began.Add(o.Wait)
	log, err := readLog(ctx, o)
	if err != nil {
		return nil, err
	}
	if r.Behind, err = audit.Await(ctx, o.Kafka, deadline, o.hops()...); err != nil {
		return nil, err
	}
	if r.Drained = r.Behind == ""; !r.Drained {
		r.note("rows are under way: stream times and late uploads were not compared, and a window that differs may agree when all has arrived")
	}
	v := &verifier{options: o, report: r, log: log, deadline: deadline, conn: o.ClickHouse}
	if err := v.times(ctx); err != nil {
		return nil, err
	}
	if err := v.aggregates(ctx); err != nil {
		return nil, err
	}
	r.Seconds = time.Since(began).Seconds()
	return r, nil
}

// A verifier is one run.
type verifier struct {
	options  Options
	report   *Report
	conn     driver.Conn
	log      uploadsLog
	deadline time.Time
	// stored says that the stored stream times were proved, so that they need not
	// be computed again.
	stored bool
	// topics is how many topics of uploads the rows come of.
	topics int
	// must is the watermark that the pipeline must have reached, may the one that
	// it may have. They differ only where uploads was created anew: what the old
	// topic had closed is closed.
	must, may int64
	refused   refusals
}
