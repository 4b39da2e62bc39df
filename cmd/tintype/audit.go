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

	"github.com/google/uuid"

	"github.com/tintype/tintype/event"
	"github.com/tintype/tintype/internal/audit"
	"github.com/tintype/tintype/topologies"
)

// auditCommand proves that every upload has its row, once.
type auditCommand struct {
	kafkaFlag
	clickHouseFlag
	nameFlags
	Since       string        `help:"Audit only what was appended since: a time (RFC 3339), or a duration back from now such as 24h." placeholder:"TIME"`
	WaitTimeout time.Duration `help:"How long records that are under way may take to arrive." default:"30s"`
	Strict      bool          `help:"Wait for what extract has not read yet, too, and fail while it is pending."`
	Output      string        `short:"o" env:"-" help:"text, or json: one object." enum:"text,json" default:"text"`
}

// Help shows examples.
func (auditCommand) Help() string {
	return "Examples:\n  tintype audit\n  tintype audit --since 24h -o json\n\n" +
		"Every committed record of the topic uploads must be one row of the table uploads, without FINAL. What is missing, there twice, or was " +
		"never in the log is named by its position: topic-id/partition/offset. What extract has not read yet, or a later stage, is pending, not missing. " +
		"Exit code 1 when anything differs, when records that extract has read did not arrive within --wait-timeout, or with --strict when anything is pending; " +
		"3 when the audit could not be made."
}

// sinceTime reads --since.
func sinceTime(text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if back, err := time.ParseDuration(text); err == nil && back > 0 {
		return now.Add(-back), nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return time.Time{}, &usageError{fmt.Errorf("--since %q is neither a time such as 2026-05-04T12:00:00Z nor a duration such as 24h", text)}
	}
	return at, nil
}

// Run implements the command.
func (c *auditCommand) Run(e *env) error {
	since, err := sinceTime(c.Since, time.Now())
	if err != nil {
		return err
	}
	if c.WaitTimeout < 0 {
		return &usageError{errors.New("--wait-timeout is not less than 0")}
	}
	if err := checkKafka(c.Kafka); err != nil {
		return &usageError{err}
	}
	cluster, client, err := c.reach(e.ctx)
	if err != nil {
		return err
	}
	defer client.Close()
	conn, err := c.connect(e.ctx)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }() // It only read.
	extract := topologies.Group(c.Deployment, event.StageExtract)
	report, err := audit.Run(e.ctx, audit.Options{
		ClickHouse: conn, Kafka: client, Topics: event.TopicsOf(c.Deployment, c.UploadsTopic), Since: since, Wait: c.WaitTimeout, Strict: c.Strict,
		Extract: extract, Transform: topologies.Group(c.Deployment, event.StageTransform), Load: topologies.Group(c.Deployment, event.StageLoad),
		ExtractLoop: topologies.LoopTopic(extract),
	})
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
		err = printAudit(e.stdout, report)
	}
	if err != nil {
		return err
	}
	return auditVerdict(report)
}

// auditVerdict is the command's error: nil when the proof came out.
func auditVerdict(r *audit.Report) error {
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
	if pending := r.Pending(); r.Strict && pending > 0 {
		parts = append(parts, fmt.Sprintf("%d pending", pending))
	}
	return fmt.Errorf("audit: %s", strings.Join(parts, ", "))
}

// printAudit prints a report for people: a table for each topic, what differs,
// what could not be checked, and the verdict.
func printAudit(w io.Writer, r *audit.Report) error {
	byTopic := map[uuid.UUID][]audit.Partition{}
	var topics []uuid.UUID
	for _, p := range r.Partitions {
		if byTopic[p.TopicID] == nil {
			topics = append(topics, p.TopicID)
		}
		byTopic[p.TopicID] = append(byTopic[p.TopicID], p)
	}
	for _, topic := range topics {
		if err := printAudited(w, byTopic[topic]); err != nil {
			return err
		}
	}
	var lines []string
	named := map[audit.Kind]uint64{}
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
	verdict := "proved: every upload that was read has its row, once"
	if !r.OK() {
		verdict = "NOT proved"
	}
	if pending := r.Pending(); pending > 0 {
		verdict += fmt.Sprintf("; %d offsets are pending", pending)
	}
	_, err := fmt.Fprintln(w, strings.Join(append(lines, fmt.Sprintf("%s (%.1f s)", verdict, r.Seconds)), "\n"))
	return err
}

// printAudited prints the partitions of one topic.
func printAudited(w io.Writer, partitions []audit.Partition) error {
	head, ticks := "topic "+partitions[0].TopicID.String(), uint64(0)
	if partitions[0].Gone {
		head += ", which is gone: what its offsets without a row were cannot be told"
	}
	for _, p := range partitions {
		ticks += p.Ticks
	}
	if ticks > 0 {
		head += fmt.Sprintf(", with %d ticks", ticks)
	}
	if _, err := fmt.Fprintln(w, head); err != nil {
		return err
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	_, _ = fmt.Fprintln(t, "partition\tfrom\tend\trows\toriginal\tduplicate\trepeat\tdead\tlost\tmarkers\taborted\texpired\tunverified\tpending\tmissing\ttwice\tinvented\t") // Flush returns the error.
	for _, p := range partitions {
		o := p.Outcomes
		_, _ = fmt.Fprintf(t, "%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t\n", p.Partition, p.From, p.End, p.Rows,
			o["original"], o["duplicate"], o["repeat"], o["dead"], o["lost"], p.Markers, p.Aborted, p.Expired, p.Unverified, p.Pending, p.Missing, p.Twice, p.Invented)
	}
	return t.Flush()
}
