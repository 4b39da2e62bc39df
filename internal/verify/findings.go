package verify

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
)

// A finding is differences of one kind: how many, and the first ones.
type finding struct {
	kind     Kind
	n        uint64
	examples []Difference
}

// window is a window with which something is wrong.
type window struct {
	Start     int64      `ch:"start"`
	Stop      int64      `ch:"stop"`
	Key       string     `ch:"key"`
	Made      uint64     `ch:"made"`
	Shown     uint64     `ch:"shown"`
	IsShown   bool       `ch:"is_shown"`
	Final     bool       `ch:"final"`
	Revision  uint64     `ch:"revision"`
	Around    int64      `ch:"around"`
	Differing [][]string `ch:"differing"`
}

// verdictOf is all windows of one verdict.
type verdictOf struct {
	// columns are those that differ, of all windows.
	windows, columns uint64
	// passed are those that end no later than the last final window.
	passed uint64
	first  []window
}

// plus adds up two parts.
func (o verdictOf) plus(p verdictOf) verdictOf {
	first := slices.SortedFunc(slices.Values(append(o.first, p.first...)), func(a, b window) int {
		return cmp.Or(cmp.Compare(a.Start, b.Start), cmp.Compare(a.Stop, b.Stop), cmp.Compare(a.Key, b.Key))
	})
	return verdictOf{o.windows + p.windows, o.columns + p.columns, o.passed + p.passed, first[:min(len(first), maxExamples)]}
}

// settlePause is how long to wait for rows that may still come.
const settlePause = 500 * time.Millisecond

// aggregates compares all aggregates.
func (v *verifier) aggregates(ctx context.Context) error {
	list, err := v.readAggregates(ctx)
	if err != nil {
		return err
	}
	for _, a := range list {
		found, err := v.aggregate(ctx, a)
		if err != nil {
			return err
		}
		if err := v.behind(ctx, a, found); err != nil {
			return err
		}
		for _, f := range found {
			a.Differences += f.n
			v.report.add(f.kind, f.n, f.examples...)
		}
		v.report.Aggregates = append(v.report.Aggregates, *a.Aggregate)
	}
	return nil
}

// aggregate compares the windows and the late uploads of one aggregate.
func (v *verifier) aggregate(ctx context.Context, a *aggregate) ([]finding, error) {
	if err := v.readExcluded(ctx, a); err != nil {
		return nil, err
	}
	verdicts, err := v.settled(ctx, a)
	if err != nil {
		return nil, err
	}
	found, err := v.judge(ctx, a, verdicts)
	if err != nil {
		return nil, err
	}
	twice, err := v.twice(ctx, a)
	if err != nil || !v.report.Drained {
		return append(found, twice...), err
	}
	late, err := v.late(ctx, a)
	return append(append(found, twice...), late...), err
}

// settled compares windows. A final row may come some time after all records were
// read, so what lacks one is looked at again until the deadline.
func (v *verifier) settled(ctx context.Context, a *aggregate) (map[verdict]verdictOf, error) {
	for {
		verdicts, err := v.compare(ctx, a)
		waits := verdicts[missing].windows+verdicts[stale].windows > 0
		if err != nil || !waits || !v.report.Drained || time.Now().Add(settlePause).After(v.deadline) {
			return verdicts, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(settlePause):
		}
	}
}

