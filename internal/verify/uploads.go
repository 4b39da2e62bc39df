package verify

import (
	"fmt"
	"strings"
)

// A column is what is read of an upload: its name in statements, the expression
// over the table uploads, and what stands in its place for a tick.
type column struct{ name, of, tick string }

// origin is the columns of an upload's position.
const origin = "topic, part, off"

// refusedBySink is the condition of dead letters about rows that ClickHouse refused.
// Those that are no fate's name the table.
const refusedBySink = "stage = 'load' AND reason = 'refused_by_sink'"

// refusedOrigins are the uploads whose rows ClickHouse refused.
const refusedOrigins = "(SELECT src_topic_id, src_partition, src_offset FROM dead_letters WHERE " + refusedBySink + " AND NOT startsWith(detail, 'late_uploads: '))"

// allTicks are the ticks, with those that ClickHouse refused.
const allTicks = "(SELECT src_topic_id, src_partition, src_offset, event_time FROM ticks UNION ALL " +
	"SELECT src_topic_id, src_partition, src_offset, assumeNotNull(event_time) FROM dead_letters WHERE " + refusedBySink + " AND startsWith(detail, 'ticks: ') AND event_time IS NOT NULL)"

// refusedColumn is whether the row of an upload was refused.
func (v *verifier) refusedColumn() string {
	if v.refused.uploads == 0 {
		return "false"
	}
	return "(src_topic_id, src_partition, src_offset) IN " + refusedOrigins
}

// logged selects uploads and ticks in scope. An upload claims its time where it has a
// claim; a row that was refused twice has lost it, and its event time is it.
func (v *verifier) logged(columns []column) string {
	var uploads, ticks strings.Builder
	for _, c := range columns {
		fmt.Fprintf(&uploads, ", %s AS %s", c.of, c.name)
		fmt.Fprintf(&ticks, ", %s AS %s", c.tick, c.name)
	}
	claim := "uploaded_at IS NOT NULL"
	if v.refused.uploads > 0 {
		claim += " OR " + v.refusedColumn()
	}
	return `SELECT src_topic_id AS topic, src_partition AS part, src_offset AS off, false AS tick, ` +
		ms("event_time") + ` AS stored_t, ` + ms("stream_time") + ` AS stored_st, ` + ms("append_time") + ` AS appended, ` +
		`if(` + claim + `, stored_t, NULL) AS claim` + uploads.String() + `
		FROM uploads WHERE outcome != 'lost' AND ` + v.log.scope() + `
		UNION ALL SELECT src_topic_id, src_partition, src_offset, true, ` + ms("event_time") + ` AS stored_t, NULL, NULL, stored_t` + ticks.String() + `
		FROM ` + allTicks + ` WHERE ` + v.log.scope()
}

// stamped adds to uploads and ticks what the log makes their event time t and
// their stream time st: the greatest claim so far. An upload without a claim takes
// the stream time as its own, or the time it was appended at where there is none.
func (v *verifier) stamped(columns []column) string {
	return `SELECT *, ifNull(so_far, appended) AS st, ifNull(claim, st) AS t FROM (
		SELECT *, max(claim) OVER (PARTITION BY topic, part ORDER BY off ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS so_far FROM (` + v.logged(columns) + `))`
}

// uploads selects the uploads in scope, each with its position, event time t and
// stream time st. Once the stored times are proved, they serve.
func (v *verifier) uploads(columns []column) string {
	if !v.stored {
		names := list(columns, func(c column) string { return ", " + c.name })
		return `SELECT ` + origin + `, assumeNotNull(t) AS t, assumeNotNull(st) AS st` + strings.ReplaceAll(names, ", , ", ", ") + ` FROM (` + v.stamped(columns) + `) WHERE NOT tick AND t IS NOT NULL`
	}
	var more strings.Builder
	for _, c := range columns {
		fmt.Fprintf(&more, ", %s AS %s", c.of, c.name)
	}
	return `SELECT src_topic_id AS topic, src_partition AS part, src_offset AS off, ` + ms("assumeNotNull(event_time)") + ` AS t, ` + ms("assumeNotNull(stream_time)") + ` AS st` + more.String() + `
		FROM uploads WHERE outcome != 'lost' AND event_time IS NOT NULL AND ` + v.log.scope()
}
