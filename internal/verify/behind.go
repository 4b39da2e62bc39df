package verify

import (
	"context"
	"fmt"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/tintype/tintype/event"
)

const (
	// maxRanges bounds how many ranges of offsets a difference names.
	maxRanges = 20
	// maxBehind bounds how many uploads of a window are looked at to name them.
	maxBehind = 1000
)

// place is a window, by key and bounds.
type place struct {
	key         string
	start, stop int64
}

// behind names the uploads that are counted by the windows with which something is
// wrong.
func (v *verifier) behind(ctx context.Context, a *aggregate, found []finding) error {
	var places []place
	behind := map[place][]*Difference{}
	for _, f := range found {
		for i := range f.examples {
			d := &f.examples[i]
			if len(d.Offsets) > 0 { // It is about one upload.
				continue
			}
			p := place{d.Key, d.WindowStart.UnixMilli(), d.WindowEnd.UnixMilli()}
			if behind[p] == nil {
				places = append(places, p)
			}
			behind[p] = append(behind[p], d)
		}
	}
	if len(places) == 0 {
		return nil
	}
	windows := list(places, func(p place) string {
		return "(" + quote(p.key) + ", " + integer(p.start) + ", " + integer(p.stop) + ")"
	})
	start, until := "first", "t < stop"
	if a.isSession() {
		start, until = "t", "t <= stop"
	}
	statement := fmt.Sprintf(`SELECT key, first, stop, topic, part, off, count() OVER (PARTITION BY key, first, stop) FROM (
			SELECT *, %s AS start FROM (%s) AS uploads
			INNER JOIN (SELECT w.1 AS key, w.2 AS first, w.3 AS stop FROM (SELECT arrayJoin([%s]) AS w)) AS windows USING (key)
			WHERE t >= first AND %s
		) WHERE %s ORDER BY key, first, stop, topic, part, off LIMIT %d BY key, first, stop`, start, v.keyed(a, false), windows, until, v.counted(a), maxBehind)
	named := map[place]*ranges{}
	return v.rows(ctx, "name the uploads behind differences", statement, func(rows driver.Rows) error {
		var (
			p  place
			at event.Position
			n  uint64
		)
		if err := rows.Scan(&p.key, &p.start, &p.stop, &at.TopicID, &at.Partition, &at.Offset, &n); err != nil {
			return err
		}
		if named[p] == nil {
			named[p] = &ranges{}
		}
		named[p].add(at)
		for _, d := range behind[p] {
			d.Offsets, d.More = named[p].text, n-named[p].uploads
		}
		return nil
	})
}

// ranges are positions in their order, those that follow each other as one.
type ranges struct {
	first, last event.Position
	text        []string
	// uploads is how many positions text holds.
	uploads uint64
}

// add takes in the next position, unless there are enough ranges.
func (r *ranges) add(at event.Position) {
	next := r.last
	next.Offset++
	switch {
	case r.uploads > 0 && at == next:
		r.text[len(r.text)-1] = fmt.Sprintf("%s-%d", r.first, at.Offset)
	case len(r.text) < maxRanges:
		r.first, r.text = at, append(r.text, at.String())
	default:
		return
	}
	r.last = at
	r.uploads++
}
