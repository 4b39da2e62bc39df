package audit

import (
	"context"
	"fmt"
	"strconv"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tintype/tintype/event"
	"github.com/tintype/tintype/exactly"
)

// nearGaps is how few offsets may lie between two gaps that are read at once.
const nearGaps = 64

// gapFetchBytes keeps the reading of a gap from fetching the photos behind it.
const gapFetchBytes = 64 << 10

// fates compares rows with offsets.
type fates struct {
	options    Options
	report     *Report
	log        uploadsLog
	query      query
	partitions map[partitionKey]*Partition
}

// A gap is a run of offsets without rows: [from, end).
type gap struct{ from, end int64 }

// check fills the report's partitions and finds missing, twice and invented.
func (f *fates) check(ctx context.Context) error {
	last, err := f.totals(ctx)
	if err != nil {
		return err
	}
	gaps, err := f.irregular(ctx)
	if err != nil {
		return err
	}
	if err := f.invented(ctx); err != nil {
		return err
	}
	for key, p := range f.partitions {
		at, some := last[key]
		if !p.Gone {
			next := p.From
			if some {
				next = at + 1
			}
			if next < p.End {
				gaps[key] = append(gaps[key], gap{next, p.End})
			}
			p.Pending = max(f.log.partitions[key.partition].end-max(p.End, p.From), 0)
		}
		if err := f.explain(ctx, key, p, gaps[key]); err != nil {
			return err
		}
		f.report.Partitions = append(f.report.Partitions, *p)
	}
	return nil
}

// totals counts the rows of each partition, and returns the last offset of each.
func (f *fates) totals(ctx context.Context) (last map[partitionKey]int64, err error) {
	last = map[partitionKey]int64{}
	for partition, b := range f.log.partitions {
		f.partitions[partitionKey{f.log.id, partition}] = &Partition{
			TopicID: f.log.id, Partition: partition, From: b.from, End: max(b.read, b.from), Outcomes: map[string]uint64{},
		}
	}
	err = f.query.rows(ctx, "count the rows of uploads", `SELECT src_topic_id, src_partition, toString(outcome), count(), min(src_offset), max(src_offset)
		FROM uploads WHERE `+f.query.scope+` GROUP BY 1, 2, 3`, func(rows driver.Rows) error {
		var (
			key         partitionKey
			outcome     string
			n           uint64
			first, most int64
		)
		if err := rows.Scan(&key.topic, &key.partition, &outcome, &n, &first, &most); err != nil {
			return err
		}
		p := f.partitions[key]
		if p == nil {
			p = &Partition{TopicID: key.topic, Partition: key.partition, Gone: key.topic != f.log.id, From: first, Outcomes: map[string]uint64{}}
			f.partitions[key] = p
		}
		p.Rows += n
		p.Outcomes[outcome] += n
		if p.Gone {
			p.From, p.End = min(p.From, first), max(p.End, most+1)
		}
		if at, ok := last[key]; !ok || most > at {
			last[key] = most
		}
		return nil
	})
	return last, err
}

// irregular finds positions with more than one row, rows beyond the log, and
// the gaps before a row. The table is sorted by position, so that all of it
// streams.
func (f *fates) irregular(ctx context.Context) (map[partitionKey][]gap, error) {
	gaps := map[partitionKey][]gap{}
	statement := `SELECT t, p, o, n, before, id FROM (
			SELECT src_topic_id AS t, src_partition AS p, src_offset AS o, count() AS n, any(upload_id) AS id,
				lagInFrame(src_offset, 1, -1) OVER (PARTITION BY src_topic_id, src_partition ORDER BY src_offset ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) AS before
			FROM uploads WHERE ` + f.query.scope + ` GROUP BY src_topic_id, src_partition, src_offset
		) WHERE n > 1 OR o != before + 1 SETTINGS optimize_aggregation_in_order = 1`
	err := f.query.rows(ctx, "look for gaps in uploads", statement, func(rows driver.Rows) error {
		var (
			key            partitionKey
			offset, before int64
			n              uint64
			id             string
		)
		if err := rows.Scan(&key.topic, &key.partition, &offset, &n, &before, &id); err != nil {
			return err
		}
		p := f.partitions[key]
		if p == nil {
			return nil // Loaded since the rows were counted.
		}
		if n > 1 {
			p.Twice++
			f.report.add(Difference{Kind: Twice, Table: "uploads", Position: position(key, offset), Detail: fmt.Sprintf("%d rows of upload %s", n, id)})
		}
		if from := max(before+1, p.From); from < offset {
			gaps[key] = append(gaps[key], gap{from, offset})
		}
		return nil
	})
	return gaps, err
}

