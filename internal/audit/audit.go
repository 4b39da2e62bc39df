// Package audit proves that fates match the log: every committed record of the
// topic uploads is one row of the table uploads, nothing is missing and nothing
// is there twice. It asks ClickHouse for what is not contiguous, and reads back
// from Kafka only those gaps.
package audit

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/google/uuid"
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
	// Rows and the outcomes count rows as they are, without FINAL.
	Rows     uint64            `json:"rows"`
	Outcomes map[string]uint64 `json:"outcomes"`
	// Markers, Aborted and Expired are offsets without a row that need none: control
	// records, records of aborted transactions (or compacted away), and offsets below
	// the log's start, of which nobody can tell any more.
	Markers int64 `json:"markers"`
	Aborted int64 `json:"aborted"`
	Expired int64 `json:"expired"`
	// Unverified are offsets without a row of a topic that is gone.
	Unverified int64 `json:"unverified"`
	// Pending are offsets that extract has not read yet.
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
	// Missing is a committed record without a row.
	Missing Kind = "missing"
	// Twice is a position with more than one row in a table.
	Twice Kind = "twice"
	// Invented is a row of an offset that the log never had.
	Invented Kind = "invented"
	// NoRenditions is an original without one of its renditions.
	NoRenditions Kind = "original_without_rendition"
	// NoOriginal is a rendition of no original.
	NoOriginal Kind = "rendition_without_original"
	// FirstSightings is content with duplicates whose originals are not one.
	FirstSightings Kind = "not_one_original"
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

// A Report is what an audit found.
type Report struct {
	At    time.Time  `json:"at"`
	Since *time.Time `json:"since,omitempty"`
	// Drained says that everything extract had read had arrived; if not, Behind
	// says what was waited for, and missing rows may still be under way.
	Drained    bool        `json:"drained"`
	Behind     string      `json:"behind,omitempty"`
	Partitions []Partition `json:"partitions"`
	// Differences counts each kind; Examples names the first ones of each.
	Differences map[Kind]uint64 `json:"differences"`
	Examples    []Difference    `json:"examples"`
	Seconds     float64         `json:"seconds"`
}

// OK reports whether the audit proved what it is to prove.
func (r *Report) OK() bool { return r.Drained && len(r.Differences) == 0 }

// maxExamples bounds how many differences of a kind are named.
const maxExamples = 20

// add counts a difference, and names it while there are few.
func (r *Report) add(d Difference) {
	r.Differences[d.Kind]++
	if r.Differences[d.Kind] <= maxExamples {
		r.Examples = append(r.Examples, d)
	}
}

// Run audits a deployment.
func Run(ctx context.Context, o Options) (*Report, error) {
	began := time.Now()
	r := &Report{At: began.UTC().Truncate(time.Millisecond), Differences: map[Kind]uint64{}, Examples: []Difference{}}
	if !o.Since.IsZero() {
		r.Since = &o.Since
	}
	log, err := readLog(ctx, o)
	if err != nil {
		return nil, err
	}
	if r.Drained, r.Behind, err = awaitArrival(ctx, o); err != nil {
		return nil, err
	}
	q := query{conn: o.ClickHouse, scope: log.scope(o.Since)}
	f := fates{options: o, report: r, log: log, query: q, partitions: map[partitionKey]*Partition{}}
	if err := f.check(ctx); err != nil {
		return nil, err
	}
	if err := crossChecks(ctx, q, r); err != nil {
		return nil, err
	}
	slices.SortFunc(r.Partitions, func(a, b Partition) int {
		return cmp.Or(boolOrder(a.Gone, b.Gone), cmp.Compare(a.TopicID.String(), b.TopicID.String()), cmp.Compare(a.Partition, b.Partition))
	})
	r.Seconds = time.Since(began).Seconds()
	return r, nil
}

// boolOrder puts false first.
func boolOrder(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}

// query runs statements over the rows in scope.
type query struct {
	conn driver.Conn
	// scope is a condition on src_topic_id, src_partition and src_offset.
	scope string
}

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
