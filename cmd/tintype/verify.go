package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/tintype/tintype/event"
	"github.com/tintype/tintype/internal/verify"
	"github.com/tintype/tintype/topologies"
)

// verifyCommand proves that windows are what the uploads make them.
type verifyCommand struct {
	kafkaFlag
	clickHouseFlag
	nameFlags
	Window      []string      `help:"Compare only aggregates of this name, which may hold * and ?; with @ and a time (RFC 3339), only windows that start then." placeholder:"NAME[@START]" sep:"none"`
	Key         []string      `help:"Compare only windows of this key." placeholder:"KEY" sep:"none"`
	Since       string        `help:"Compare only windows that start since: a time (RFC 3339), or a duration back from now such as 24h." placeholder:"TIME"`
	WaitTimeout time.Duration `help:"How long records that are under way, and final rows, may take to arrive." default:"30s"`
	Output      string        `short:"o" env:"-" help:"text, or json: one object." enum:"text,json" default:"text"`
}

// Help shows examples.
func (verifyCommand) Help() string {
	return "Examples:\n  tintype verify\n  tintype verify --window 'tumbling-10s-*' --since 24h -o json\n  tintype verify --window tumbling-1m-uploader@2026-05-04T12:00:00Z --key ann\n\n" +
		"SQL recomputes the stream time of every upload, which uploads are late for which windows, and every closed window, from the tables uploads and ticks alone. " +
		"What windows_latest and late_uploads say otherwise is named with the uploads behind it: topic-id/partition/offsets. Run tintype audit first: verify takes the rows of uploads for the log. " +
		"Exit code 1 when anything differs, or when records that extract has read did not arrive within --wait-timeout; 3 when it could not be told."
}

// Run implements the command.
func (c *verifyCommand) Run(e *env) error {
	options, err := c.options()
	if err != nil {
		return &usageError{err}
	}
	cluster, client, err := c.reach(e.ctx)
	if err != nil {
		return err
	}
	defer client.Close()
	options.Kafka = client
	if options.ClickHouse, err = c.connect(e.ctx); err != nil {
		return err
	}
	defer func() { _ = options.ClickHouse.Close() }() // It only read.
	report, err := verify.Run(e.ctx, options)
	if unknown := new(verify.NoAggregateError); errors.As(err, &unknown) {
		return &usageError{fmt.Errorf("--window: %w", err)}
	}
	if err != nil && e.ctx.Err() == nil {
		return &setupError{cluster.Advise(err, c.Deployment+"-")} // Code 1 is for what was found.
	}
	if err != nil {
		return err
	}
	if c.Output == "json" {
		encoder := json.NewEncoder(e.stdout)
		encoder.SetIndent("", "  ")
		err = encoder.Encode(report)
	} else {
		err = printVerified(e.stdout, report)
	}
	if err != nil {
		return err
	}
	return verifyVerdict(report)
}

// options reads the flags; an error is one of usage.
func (c *verifyCommand) options() (verify.Options, error) {
	extract, windows := topologies.Group(c.Deployment, event.StageExtract), topologies.Group(c.Deployment, event.StageWindows)
	o := verify.Options{
		Topics: event.TopicsOf(c.Deployment, c.UploadsTopic), Keys: c.Key, Wait: c.WaitTimeout,
		Extract: extract, Transform: topologies.Group(c.Deployment, event.StageTransform), Windows: windows, Load: topologies.Group(c.Deployment, event.StageLoad),
		ExtractLoop: topologies.LoopTopic(extract), WindowsLoop: topologies.LoopTopic(windows),
	}
	if c.WaitTimeout < 0 {
		return o, errors.New("--wait-timeout is not less than 0")
	}
	var err error
	if o.Since, err = sinceTime(c.Since, time.Now()); err != nil {
		return o, err
	}
	for _, text := range c.Window {
		pattern, err := verify.ParsePattern(text)
		if err != nil {
			return o, fmt.Errorf("--window: %w", err)
		}
		o.Patterns = append(o.Patterns, pattern)
	}
	return o, checkKafka(c.Kafka)
}

// verifyVerdict is the command's error: nil when everything agrees.
func verifyVerdict(r *verify.Report) error {
	if r.OK() {
		return nil
	}
	var parts []string
	for _, kind := range slices.Sorted(maps.Keys(r.Differences)) {
		parts = append(parts, fmt.Sprintf("%d %s", r.Differences[kind], strings.ReplaceAll(string(kind), "_", " ")))
	}
	if !r.Drained {
		parts = append(parts, "not drained, "+r.Behind)
	}
	return fmt.Errorf("verify: %s", strings.Join(parts, ", "))
}

// printVerified prints a report for people: a table of the aggregates, what differs,
// what could not be compared, and the verdict.
func printVerified(w io.Writer, r *verify.Report) error {
	uploads, watermark := uint64(0), "none"
	for _, p := range r.Partitions {
		uploads += p.Uploads
	}
	if r.Watermark != nil {
		watermark = r.Watermark.Format("2006-01-02T15:04:05.000Z")
	}
	_, err := fmt.Fprintf(w, "%d uploads of %d partitions, watermark %s\n", uploads, len(r.Partitions), watermark)
	if err != nil {
		return err
	}
	if len(r.Aggregates) > 0 {
		t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
		_, _ = fmt.Fprintln(t, "closed\tagreed\topen\tlater\tbefore\tblurred\tlate\toverflow\treborn\tdiffer\t aggregate") // Flush returns the error.
		for _, a := range r.Aggregates {
			_, _ = fmt.Fprintf(t, "%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t %s\n",
				a.Closed, a.Agreed, a.Open, a.Later, a.Before, a.Blurred, a.Late, a.Overflow, a.Reborn, a.Differences, a.Name) // As above.
		}
		if err := t.Flush(); err != nil {
			return err
		}
	}
	var lines []string
	named := map[verify.Kind]uint64{}
	for _, d := range r.Examples {
		lines = append(lines, d.String())
		named[d.Kind]++
	}
	for _, kind := range slices.Sorted(maps.Keys(r.Differences)) {
		if more := r.Differences[kind] - named[kind]; more > 0 {
			lines = append(lines, fmt.Sprintf("%s: %d more", kind, more))
		}
	}
	for _, note := range r.Notes {
		lines = append(lines, "note: "+note)
	}
	verdict := fmt.Sprintf("proved: %d closed windows are what the uploads make them", r.Closed())
	if r.Closed() == 0 {
		verdict = "nothing differs, and no window is closed"
	}
	if !r.OK() {
		verdict = "NOT proved"
	}
	_, err = fmt.Fprintln(w, strings.Join(append(lines, fmt.Sprintf("%s (%.1f s)", verdict, r.Seconds)), "\n"))
	return err
}
