package verify

import (
	"context"
	"fmt"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/google/uuid"

	"github.com/tintype/tintype/event"
)

// lateScope is the condition of the rows of an aggregate about uploads in scope.
func (v *verifier) lateScope(a *aggregate) string {
	return "aggregate = " + quote(a.Name) + " AND " + v.log.scope() + v.wantedKeys(a)
}

// readExcluded counts the uploads that an aggregate does not count though they are
// not late.
func (v *verifier) readExcluded(ctx context.Context, a *aggregate) error {
	statement := `SELECT countIf(cause = 'overflow'), countIf(cause = 'closed') FROM (
		SELECT cause, ` + ms("window_start") + ` AS start FROM late_uploads WHERE ` + v.lateScope(a) + `) WHERE 1` + v.wantedStarts(a)
	err := v.rows(ctx, "count uploads that are left out of "+a.Name, statement, func(rows driver.Rows) error { return rows.Scan(&a.Overflow, &a.Reborn) })
	if err != nil {
		return err
	}
	a.excluded = a.Overflow+a.Reborn > 0
	if a.Overflow > 0 {
		v.report.note("%s: %d uploads are not counted by a window because their key had too many open ones, and were left out", a.Name, a.Overflow)
	}
	if a.Reborn > 0 && v.topics > 1 {
		v.report.note("%s: %d uploads are not counted by a window that was closed when %s was created anew, and were left out", a.Name, a.Reborn, v.options.Topics.Uploads.Name)
	}
	return nil
}

// late compares the uploads that came too late for a window with the rows that say
// so. A row that says closed needs a second topic: within one nothing that is not
// late can meet a closed window.
func (v *verifier) late(ctx context.Context, a *aggregate) ([]finding, error) {
	where := "1" + v.wantedStarts(a)
	if v.refused.uploads > 0 && !a.placesRefused() {
		where += " AND (topic, part, off) NOT IN " + refusedOrigins
	}
	expected := "is_late"
	if a.Before > 0 { // What came before the aggregate was declared is in no row of it.
		expected += fmt.Sprintf(" AND start >= %d", a.first)
	}
	wrongCause := "rows_closed > 0"
	if v.topics > 1 {
		wrongCause = "false"
	}
	both := `SELECT topic, part, off, start, max(by_sql) AS is_late, countIf(NOT by_sql) AS told, countIf(cause = 'late') AS rows_late, countIf(cause = 'closed') AS rows_closed,
			anyIf(key, by_sql) AS made_key, anyIf(key, NOT by_sql) AS shown_key, uniqExact(key) AS keys, max(st) AS stream_time, groupUniqArrayIf(cause, NOT by_sql) AS causes
		FROM (
			SELECT topic, part, off, start, key, true AS by_sql, '' AS cause, st FROM (` + v.assigned(a, false) + `) WHERE NOT (` + a.accepted() + `)
			UNION ALL SELECT src_topic_id, src_partition, src_offset, ` + ms("window_start") + `, toString(key), false, toString(cause), toInt64(0) FROM late_uploads WHERE ` + v.lateScope(a) + `
		) WHERE ` + where + ` GROUP BY topic, part, off, start`
	statement := fmt.Sprintf(`SELECT verdict, count(),
			CAST(groupArraySortedIf(%d)((start, topic, part, off, key, detail), verdict != 'agreed') AS Array(Tuple(start Int64, topic UUID, part Int32, off Int64, key String, detail String)))
		FROM (
			SELECT *, if(is_late, made_key, shown_key) AS key, multiIf(
					%s AND rows_late = 0, 'late_missing',
					rows_late > 0 AND NOT is_late OR %s OR told > 1 OR (is_late AND told > 0 AND keys > 1), 'late_unexpected',
					is_late AND told > 0, 'agreed', 'other') AS verdict,
				multiIf(
					verdict = 'late_missing', concat('stream time ', toString(fromUnixTimestamp64Milli(stream_time, 'UTC')), if(told > 0, concat(', and the row says ', causes[1]), '')),
					told > 1, concat(toString(told), ' rows'),
					is_late AND keys > 1, concat('the row has the key ', shown_key),
					rows_late > 0, 'it is not late', 'closed, within one topic') AS detail
			FROM (%s)
		) GROUP BY verdict ORDER BY verdict`, maxExamples, expected, wrongCause, both)
	var found []finding
	err := v.rows(ctx, "compare the late uploads of "+a.Name, statement, func(rows driver.Rows) error {
		var (
			verdict string
			n       uint64
			first   []lateUpload
		)
		if err := rows.Scan(&verdict, &n, &first); err != nil {
			return err
		}
		switch verdict {
		case "agreed":
			a.Late = n
		case string(LateMissing), string(LateUnexpected):
			f := finding{kind: Kind(verdict), n: n}
			for _, l := range first {
				stop := l.Start + a.SizeMS // Of a session, the upload's own time.
				d := a.difference(f.kind, l.Key, l.Start, stop)
				d.Detail, d.Offsets = l.Detail, []string{event.Position{TopicID: l.Topic, Partition: l.Part, Offset: l.Off}.String()}
				f.examples = append(f.examples, d)
			}
			found = append(found, f)
		}
		return nil
	})
	return found, err
}

// lateUpload is an upload and a window.
type lateUpload struct {
	Start  int64     `ch:"start"`
	Topic  uuid.UUID `ch:"topic"`
	Part   int32     `ch:"part"`
	Off    int64     `ch:"off"`
	Key    string    `ch:"key"`
	Detail string    `ch:"detail"`
}
