// Package audit proves that fates match the log: every committed record of the
// topic uploads is one row of the table uploads, nothing is missing and nothing
// is there twice. It asks ClickHouse for what is not contiguous, and reads back
// from Kafka only those gaps.
package audit

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tintype/tintype/event"
)

// Options say what to audit.
type Options struct {
	ClickHouse driver.Conn
	Kafka      *kgo.Client
	Topics     event.Topics
	// Extract, Transform and Load are the consumer groups, in the order of the
	// pipeline.
	Extract, Transform, Load string
	// ExtractLoop is the loop topic of extract.
	ExtractLoop string
	// Since leaves out uploads that were appended before; zero: nothing.
	Since time.Time
	// Wait bounds how long records that are under way may take to arrive.
	Wait time.Duration
	// Strict waits for what extract has not read yet, too, and demands it.
	Strict bool
}

// A Partition is what was found of one partition of one topic of uploads.
type Partition struct {
	TopicID   uuid.UUID `json:"topic_id"`
	Partition int32     `json:"partition"`
	// Gone says that the topic does not exist any more: its gaps cannot be read.
	Gone bool `json:"gone"`
	// From and End bound what was audited: [From, End). End is how far extract has
	// read; of a topic that is gone, it is what the rows say.
	From int64 `json:"from"`
	End  int64 `json:"end"`
	// Rows and the outcomes count rows as they are, without FINAL. Ticks are control
	// records that moved the time of an idle partition: rows of the table ticks, and
	// those that ClickHouse refused, which have a dead letter.
	Rows     uint64            `json:"rows"`
	Outcomes map[string]uint64 `json:"outcomes"`
	Ticks    uint64            `json:"ticks"`
	// Markers, Aborted and Expired are offsets without a row that need none: control
	// records, records of aborted transactions (or compacted away), and offsets below
	// the log's start, of which nobody can tell any more.
	Markers int64 `json:"markers"`
	Aborted int64 `json:"aborted"`
	Expired int64 `json:"expired"`
	// Unverified are offsets without a row of a topic that is gone.
	Unverified int64 `json:"unverified"`
	// Pending are offsets that extract has not read yet, and records that it has
	// read and whose fate was found under way in a later topic.
	Pending int64 `json:"pending"`
	Missing int64 `json:"missing"`
	Twice   int64 `json:"twice"`
	// Invented are rows of offsets that the log never had.
	Invented int64 `json:"invented"`
}

// A Kind is what is wrong.
type Kind string

// The kinds of differences.
const (
	// Missing is a committed record, an upload or a tick, without a row.
	Missing Kind = "missing"
	// Twice is a position with more than one row in a table.
	Twice Kind = "twice"
	// Invented is a row of an offset that the log never had.
	Invented Kind = "invented"
	// NoRenditions is an original without one of its renditions.
	NoRenditions Kind = "original_without_rendition"
	// NoOriginal is a rendition of no original.
	NoOriginal Kind = "rendition_without_original"
	// TwoOriginals is content, under one spec, with more than one original.
	TwoOriginals Kind = "more_than_one_original"
	// NoSuchOriginal is a duplicate of an upload that is not an original.
	NoSuchOriginal Kind = "duplicate_without_original"
	// NoDeadLetter is a dead upload without a dead letter.
	NoDeadLetter Kind = "dead_without_dead_letter"
	// NoDead is a dead letter of an upload that is not dead.
	NoDead Kind = "dead_letter_without_dead"
	// Rollup is a projection that differs from its table.
	Rollup Kind = "rollup_differs"
)

// A Difference is one thing that is wrong.
type Difference struct {
	Kind  Kind   `json:"kind"`
	Table string `json:"table"`
	// Position is topic-id/partition/offset of the upload; empty where the
	// difference is not one upload's.
	Position string `json:"position,omitempty"`
	Detail   string `json:"detail,omitempty"`
}

func (d Difference) String() string {
	parts := []string{string(d.Kind) + " in " + d.Table + ":", d.Position, d.Detail}
	return strings.Join(slices.DeleteFunc(parts, func(part string) bool { return part == "" }), " ")
}

// A Report is what an audit found.
type Report struct {
	At     time.Time  `json:"at"`
	Since  *time.Time `json:"since,omitempty"`
	Strict bool       `json:"strict"`
	// Drained says that everything extract had read had arrived; if not, Behind
	// says what was waited for.
	Drained    bool        `json:"drained"`
	Behind     string      `json:"behind,omitempty"`
	Partitions []Partition `json:"partitions"`
	// Differences counts each kind; Examples names the first ones of each.
	Differences map[Kind]uint64 `json:"differences"`
	Examples    []Difference    `json:"examples"`
	// Notes are what could not be checked, and why.
	Notes   []string `json:"notes"`
	Seconds float64  `json:"seconds"`

	// named counts Examples by kind and table.
	named map[[2]string]int
}

