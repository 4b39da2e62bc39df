package verify

import (
	"fmt"
	"strings"
)

// A verdict is what comes of one window.
type verdict string

const (
	// agreed and differs are closed windows, of which there are two sides.
	agreed  verdict = "agreed"
	differs verdict = "differs"
	// missing is a closed window without a final row.
	missing verdict = "missing"
	// unexpected is a row of a window that no upload makes.
	unexpected verdict = "unexpected"
	// early is a final row of a window that is not closed, as far as the log was read.
	early verdict = "early"
	// stale is a session that is shown, and part of a closed one.
	stale verdict = "stale"
	// open windows, those before the first of the aggregate, and those that may hold
	// uploads that nobody knows enough of, are not compared.
	open    verdict = "open"
	before  verdict = "before"
	blurred verdict = "blurred"
)

const (
	// uploadersExact is up to how many distinct uploaders the pipeline counts exactly.
	uploadersExact = 128
	// uploadersError is how far it may be off beyond: six standard errors of a
	// HyperLogLog of 2^12 registers, 1.04/√4096 each.
	uploadersError = 6 * 1.04 / 64
	// quantileError is how far a quantile may be off: the 1 % of the sketch, and what
	// is lost where the milliseconds of a stage are stored as Float32.
	quantileError = 0.011
	// latencyLeast and latencyMost are the milliseconds that the sketch tells apart.
	latencyLeast, latencyMost = 1e-3, 1e9
)

// differing is SQL of the measures that differ between the sides of a window: an
// array of [name, what SQL says, what is stored].
func (a *aggregate) differing() string {
	text := func(e string) string { return "ifNull(toString(" + e + "), 'NULL')" }
	parts := []string{"if(made_n != shown_n, ['count', toString(made_n), toString(shown_n)], [])"}
	for _, m := range measures {
		sql, stored := "made_"+m.name, "shown_"+m.name
		wrong := "NOT doubtful AND " + text(sql) + " != " + text(stored)
		switch {
		case !a.has(m.name) || m.name == latency:
			continue
		case m.name == "uploaders": // Where nobody is named there is none, or nothing is told.
			wrong = fmt.Sprintf("NOT doubtful AND abs(ifNull(%[1]s, 0) - ifNull(%[2]s, 0)) > if(ifNull(%[1]s, 0) > %[3]d, %[4]g * ifNull(%[1]s, 0), 0)", sql, stored, uploadersExact, uploadersError)
		}
		parts = append(parts, fmt.Sprintf("if(%s, ['%s', %s, %s], [])", wrong, m.name, text(sql), text(stored)))
	}
	for i, q := range quantiles {
		if !a.has(latency) {
			break
		}
		least, most := fmt.Sprintf("neighbours[%d]", 2*i+1), fmt.Sprintf("neighbours[%d]", 2*i+2)
		clamped := func(e string) string { return fmt.Sprintf("least(greatest(%s, %g), %g)", e, latencyLeast, latencyMost) }
		parts = append(parts, fmt.Sprintf(`multiIf(doubtful OR (empty(neighbours) AND isNull(%[1]s)), [],
			empty(neighbours) OR isNull(%[1]s) OR %[1]s < %[2]s * %[3]g OR %[1]s > %[4]s * %[5]g,
			['%[1]s', if(empty(neighbours), 'NULL', concat(toString(%[6]s), ' to ', toString(%[7]s))), %[8]s], [])`,
			q.name, clamped(least), 1-quantileError, clamped(most), 1+quantileError, least, most, text(q.name)))
	}
	return "arrayFilter(x -> notEmpty(x), [" + strings.Join(parts, ",\n\t\t\t") + "])"
}

