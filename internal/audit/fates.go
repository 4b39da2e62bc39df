package audit

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/tintype/tintype/event"
)

// fates compares rows with offsets.
type fates struct {
	options    Options
	report     *Report
	log        uploadsLog
	query      query
	way        *way
	partitions map[partitionKey]*Partition
	gaps       map[partitionKey][]gap
	// irregular are the buckets with more rows than offsets.
	irregular []bucket
	// refusedTicks are records of uploads without a row that ClickHouse refused: of
	// an upload there would be one, with its fate.
	refusedTicks map[event.Position]bool
}

// A gap is a run of offsets without rows: [from, end).
type gap struct{ from, end int64 }

// check fills the report's partitions and finds missing, twice and invented.
func (f *fates) check(ctx context.Context) error {
	if err := f.totals(ctx); err != nil {
		return err
	}
	if err := f.offsets(ctx); err != nil {
		return err
	}
	if err := f.twice(ctx); err != nil {
		return err
	}
	if err := f.invented(ctx); err != nil {
		return err
	}
	if err := f.refusals(ctx); err != nil {
		return err
	}
	var under origins
	if f.report.Behind != "" {
		var err error
		if under, err = f.way.underWay(ctx); err != nil {
			return err
		}
	}
	if under.records == 0 { // What was waited for was nothing but markers and aborted records.
		f.report.Drained, f.report.Behind = true, ""
	}
	keys := slices.SortedFunc(maps.Keys(f.partitions), func(a, b partitionKey) int {
		return cmp.Or(boolOrder(f.partitions[a].Gone, f.partitions[b].Gone), cmp.Compare(a.topic.String(), b.topic.String()), cmp.Compare(a.partition, b.partition))
	})
	for _, key := range keys {
		p := f.partitions[key]
		if err := f.explain(ctx, key, p, under); err != nil {
			return err
		}
		f.report.Partitions = append(f.report.Partitions, *p)
	}
	return nil
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

// partition is what the report says of a partition that rows were found of.
func (f *fates) partition(key partitionKey) *Partition {
	p := f.partitions[key]
	if p == nil {
		p = &Partition{TopicID: key.topic, Partition: key.partition, Gone: key.topic != f.log.id, From: -1, Outcomes: map[string]uint64{}}
		f.partitions[key] = p
	}
	return p
}

// totals counts the rows of each partition.
func (f *fates) totals(ctx context.Context) error {
	for partition, b := range f.log.partitions {
		p := f.partition(partitionKey{f.log.id, partition})
		p.From, p.End = b.from, max(b.read, b.from)
		if b.unread > 0 {
			f.report.Notes = append(f.report.Notes, fmt.Sprintf("partition %d: retention took %d offsets before extract had read them", partition, b.unread))
		}
	}
	return f.query.rows(ctx, "count the rows of uploads", `SELECT src_topic_id, src_partition, toString(outcome), count()
		FROM uploads WHERE `+f.query.scope+` GROUP BY 1, 2, 3`+settings, func(rows driver.Rows) error {
		var (
			key     partitionKey
			outcome string
			n       uint64
		)
		if err := rows.Scan(&key.topic, &key.partition, &outcome, &n); err != nil {
			return err
		}
		p := f.partition(key)
		p.Rows += n
		p.Outcomes[outcome] += n
		return nil
	})
}

// bucketSize is how many offsets are summed up as one. A power of two, whose
// full bucket is one bitmap container of 8 KiB.
const bucketSize = 32768

// A bucket is a run of bucketSize offsets of a partition.
type bucket struct {
	partitionKey
	number int64
}

// offsets finds the gaps between rows, and the buckets with more rows than
// offsets. The server makes a bitmap of each bucket's offsets, which takes
// any order of rows and a bit an offset; only of a bucket that is not full the
// offsets themselves come here.
func (f *fates) offsets(ctx context.Context) error {
	statement := fmt.Sprintf(`SELECT t, p, b, n, ticks, if(n = %[1]d AND bitmapCardinality(m) = %[1]d, [], bitmapToArray(m)) FROM (
			SELECT t, p, intDiv(o, %[1]d) AS b, count() AS n, sum(tick) AS ticks, groupBitmapState(toUInt16(o %% %[1]d)) AS m FROM (
				SELECT src_topic_id AS t, src_partition AS p, src_offset AS o, toUInt64(0) AS tick FROM uploads WHERE %[2]s
				UNION ALL SELECT src_topic_id, src_partition, src_offset, toUInt64(1) FROM ticks WHERE %[2]s
			) GROUP BY t, p, b
		) ORDER BY t, p, b`, bucketSize, f.query.scope) + settings
	next := map[partitionKey]int64{}
	err := f.query.rows(ctx, "look for gaps in uploads", statement, func(rows driver.Rows) error {
		var (
			b        bucket
			n, ticks uint64
			offsets  []uint16
		)
		if err := rows.Scan(&b.topic, &b.partition, &b.number, &n, &ticks, &offsets); err != nil {
			return err
		}
		p, base := f.partition(b.partitionKey), b.number*bucketSize
		p.Ticks += ticks
		if p.From < 0 { // Of a topic that is gone only the rows say where it began.
			p.From = base
			if len(offsets) > 0 {
				p.From += int64(slices.Min(offsets))
			}
		}
		at, ok := next[b.partitionKey]
		if !ok {
			at = p.From
		}
		seen := func(from, end int64) {
			if at < from {
				f.gaps[b.partitionKey] = append(f.gaps[b.partitionKey], gap{at, from})
			}
			at = end
		}
		if len(offsets) == 0 {
			seen(base, base+bucketSize)
		} else if uint64(len(offsets)) < n {
			f.irregular = append(f.irregular, b)
		}
		slices.Sort(offsets) // A small bitmap has no order.
		for _, o := range offsets {
			seen(base+int64(o), base+int64(o)+1)
		}
		next[b.partitionKey] = at
		return nil
	})
	if err != nil {
		return err
	}
	for key, p := range f.partitions {
		at, ok := next[key]
		if !ok {
			at = p.From
		}
		if p.Gone {
			p.End = at
		} else if at < p.End {
			f.gaps[key] = append(f.gaps[key], gap{at, p.End})
		}
	}
	return nil
}

// maxBuckets bounds how many buckets a statement names.
const maxBuckets = 1000

// within is the condition that selects the rows of buckets; any row where there
// are too many to name.
func within(buckets []bucket) string {
	if len(buckets) > maxBuckets {
		return "1"
	}
	parts := make([]string, 0, len(buckets))
	for _, b := range buckets {
		parts = append(parts, fmt.Sprintf("(toUUID('%s'), %d, %d)", b.topic, b.partition, b.number))
	}
	return fmt.Sprintf("(src_topic_id, src_partition, intDiv(src_offset, %d)) IN (%s)", bucketSize, strings.Join(parts, ", "))
}

// twice names the positions with more than one row.
func (f *fates) twice(ctx context.Context) error {
	if len(f.irregular) == 0 {
		return nil
	}
	where := f.query.scope + " AND " + within(f.irregular)
	found := `SELECT ` + at + `, count() AS n, any(id) AS id FROM (
			SELECT ` + at + `, concat('upload ', upload_id) AS id FROM uploads WHERE ` + where + `
			UNION ALL SELECT ` + at + `, 'a tick' AS id FROM ticks WHERE ` + where + `
		) GROUP BY ` + at + ` HAVING n > 1`
	err := f.query.rows(ctx, "count what is twice in uploads", "SELECT src_topic_id, src_partition, count() FROM ("+found+") GROUP BY 1, 2"+settings, func(rows driver.Rows) error {
		var (
			key partitionKey
			n   uint64
		)
		err := rows.Scan(&key.topic, &key.partition, &n)
		f.partition(key).Twice = int64(n)
		return err
	})
	if err != nil {
		return err
	}
	return f.query.differences(ctx, f.report, Twice, "uploads", "SELECT "+place+", concat(toString(n), ' rows of ', id) AS detail FROM ("+found+")")
}

// refusals finds what was refused and has no row. Whether it is a tick the log says.
func (f *fates) refusals(ctx context.Context) error {
	f.refusedTicks = map[event.Position]bool{}
	letters := "SELECT " + at + " FROM dead_letters WHERE stage = 'load' AND " + f.query.scope
	return f.query.rows(ctx, "look for refused ticks", fmt.Sprintf("SELECT DISTINCT %[1]s FROM dead_letters WHERE stage = 'load' AND src_topic_id = '%[2]s' AND %[3]s AND (%[1]s) NOT IN (SELECT %[1]s FROM uploads WHERE (%[1]s) IN (%[4]s))%[5]s",
		at, f.log.id, f.query.scope, letters, settings), func(rows driver.Rows) error {
		var tick event.Position
		err := rows.Scan(&tick.TopicID, &tick.Partition, &tick.Offset)
		f.refusedTicks[tick] = true
		return err
	})
}

// maxBeyond bounds how many rows of a partition beyond the log are looked at.
const maxBeyond = 10_000

// invented finds rows beyond the log's end, which is asked for after the rows.
func (f *fates) invented(ctx context.Context) error {
	type row struct {
		key    partitionKey
		offset int64
		id     string
	}
	var rows []row
	err := f.query.rows(ctx, "look for rows beyond the log", `SELECT src_topic_id, src_partition, src_offset, upload_id FROM uploads
		WHERE `+f.log.beyond()+` ORDER BY src_partition, src_offset DESC LIMIT `+strconv.Itoa(maxBeyond)+` BY src_partition`+settings, func(found driver.Rows) error {
		var r row
		err := found.Scan(&r.key.topic, &r.key.partition, &r.offset, &r.id)
		rows = append(rows, r)
		return err
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
	var examples []Difference
	for _, r := range rows {
		end, ok := ends.Lookup(f.log.name, r.key.partition)
		if ok && r.offset >= 0 && r.offset < end.Offset {
			continue
		}
		p := f.partition(r.key)
		p.From, p.Invented = max(p.From, 0), p.Invented+1
		examples = append(examples, Difference{Kind: Invented, Table: "uploads", Position: position(r.key, r.offset), Detail: "upload " + r.id})
	}
	f.report.add(Invented, uint64(len(examples)), examples...)
	return nil
}

func position(key partitionKey, offset int64) string {
	return event.Position{TopicID: key.topic, Partition: key.partition, Offset: offset}.String()
}