// compare compares windows, part by part.
func (v *verifier) compare(ctx context.Context, a *aggregate) (map[verdict]verdictOf, error) {
	verdicts := map[verdict]verdictOf{}
	for _, keys := range a.parts() {
		part := *a
		part.part = keys
		err := v.rows(ctx, "compare the windows of "+a.Name, v.verdictsOf(&part), func(rows driver.Rows) error {
			var (
				of    verdictOf
				which string
			)
			err := rows.Scan(&which, &of.windows, &of.columns, &of.passed, &of.first)
			verdicts[verdict(which)] = verdicts[verdict(which)].plus(of)
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return verdicts, nil
}

// judge tells what is wrong from what cannot be told yet.
func (v *verifier) judge(ctx context.Context, a *aggregate, verdicts map[verdict]verdictOf) ([]finding, error) {
	a.Agreed, a.Open, a.Before, a.Blurred = verdicts[agreed].windows, verdicts[open].windows, verdicts[before].windows, verdicts[blurred].windows
	a.Closed = a.Agreed + verdicts[differs].windows + verdicts[missing].windows
	if a.Before > 0 {
		v.report.note("%s: %d windows were left out that start before the first one of the table, %s", a.Name, a.Before, timeText(a.first))
	}
	if m := verdicts[missing]; m.windows > 0 && m.passed == 0 {
		v.report.note("%s: all windows without a final row end after the last one that has one: the stage windows has closed nothing since, because it stands still, "+
			"no tick has reached it, or the aggregate is not declared any more", a.Name)
	}
	kinds := map[verdict]Kind{missing: WindowMissing, differs: MeasureDiffers, unexpected: WindowUnexpected, stale: RetractedMissing}
	if !v.report.Drained {
		kinds = map[verdict]Kind{missing: WindowMissing, differs: MeasureDiffers}
		a.Later += verdicts[unexpected].windows + verdicts[stale].windows
	}
	if verdicts[early].windows > 0 {
		now, err := readLog(ctx, v.options)
		if err != nil {
			return nil, err
		}
		if v.report.Drained && now.same(v.log) {
			kinds[early] = WindowUnexpected
		} else {
			a.Later += verdicts[early].windows
		}
	}
	var found []finding
	for _, which := range []verdict{missing, unexpected, early, differs, stale} {
		kind, ok := kinds[which]
		if !ok || verdicts[which].windows == 0 {
			continue
		}
		f := finding{kind: kind, n: verdicts[which].windows}
		if which == differs {
			f.n = verdicts[which].columns
		}
		for _, w := range verdicts[which].first {
			f.examples = append(f.examples, a.differences(kind, which, w)...)
		}
		f.examples = f.examples[:min(len(f.examples), maxExamples)]
		found = append(found, f)
	}
	return found, nil
}

// differences names what is wrong with a window.
func (a *aggregate) differences(kind Kind, which verdict, w window) []Difference {
	d := a.difference(kind, w.Key, w.Start, w.Stop)
	switch which {
	case differs:
		all := make([]Difference, 0, len(w.Differing))
		for _, measure := range w.Differing {
			d.Measure, d.SQL, d.Stored = measure[0], measure[1], measure[2]
			all = append(all, d)
		}
		return all
	case missing:
		d.Detail = fmt.Sprintf("no row of a closed window of %d uploads", w.Made)
		if w.IsShown {
			d.Detail = fmt.Sprintf("revision %d of a closed window of %d uploads is not final", w.Revision, w.Made)
		}
	case early:
		d.Detail = fmt.Sprintf("revision %d is final, and the watermark has not closed the window", w.Revision)
	case stale:
		d.Detail = fmt.Sprintf("revision %d of %d uploads is shown, and is part of a closed session that ends at %s", w.Revision, w.Shown, timeText(w.Around))
	default:
		d.Detail = fmt.Sprintf("revision %d of %d uploads, which do not make this window", w.Revision, w.Shown)
	}
	return []Difference{d}
}

func (a *aggregate) difference(kind Kind, key string, start, stop int64) Difference {
	return Difference{Kind: kind, Aggregate: a.Name, Key: key, WindowStart: timeOf(start), WindowEnd: timeOf(stop), inclusive: a.isSession()}
}

// twice finds windows with more than one final row.
func (v *verifier) twice(ctx context.Context, a *aggregate) ([]finding, error) {
	f := finding{kind: WindowTwice}
	finals := "FROM windows WHERE aggregate = " + quote(a.Name) + " AND final" + v.wantedKeys(a)
	statement := fmt.Sprintf(`SELECT toString(key), %s AS start, %s AS stop, count(), uniqExact((count, bytes_in, bytes_out, pixels, bytes_in_min, bytes_in_max, uploaders, latency_ms_p50, latency_ms_p95, latency_ms_p99)),
			arrayStringConcat(arraySort(groupUniqArray(5)(revision)), ' and '), count() OVER ()
		%s AND (key, window_start, window_end) IN (SELECT key, window_start, window_end %[3]s GROUP BY aggregate, window_start, key, window_end HAVING count() > 1)
		GROUP BY key, window_start, window_end HAVING 1%s ORDER BY start, stop, key LIMIT %d`, ms("window_start"), ms("window_end"), finals, v.wantedStarts(a), maxExamples)
	err := v.rows(ctx, "look for windows that are twice final", statement, func(rows driver.Rows) error {
		var (
			key, revisions string
			start, stop    int64
			n, contents    uint64
		)
		if err := rows.Scan(&key, &start, &stop, &n, &contents, &revisions, &f.n); err != nil {
			return err
		}
		d := a.difference(WindowTwice, key, start, stop)
		d.Detail = fmt.Sprintf("%d final rows of revision %s, with %d different contents", n, revisions, contents)
		f.examples = append(f.examples, d)
		return nil
	})
	return []finding{f}, err
}