// OK reports whether the audit proved what it is to prove.
func (r *Report) OK() bool {
	return r.Drained && len(r.Differences) == 0 && (!r.Strict || r.Pending() == 0)
}

// Pending is how many offsets have not come to their end yet.
func (r *Report) Pending() int64 {
	n := int64(0)
	for _, p := range r.Partitions {
		n += p.Pending
	}
	return n
}

// maxExamples bounds how many differences of a kind and table are named.
const maxExamples = 20

// add counts n differences of a kind in a table, and names the first ones.
func (r *Report) add(kind Kind, n uint64, examples ...Difference) {
	if n == 0 {
		return
	}
	r.Differences[kind] += n
	for _, d := range examples {
		of := [2]string{string(d.Kind), d.Table}
		if r.named[of]++; r.named[of] <= maxExamples {
			r.Examples = append(r.Examples, d)
		}
	}
}

// Run audits a deployment.
func Run(ctx context.Context, o Options) (*Report, error) {
	began := time.Now()
	r := &Report{
		At: began.UTC().Truncate(time.Millisecond), Strict: o.Strict,
		Differences: map[Kind]uint64{}, Examples: []Difference{}, Notes: []string{}, named: map[[2]string]int{},
	}
	if !o.Since.IsZero() {
		r.Since = &o.Since
	}
	way, deadline := newWay(o), began.Add(max(o.Wait, time.Second))
	var awaited kadm.ListedOffsets
	if o.Strict {
		var err error
		if awaited, err = way.awaitExtract(ctx, deadline); err != nil {
			return nil, err
		}
	}
	log, err := readLog(ctx, o, awaited)
	if err != nil {
		return nil, err
	}
	if r.Behind, err = way.await(ctx, deadline); err != nil {
		return nil, err
	}
	q := query{conn: o.ClickHouse, scope: log.scope(o.Since)}
	f := fates{options: o, report: r, log: log, query: q, way: way, partitions: map[partitionKey]*Partition{}, gaps: map[partitionKey][]gap{}}
	if err := f.check(ctx); err != nil {
		return nil, err
	}
	if r.Drained {
		err = crossChecks(ctx, q, r, f.irregular)
	} else {
		r.Notes = append(r.Notes, "the tables were not compared with each other, because rows are under way")
	}
	if err := errors.Join(err, rollups(ctx, q, r)); err != nil {
		return nil, err
	}
	r.Seconds = time.Since(began).Seconds()
	return r, nil
}

// query runs statements over the rows in scope.
type query struct {
	conn driver.Conn
	// scope is a condition on src_topic_id, src_partition and src_offset.
	scope string
}

// settings let what does not fit into memory go to disk, and keep a server's own
// defaults from changing what a statement means.
const settings = " SETTINGS max_bytes_before_external_group_by = 1000000000, max_bytes_before_external_sort = 1000000000, join_use_nulls = 0, final = 0"

// rows calls f with each row of a statement.
func (q query) rows(ctx context.Context, what, statement string, f func(driver.Rows) error) (err error) {
	rows, err := q.conn.Query(ctx, statement)
	if err != nil {
		return fmt.Errorf("audit: %s: %w", what, err)
	}
	defer func() {
		if closeErr := rows.Close(); err == nil && closeErr != nil {
			err = fmt.Errorf("audit: %s: %w", what, closeErr)
		}
	}()
	for rows.Next() {
		if err := f(rows); err != nil {
			return fmt.Errorf("audit: %s: %w", what, err)
		}
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("audit: %s: %w", what, err)
	}
	return nil
}

// differences reports what a statement finds: it selects place, a position as
// text, and detail.
func (q query) differences(ctx context.Context, r *Report, kind Kind, table, statement string) error {
	what := "look for " + string(kind) + " in " + table
	var examples []Difference
	err := q.rows(ctx, what, fmt.Sprintf("SELECT place, detail FROM (%s) ORDER BY place LIMIT %d%s", statement, maxExamples, settings), func(rows driver.Rows) error {
		d := Difference{Kind: kind, Table: table}
		err := rows.Scan(&d.Position, &d.Detail)
		examples = append(examples, d)
		return err
	})
	n := uint64(len(examples))
	if err == nil && n == maxExamples {
		err = q.rows(ctx, what, "SELECT count() FROM ("+statement+")"+settings, func(rows driver.Rows) error { return rows.Scan(&n) })
	}
	if err != nil {
		return err
	}
	r.add(kind, n, examples...)
	return nil
}
