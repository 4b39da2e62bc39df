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

// compared is one column that is compared: whether it differs, and both sides as text,
// all as SQL.
type compared struct{ name, differs, sql, stored string }

// compares lists the columns of an aggregate that are compared.
func (a *aggregate) compares() []compared {
	text := func(e string) string { return "ifNull(toString(" + e + "), 'NULL')" }
	all := []compared{{"count", "made_n != shown_n", "toString(made_n)", "toString(shown_n)"}}
	for _, m := range measures {
		if !a.has(m.name) || m.name == latency {
			continue
		}
		made, shown := "made_"+m.name, "shown_"+m.name
		differs := fmt.Sprintf("ifNull(%[1]s != %[2]s, isNull(%[1]s) != isNull(%[2]s))", made, shown)
		if m.name == "uploaders" { // Where nobody is named there is none, or nothing is told.
			differs = fmt.Sprintf("abs(ifNull(%[1]s, 0) - ifNull(%[2]s, 0)) > if(ifNull(%[1]s, 0) > %[3]d, %[4]g * ifNull(%[1]s, 0), 0)", made, shown, uploadersExact, uploadersError)
		}
		all = append(all, compared{m.name, "NOT doubtful AND " + differs, text(made), text(shown)})
	}
	for i, q := range quantiles {
		if !a.has(latency) {
			break
		}
		least, most := fmt.Sprintf("neighbours[%d]", 2*i+1), fmt.Sprintf("neighbours[%d]", 2*i+2)
		clamped := func(e string) string { return fmt.Sprintf("least(greatest(%s, %g), %g)", e, latencyLeast, latencyMost) }
		all = append(all, compared{
			q.name,
			fmt.Sprintf("NOT doubtful AND if(empty(neighbours) OR isNull(%[1]s), empty(neighbours) != isNull(%[1]s), %[1]s < %[2]s * %[3]g OR %[1]s > %[4]s * %[5]g)",
				q.name, clamped(least), 1-quantileError, clamped(most), 1+quantileError),
			"if(empty(neighbours), 'NULL', concat(toString(" + least + "), ' to ', toString(" + most + ")))", text(q.name),
		})
	}
	return all
}

// differing is SQL of the columns in which the sides of a window differ: bits of a
// number, and, where there are any, an array of [name, what SQL says, what is stored].
func (a *aggregate) differing() (bits, named string) {
	var sum, names []string
	for i, c := range a.compares() {
		sum = append(sum, fmt.Sprintf("if(%s, %d, 0)", c.differs, 1<<i))
		names = append(names, fmt.Sprintf("if(bitTest(wrong, %d), ['%s', %s, %s], [])", i, c.name, c.sql, c.stored))
	}
	return "toUInt16(" + strings.Join(sum, " + ") + ")", "if(wrong = 0, [], arrayFilter(x -> notEmpty(x), [" + strings.Join(names, ", ") + "]))"
}

// sides brings together what the uploads make and what the pipeline shows, by key
// and bounds. Of a session around is the end of the last one that the uploads make
// and that begins no later.
func (v *verifier) sides(a *aggregate) string {
	made := []string{"key", "start", "stop", "true AS is_made", "doubtful", "neighbours", "n AS made_n"}
	shown := []string{"key", "start", "stop", "true AS is_shown", "revision", "final", "n AS shown_n"}
	for _, m := range measures {
		if m.name != latency {
			made, shown = append(made, m.name+" AS made_"+m.name), append(shown, m.name+" AS shown_"+m.name)
		}
	}
	for _, q := range quantiles {
		shown = append(shown, q.name)
	}
	around := "start - 1"
	if a.isSession() {
		around = "ifNull(max(if(is_made, stop, NULL)) OVER (PARTITION BY key ORDER BY start RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW), start - 1)"
	}
	return `SELECT *, ` + around + ` AS around FROM (SELECT ` + strings.Join(made, ", ") + ` FROM (` + v.made(a) + `)) AS made
		FULL JOIN (SELECT ` + strings.Join(shown, ", ") + ` FROM (` + v.shown(a) + `)) AS shown USING (key, start, stop)`
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
		"is_shown AND final AND is_made", "if(wrong = 0, "+is(agreed)+", "+is(differs)+")",
		"is_shown AND final", is(unexpected),
		"is_made AND "+closed("stop", v.must), is(missing),
		"is_shown AND NOT is_made AND around >= stop", "if("+closed("around", v.must)+", "+is(stale)+", "+is(open)+")",
		"is_shown AND NOT is_made AND "+closed("stop", v.must), is(unexpected),
		is(open))
	return "multiIf(" + strings.Join(cases, ",\n\t\t\t") + ")"
}

// verdictsOf selects how many windows have each verdict, how many columns of them
// differ, how many of them end no later than the last final one, and the first ones
// of those with which something is wrong.
func (v *verifier) verdictsOf(a *aggregate) string {
	bits, named := a.differing()
	return fmt.Sprintf(`SELECT verdict, count(), sum(toUInt64(bitCount(wrong))), countIf(stop + %d <= %d),
			CAST(groupArraySortedIf(%d)((start, stop, key, made_n, shown_n, is_shown, final, revision, around, differing), verdict NOT IN ('%s', '%s', '%s', '%s')) AS
				Array(Tuple(start Int64, stop Int64, key String, made UInt64, shown UInt64, is_shown Bool, final Bool, revision UInt64, around Int64, differing Array(Array(String)))))
		FROM (SELECT *, %s AS verdict, %s AS differing FROM (SELECT *, %s AS wrong FROM (%s)) WHERE 1%s) GROUP BY verdict ORDER BY verdict`,
		a.closes(), a.last, maxExamples, agreed, open, before, blurred, v.verdicts(a), named, bits, v.sides(a), v.wantedStarts(a))
}
