package verify

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/google/uuid"

	"github.com/tintype/tintype/event"
)

// refusals are the uploads whose rows ClickHouse refused: their rows say little
// more than when they were.
type refusals struct {
	uploads uint64
	// times are their event times, in order; too many are not kept.
	times []int64
}

// maxRefusedTimes bounds how many times of refused uploads a statement holds.
const maxRefusedTimes = 1000

// tooMany says that the windows of refused uploads cannot be told from others.
func (f refusals) tooMany() bool { return len(f.times) > maxRefusedTimes }

// readRefused looks for refused uploads.
func (v *verifier) readRefused(ctx context.Context) error {
	statement := fmt.Sprintf(`SELECT sum(n), arraySort(groupArray(%d)(t)) FROM (SELECT %s AS t, count() AS n FROM uploads
		WHERE outcome != 'lost' AND event_time IS NOT NULL AND %s AND (src_topic_id, src_partition, src_offset) IN %s GROUP BY t)`,
		maxRefusedTimes+1, ms("assumeNotNull(event_time)"), v.log.scope(), refusedOrigins)
	err := v.rows(ctx, "look for refused uploads", statement, func(rows driver.Rows) error { return rows.Scan(&v.refused.uploads, &v.refused.times) })
	if err != nil {
		return err
	}
	if v.refused.uploads > 0 {
		v.report.note("ClickHouse refused the rows of %d uploads, which tell no measure, and no key but the outcome: windows that may hold them are compared by their count alone, or not at all", v.refused.uploads)
	}
	var windows, late uint64
	err = v.rows(ctx, "count refused results", "SELECT countIf(startsWith(detail, 'windows: ')), countIf(startsWith(detail, 'late_uploads: ')) FROM dead_letters WHERE "+refusedBySink,
		func(rows driver.Rows) error { return rows.Scan(&windows, &late) })
	if err == nil && windows+late > 0 {
		v.report.note("ClickHouse refused %d rows of windows and %d of late_uploads: what is missing may be those, see dead_letters", windows, late)
	}
	return err
}

// times checks the times of every upload, and finds the watermark. While rows are
// under way the times before a row are not all known: then the stored ones serve.
func (v *verifier) times(ctx context.Context) error {
	if err := v.readRefused(ctx); err != nil {
		return err
	}
	stamped := `SELECT *, claim AS reached, NOT tick AND (isNull(t) OR ifNull(t != stored_t, true) OR ifNull(st != stored_st, true)) AS differs FROM (` + v.stamped(nil) + `)`
	if !v.report.Drained {
		stamped = `SELECT *, if(isNull(claim), NULL, ifNull(stored_st, stored_t)) AS reached, stored_t AS t, stored_st AS st, false AS differs FROM (` + v.logged(nil) + `)`
	}
	statement := fmt.Sprintf(`SELECT topic, part, countIf(NOT tick), countIf(tick), ifNull(max(reached), %[1]d), countIf(differs),
			groupArraySortedIf(%[2]d)([off, ifNull(stored_t, %[1]d), ifNull(t, %[1]d), ifNull(stored_st, %[1]d), ifNull(st, %[1]d)], differs)
		FROM (%[3]s) GROUP BY topic, part ORDER BY topic, part`, unknown, maxExamples, stamped)
	reached := map[uuid.UUID]map[int32]int64{v.log.id: {}}
	for partition := range v.log.read {
		reached[v.log.id][partition] = unknown
	}
	counts := map[uuid.UUID]map[int32]Partition{v.log.id: {}}
	var (
		wrong    uint64
		examples []Difference
	)
	err := v.rows(ctx, "compare stream times", statement, func(rows driver.Rows) error {
		var (
			p       Partition
			time    int64
			differs uint64
			named   [][]int64
		)
		if err := rows.Scan(&p.TopicID, &p.Partition, &p.Uploads, &p.Ticks, &time, &differs, &named); err != nil {
			return err
		}
		if reached[p.TopicID] == nil {
			reached[p.TopicID], counts[p.TopicID] = map[int32]int64{}, map[int32]Partition{}
		}
		reached[p.TopicID][p.Partition], counts[p.TopicID][p.Partition] = time, p
		wrong += differs
		for _, n := range named {
			if len(examples) < maxExamples {
				examples = append(examples, wrongTime(event.Position{TopicID: p.TopicID, Partition: p.Partition, Offset: n[0]}, n))
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	v.report.add(StreamTimeDiffers, wrong, examples...)
	v.stored, v.topics = wrong == 0, len(counts)
	if len(counts[v.log.id]) == 0 {
		v.topics--
	}
	v.watermarks(reached, counts)
	return nil
}

// wrongTime is a difference of one upload: its offset, and its event time and its
// stream time, each as it is stored and as it should be.
func wrongTime(at event.Position, n []int64) Difference {
	d := Difference{Kind: StreamTimeDiffers, Measure: "stream_time", Stored: timeText(n[3]), SQL: timeText(n[4]), Offsets: []string{at.String()}}
	if n[1] != n[2] {
		d.Measure, d.Stored, d.SQL = "event_time", timeText(n[1]), timeText(n[2])
	}
	return d
}

func timeText(ms int64) string {
	if ms == unknown {
		return "NULL"
	}
	return timeOf(ms).Format(timeFormat)
}

// watermarks takes the least stream time of all partitions. Of a topic that is
// gone only the partitions that rows came of are known.
func (v *verifier) watermarks(reached map[uuid.UUID]map[int32]int64, counts map[uuid.UUID]map[int32]Partition) {
	v.must, v.may = unknown, unknown
	topics := slices.SortedFunc(maps.Keys(reached), func(a, b uuid.UUID) int { return cmp.Compare(a.String(), b.String()) })
	for _, topic := range topics {
		least := slices.Min(slices.Collect(maps.Values(reached[topic])))
		v.may = max(v.may, least)
		if topic == v.log.id {
			v.must = least
		}
		for _, partition := range slices.Sorted(maps.Keys(reached[topic])) {
			p, time := counts[topic][partition], reached[topic][partition]
			p.TopicID, p.Partition, p.Gone, p.StreamTime = topic, partition, topic != v.log.id, timeOf(time)
			v.report.Partitions = append(v.report.Partitions, p)
			if time == unknown && !p.Gone {
				v.report.note("partition %d of %s has neither an upload that claims a time nor a tick: there is no watermark, and nothing is closed", partition, v.options.Topics.Uploads.Name)
			}
		}
	}
	v.report.Watermark = timeOf(v.must)
}