// invented finds rows beyond the log's end, which is asked for after the rows.
func (f *fates) invented(ctx context.Context) error {
	type row struct {
		key    partitionKey
		offset int64
		id     string
	}
	var rows []row
	err := f.query.rows(ctx, "look for rows beyond the log", `SELECT src_topic_id, src_partition, src_offset, upload_id FROM uploads
		WHERE `+f.log.beyond()+` ORDER BY src_offset DESC LIMIT `+strconv.Itoa(maxBeyond), func(found driver.Rows) error {
		var r row
		if err := found.Scan(&r.key.topic, &r.key.partition, &r.offset, &r.id); err != nil {
			return err
		}
		rows = append(rows, r)
		return nil
	})
	if err != nil || len(rows) == 0 {
		return err
	}
	ends, err := kadm.NewClient(f.options.Kafka).ListCommittedOffsets(ctx, f.log.name)
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		return fmt.Errorf("audit: list last offsets of %s: %w", f.log.name, err)
	}
	for _, r := range rows {
		end, ok := ends.Lookup(f.log.name, r.key.partition)
		if ok && r.offset < end.Offset {
			continue
		}
		p := f.partitions[r.key]
		if p == nil {
			p = &Partition{TopicID: r.key.topic, Partition: r.key.partition, From: r.offset, End: r.offset, Outcomes: map[string]uint64{}}
			f.partitions[r.key] = p
		}
		p.Invented++
		f.report.add(Difference{Kind: Invented, Table: "uploads", Position: position(r.key, r.offset), Detail: "upload " + r.id})
	}
	return nil
}

// maxBeyond bounds how many rows beyond the log are looked at.
const maxBeyond = 10_000

func position(key partitionKey, offset int64) string {
	return event.Position{TopicID: key.topic, Partition: key.partition, Offset: offset}.String()
}

// explain tells why the offsets of gaps have no row.
func (f *fates) explain(ctx context.Context, key partitionKey, p *Partition, gaps []gap) error {
	if p.Gone {
		for _, g := range gaps {
			p.Unverified += g.end - g.from
		}
		return nil
	}
	start := f.log.partitions[key.partition].start
	var readable []gap
	for _, g := range gaps {
		g.end = min(g.end, max(p.End, g.from)) // Behind that extract has not read.
		if g.from < start {
			p.Expired += min(g.end, start) - g.from
			g.from = min(g.end, start)
		}
		if g.from < g.end {
			readable = append(readable, g)
		}
	}
	for len(readable) > 0 {
		n := 1
		for n < len(readable) && readable[n].from-readable[n-1].end < nearGaps {
			n++
		}
		if err := f.read(ctx, key, p, readable[:n]); err != nil {
			return err
		}
		readable = readable[n:]
	}
	return nil
}

// read reads gaps that lie near each other back from the log.
func (f *fates) read(ctx context.Context, key partitionKey, p *Partition, gaps []gap) error {
	for _, g := range gaps {
		p.Aborted += g.end - g.from // Whatever is not found.
	}
	next := 0
	return exactly.Scan(ctx, f.options.Kafka, exactly.Range{
		Topic: f.log.name, Partition: key.partition, From: gaps[0].from, End: gaps[len(gaps)-1].end, FetchBytes: gapFetchBytes,
	}, func(r *kgo.Record) {
		for next < len(gaps) && r.Offset >= gaps[next].end {
			next++
		}
		if next == len(gaps) || r.Offset < gaps[next].from {
			return
		}
		p.Aborted--
		if r.Attrs.IsControl() {
			p.Markers++
			return
		}
		p.Missing++
		f.report.add(Difference{
			Kind: Missing, Table: "uploads", Position: position(key, r.Offset),
			Detail: fmt.Sprintf("key %q, appended %s", clip(r.Key), r.Timestamp.UTC().Format("2006-01-02T15:04:05.000Z")),
		})
	})
}

// clip bounds a key that is shown.
func clip(key []byte) []byte { return key[:min(len(key), 80)] }
