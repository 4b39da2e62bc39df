package verify

import (
	"fmt"
	"strings"
)

// keyed selects the uploads of an aggregate, each with its key and its measures.
func (v *verifier) keyed(a *aggregate, withMeasures bool) string {
	columns := []column{{"key", a.value, "''"}}
	if a.Dimension != "all" {
		columns[0].of = fmt.Sprintf("if(length(%[1]s) > %[2]d, concat('sha256:', lower(hex(SHA256(%[1]s)))), %[1]s)", a.value, maxKeyBytes)
	}
	if withMeasures {
		for _, m := range measures {
			if a.has(m.name) {
				columns = append(columns, column{"of_" + m.name, m.of, "NULL"})
			}
		}
		columns = append(columns, column{"refused", v.refusedColumn(), "false"})
	}
	where := "1"
	if a.Dimension != "all" {
		where = "key != ''"
	}
	return "SELECT * FROM (" + v.uploads(columns) + ") WHERE " + where + v.wantedKeys(a)
}

// wantedKeys is the condition of the selected keys.
func (v *verifier) wantedKeys(a *aggregate) string {
	if len(v.options.Keys) == 0 {
		return a.part
	}
	return a.part + " AND key IN (" + list(v.options.Keys, quote) + ")"
}

// wantedStarts is the condition of the selected windows.
func (v *verifier) wantedStarts(a *aggregate) string {
	where := ""
	if !v.options.Since.IsZero() {
		where += fmt.Sprintf(" AND start >= %d", v.options.Since.UnixMilli())
	}
	if len(a.starts) > 0 {
		where += " AND start IN (" + list(a.starts, integer) + ")"
	}
	return where
}

// assigned selects each upload once for each window that holds its time, with the
// window's start. An upload's own time stands for a session.
func (v *verifier) assigned(a *aggregate, withMeasures bool) string {
	start := fmt.Sprintf("arrayJoin(range(intDiv(greatest(0, t - %[1]d), %[2]s) * %[2]s, t + 1, %[2]s))", a.SizeMS-a.AdvanceMS, integer(a.AdvanceMS))
	where := "t >= 0"
	switch {
	case a.isSession():
		start, where = "t", "1"
	case a.AdvanceMS == a.SizeMS:
		start = "t - t % " + integer(a.SizeMS)
	}
	return "SELECT *, " + start + " AS start FROM (" + v.keyed(a, withMeasures) + ") WHERE " + where
}

// accepted is the condition of uploads that are not late for the window that they
// are assigned to.
func (a *aggregate) accepted() string {
	if a.isSession() {
		return fmt.Sprintf("t >= st - %d", a.GraceMS+a.GapMS)
	}
	return fmt.Sprintf("start + %d > st", a.SizeMS+a.GraceMS)
}

// counted is the condition of uploads that the window that they are assigned to
// counts: those that are accepted, but for those that the pipeline excludes and says
// so. Closed windows exclude nothing as long as there is one topic.
func (v *verifier) counted(a *aggregate) string {
	if !a.excluded {
		return a.accepted()
	}
	causes := "'overflow'"
	if v.topics > 1 {
		causes += ", 'closed'"
	}
	return a.accepted() + ` AND (topic, part, off, start) NOT IN (SELECT src_topic_id, src_partition, src_offset, ` + ms("window_start") + `
		FROM late_uploads WHERE aggregate = ` + quote(a.Name) + ` AND cause IN (` + causes + `))`
}

// made selects the windows that the uploads make, with what they add up to.
func (v *verifier) made(a *aggregate) string {
	var totals strings.Builder
	for _, m := range measures {
		switch of := "of_" + m.name; {
		case m.name == latency && a.has(latency):
			fmt.Fprintf(&totals, ", arraySort(groupArray(%s)) AS sorted, %s AS neighbours", of, neighbours("sorted"))
		case m.name == latency:
			totals.WriteString(", CAST([] AS Array(Float64)) AS neighbours")
		case m.name == "uploaders" && a.Dimension == "uploader": // A key is one of them.
			totals.WriteString(", toNullable(toUInt64(1)) AS uploaders")
		case a.has(m.name):
			fmt.Fprintf(&totals, ", toNullable(%s(%s)) AS %s", m.total, of, m.name)
		default:
			fmt.Fprintf(&totals, ", CAST(NULL AS Nullable(UInt64)) AS %s", m.name)
		}
	}
	uploads := "SELECT * FROM (" + v.assigned(a, true) + ") WHERE " + v.counted(a)
	by, bounds := "start", fmt.Sprintf("start, start + %d AS stop", a.SizeMS)
	if a.isSession() {
		by, bounds = "nth", "min(t) AS start, max(t) AS stop"
		uploads = "SELECT * EXCEPT (start) FROM (" + sessions(uploads, a.GapMS) + ")"
	}
	return `SELECT key, ` + bounds + `, count() AS n, max(refused) AS doubtful` + totals.String() + ` FROM (` + uploads + `) GROUP BY key, ` + by
}

// sessions numbers the sessions of each key: one begins with each upload that comes
// more than a gap after the one before. Uploads of one time are peers, in whatever
// order they come.
func sessions(uploads string, gap int64) string {
	return fmt.Sprintf(`SELECT *, sum(begins) OVER (PARTITION BY key ORDER BY t RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS nth FROM (
		SELECT *, t - lagInFrame(t, 1, t) OVER (PARTITION BY key ORDER BY t ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) > %d AS begins FROM (%s))`, gap, uploads)
}

// neighbours is, for each quantile of n sorted values, the two values whose ranks
// are next to q·(n − 1), one after the other.
func neighbours(sorted string) string {
	parts := make([]string, 0, 2*len(quantiles))
	for _, q := range quantiles {
		for _, round := range []string{"floor", "ceil"} {
			parts = append(parts, fmt.Sprintf("%s[toUInt64(%s(%s * (length(%s) - 1))) + 1]", sorted, round, q.of, sorted))
		}
	}
	return "if(empty(" + sorted + "), [], [" + strings.Join(parts, ", ") + "])"
}

// shown selects the windows that the pipeline shows.
func (v *verifier) shown(a *aggregate) string {
	names := make([]string, 0, len(measures)+len(quantiles))
	for _, m := range measures {
		if m.name != latency {
			names = append(names, m.name)
		}
	}
	for _, q := range quantiles {
		names = append(names, q.name)
	}
	return `SELECT toString(key) AS key, ` + ms("window_start") + ` AS start, ` + ms("window_end") + ` AS stop, revision, final, count AS n, ` + strings.Join(names, ", ") + `
		FROM windows_latest WHERE aggregate = ` + quote(a.Name) + v.wantedKeys(a)
}
