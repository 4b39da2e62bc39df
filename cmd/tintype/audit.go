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
	"github.com/tintype/tintype/internal/audit"
	"github.com/tintype/tintype/internal/servers"
	"github.com/tintype/tintype/topologies"
)

// auditCommand proves that every upload has its row, once.
type auditCommand struct {
	kafkaFlag
	clickHouseFlag
	nameFlags
	Since       string        `help:"Audit only what was appended since: a time (RFC 3339), or a duration back from now such as 24h." placeholder:"TIME"`
	WaitTimeout time.Duration `help:"How long records that are under way may take to arrive." default:"30s"`
	Output      string        `short:"o" env:"-" help:"text, or json: one object." enum:"text,json" default:"text"`
}

// Help shows examples.
func (auditCommand) Help() string {
	return "Examples:\n  tintype audit\n  tintype audit --since 24h -o json\n\n" +
		"Every committed record of the topic uploads must be one row of the table uploads, without FINAL. What is missing, there twice, or was " +
		"never in the log is named by its position: topic-id/partition/offset. Records that extract has not read yet are pending, not missing. " +
		"Exit code 1 when anything differs, or when records did not arrive within --wait-timeout."
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
	passwords, err := secrets()
	if err != nil {
		return &setupError{err}
	}
	cluster, err := servers.ParseKafka(c.Kafka, passwords.Kafka)
	if err != nil {
		return &usageError{err}
	}
	client, err := cluster.Client()
	if err != nil {
		return &setupError{err}
	}
	defer client.Close()
	if err := client.Ping(e.ctx); err != nil {
		return &setupError{fmt.Errorf("%s does not answer: %w; %s", cluster, err, servers.KafkaHint(err))}
	}
	conn, err := c.connect(e.ctx)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }() // It only read.
	extract := topologies.Group(c.Deployment, event.StageExtract)
	report, err := audit.Run(e.ctx, audit.Options{
		ClickHouse: conn, Kafka: client, Topics: event.TopicsOf(c.Deployment, c.UploadsTopic), Since: since, Wait: c.WaitTimeout,
		Extract: extract, Transform: topologies.Group(c.Deployment, event.StageTransform), Load: topologies.Group(c.Deployment, event.StageLoad),
		ExtractLoop: topologies.LoopTopic(extract),
	})
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
	if !r.Drained {
		parts = append(parts, "not drained, "+r.Behind)
	}
	for _, kind := range slices.Sorted(maps.Keys(r.Differences)) {
		parts = append(parts, fmt.Sprintf("%d %s", r.Differences[kind], strings.ReplaceAll(string(kind), "_", " ")))
	}
	return fmt.Errorf("audit: %s", strings.Join(parts, ", "))
}

// printAudit prints a report for people.
func printAudit(w io.Writer, r *audit.Report) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	_, _ = fmt.Fprintln(t, "partition\tfrom\tend\trows\toriginal\tduplicate\trepeat\tdead\tlost\tmarkers\taborted\texpired\tpending\tmissing\ttwice\tinvented\t") // Flush returns the error.
	topic := ""
	for _, p := range r.Partitions {
		if id := p.TopicID.String(); id != topic {
			topic = id
			note := ""
			if p.Gone {
				note = ", which is gone: offsets without a row cannot be read any more"
			}
			if err := t.Flush(); err != nil {
				return err
			}
			_, _ = fmt.Fprintf(w, "topic %s%s\n", id, note)
		}
		o := p.Outcomes
		_, _ = fmt.Fprintf(t, "%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t\n", p.Partition, p.From, p.End, p.Rows,
			o["original"], o["duplicate"], o["repeat"], o["dead"], o["lost"], p.Markers, p.Aborted, p.Expired+p.Unverified, p.Pending, p.Missing, p.Twice, p.Invented)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, d := range r.Examples {
		if _, err := fmt.Fprintf(w, "%s in %s: %s %s\n", d.Kind, d.Table, d.Position, d.Detail); err != nil {
			return err
		}
	}
	verdict := "every upload that was read has its row, once"
	if !r.OK() {
		verdict = "NOT proved"
	}
	_, err := fmt.Fprintf(w, "%s (%.1f s)\n", verdict, r.Seconds)
	return err
}