// sides brings together what the uploads make and what the pipeline shows, by key
// and bounds. Of a session around is the end of the last one that the uploads make
// and that begins no later.
func (v *verifier) sides(a *aggregate) string {
	made := []string{"key", "start", "stop", "true AS by_sql", "n", "doubtful", "neighbours", "toUInt64(0) AS revision", "false AS final"}
	shown := []string{"key", "start", "stop", "false", "n", "false", "CAST([] AS Array(Float64))", "revision", "final"}
	both := []string{
		"key", "start", "stop", "max(by_sql) AS is_made", "NOT min(by_sql) AS is_shown", "sumIf(n, by_sql) AS made_n", "sumIf(n, NOT by_sql) AS shown_n",
		"max(doubtful) AS doubtful", "anyIf(neighbours, by_sql) AS neighbours", "max(revision) AS revision", "max(final) AS final",
	}
	for _, m := range measures {
		if m.name != latency {
			made, shown = append(made, m.name), append(shown, m.name)
			both = append(both, "maxIf("+m.name+", by_sql) AS made_"+m.name, "maxIf("+m.name+", NOT by_sql) AS shown_"+m.name)
		}
	}
	for _, q := range quantiles {
		made, shown = append(made, "CAST(NULL AS Nullable(Float64)) AS "+q.name), append(shown, q.name)
		both = append(both, "max("+q.name+") AS "+q.name)
	}
	around := "start - 1"
	if a.isSession() {
		around = "ifNull(max(if(is_made, stop, NULL)) OVER (PARTITION BY key ORDER BY start RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW), start - 1)"
	}
	return `SELECT *, ` + around + ` AS around FROM (
		SELECT ` + strings.Join(both, ", ") + ` FROM (
			SELECT ` + strings.Join(made, ", ") + ` FROM (` + v.made(a) + `)
			UNION ALL SELECT ` + strings.Join(shown, ", ") + ` FROM (` + v.shown(a) + `)
		) GROUP BY key, start, stop)`
}

// verdicts is SQL of the verdict of a window.
func (v *verifier) verdicts(a *aggregate) string {
	closed := func(stop string, watermark int64) string {
		return fmt.Sprintf("%s + %d <= %d", stop, a.closes(), watermark)
	}
	is := func(of verdict) string { return "'" + string(of) + "'" }
	cases := []string{fmt.Sprintf("start < %d", a.first), is(before)}
	if v.refused.uploads > 0 && !a.placesRefused() {
		end := "stop"
		if a.isSession() {
			end = fmt.Sprintf("stop + %d + 1", a.GapMS)
		}
		cases = append(cases, fmt.Sprintf("arrayExists(x -> x >= start - %d AND x < %s, [%s])", a.GapMS, end, list(v.refused.times, integer)), is(blurred))
	}
	cases = append(cases,
		"is_shown AND final AND NOT "+closed("stop", v.may), is(early),
		"is_shown AND final AND is_made", "if(empty(differing), "+is(agreed)+", "+is(differs)+")",
		"is_shown AND final", is(unexpected),
		"is_made AND "+closed("stop", v.must), is(missing),
		"is_shown AND NOT is_made AND around >= stop", "if("+closed("around", v.must)+", "+is(stale)+", "+is(open)+")",
		"is_shown AND NOT is_made AND "+closed("stop", v.must), is(unexpected),
		is(open))
	return "multiIf(" + strings.Join(cases, ",\n\t\t\t") + ")"
}

// compared selects how many windows have each verdict, how many measures of them
// differ, how many of them end no later than the last final one, and the first ones
// of those with which something is wrong.
func (v *verifier) compared(a *aggregate) string {
	return fmt.Sprintf(`SELECT verdict, count(), sum(length(differing)), countIf(stop + %d <= %d),
			CAST(groupArraySortedIf(%d)((start, stop, key, made_n, shown_n, is_shown, final, revision, around, differing), verdict NOT IN ('%s', '%s', '%s', '%s')) AS
				Array(Tuple(start Int64, stop Int64, key String, made UInt64, shown UInt64, is_shown Bool, final Bool, revision UInt64, around Int64, differing Array(Array(String)))))
		FROM (SELECT *, %s AS verdict FROM (SELECT *, %s AS differing FROM (%s)) WHERE 1%s) GROUP BY verdict ORDER BY verdict`,
		a.closes(), a.last, maxExamples, agreed, open, before, blurred, v.verdicts(a), a.differing(), v.sides(a), v.wantedStarts(a))
}
