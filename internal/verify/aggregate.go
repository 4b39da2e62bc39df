package verify

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
)

// The kinds of windows. A tumbling one is a hopping one that advances by its size.
const (
	tumbling = "tumbling"
	hopping  = "hopping"
	session  = "session"
)

// aggregate is one aggregate under comparison.
type aggregate struct {
	*Aggregate
	// value is what uploads are grouped by, as SQL.
	value string
	// first is the least start of its windows in the table, and last the least
	// watermark that closes all of its final ones.
	first, last int64
	// starts are the starts to look at; none is all.
	starts []int64
	// excluded says that there are uploads that it does not count, though they are not
	// late.
	excluded bool
	// rows is how many rows of windows it has, and part the condition of the keys that
	// a statement takes, of all if empty.
	rows uint64
	part string
}

// partRows is how many rows of windows a statement compares at once, about. Tests
// change it.
var partRows = uint64(2_000_000)

// parts are conditions on keys that divide an aggregate into parts that fit into
// memory.
func (a *aggregate) parts() []string {
	n := a.rows/partRows + 1
	if n == 1 {
		return []string{""}
	}
	parts := make([]string, n)
	for i := range parts {
		parts[i] = fmt.Sprintf(" AND cityHash64(key) %% %d = %d", n, i)
	}
	return parts
}

// dimensions are what uploads are grouped by, as SQL of a text that is empty where
// an upload has no value. Of all there is but one key, the empty one.
var dimensions = map[string]string{
	"all":          "''",
	"uploader":     "toString(uploader)",
	"format":       "toString(ifNull(format, ''))",
	"camera_model": "toString(ifNull(camera_model, ''))",
	"outcome":      "toString(outcome)",
	"cell":         "ifNull(concat(toString(accurateCastOrNull(floor(latitude), 'Int64')), ':', toString(accurateCastOrNull(floor(longitude), 'Int64'))), '')",
}

// maxKeyBytes is the longest value that is a key itself; of a longer one its hash is.
const maxKeyBytes = 256

// latency is the measure that quantiles are taken of.
const latency = "latency_ms"

// measures are the measures beside the count, what each is of an upload, and what
// the uploads of a window add up to.
var measures = []struct{ name, of, total string }{
	{"bytes_in", "bytes", "sum"},
	{"bytes_out", "bytes_out", "sum"},
	{"pixels", "toUInt64(width) * height", "sum"},
	{"bytes_in_min", "bytes", "min"},
	{"bytes_in_max", "bytes", "max"},
	{"uploaders", "if(uploader = '', NULL, sipHash64(uploader))", "uniqExact"},
	{latency, "if(isNull(extract_ms) AND isNull(transform_ms), NULL, toFloat64(ifNull(extract_ms, 0)) + toFloat64(ifNull(transform_ms, 0)))", ""},
}

// quantiles are the columns of the latency.
var quantiles = []struct{ name, of string }{{"latency_ms_p50", "0.5"}, {"latency_ms_p95", "0.95"}, {"latency_ms_p99", "0.99"}}

// has reports whether an aggregate has a measure.
func (a *aggregate) has(measure string) bool { return slices.Contains(a.Measures, measure) }

// isSession reports whether its windows are sessions.
func (a *aggregate) isSession() bool { return a.Kind == session }

// closes is how far beyond its end the least watermark is that closes a window.
func (a *aggregate) closes() int64 {
	if a.isSession() {
		return a.GraceMS + 2*a.GapMS + 1
	}
	return a.GraceMS
}

// placesRefused reports whether the key of a refused upload is known.
func (a *aggregate) placesRefused() bool { return a.Dimension == "all" || a.Dimension == "outcome" }

// incomparable says why an aggregate cannot be compared; "": it can.
func (v *verifier) incomparable(a *aggregate, definitions int) string {
	switch _, known := dimensions[a.Dimension]; {
	case definitions > 1:
		return fmt.Sprintf("its rows tell %d definitions of it", definitions)
	case !known:
		return fmt.Sprintf("its dimension %q is none that is known here", a.Dimension)
	case a.isSession() && a.GapMS > 0, (a.Kind == tumbling || a.Kind == hopping) && a.SizeMS > 0 && a.AdvanceMS > 0:
	default:
		return fmt.Sprintf("kind %q and its sizes make no window", a.Kind)
	}
	if v.refused.tooMany() && !a.placesRefused() {
		return fmt.Sprintf("ClickHouse refused uploads at more than %d different times", maxRefusedTimes)
	}
	return ""
}

// readAggregates lists the aggregates of the table windows that are selected and
// can be compared.
func (v *verifier) readAggregates(ctx context.Context) ([]*aggregate, error) {
	told := make([]string, 0, len(measures))
	for _, m := range measures {
		column := m.name
		if m.name == latency {
			column = quantiles[0].name
		}
		told = append(told, "if(count("+column+") > 0, '"+m.name+"', '')")
	}
	statement := fmt.Sprintf(`SELECT toString(aggregate) AS name, toString(kind), toInt64(size_ms), toInt64(advance_ms), toInt64(gap_ms), toInt64(grace_ms), toString(dimension),
			arrayFilter(x -> x != '', [%s]), min(%s), maxIf(%s, final), count()
		FROM windows GROUP BY aggregate, kind, size_ms, advance_ms, gap_ms, grace_ms, dimension ORDER BY name`,
		strings.Join(told, ", "), ms("window_start"), ms("window_end"))
	var all []*aggregate
	definitions := map[string]int{}
	err := v.rows(ctx, "list aggregates", statement, func(rows driver.Rows) error {
		a := &aggregate{Aggregate: &Aggregate{}}
		err := rows.Scan(&a.Name, &a.Kind, &a.SizeMS, &a.AdvanceMS, &a.GapMS, &a.GraceMS, &a.Dimension, &a.Measures, &a.first, &a.last, &a.rows)
		a.value, a.last = dimensions[a.Dimension], a.last+a.closes()
		definitions[a.Name]++
		all = append(all, a)
		return err
	})
	if err != nil {
		return nil, err
	}
	if len(all) == 0 {
		v.report.note("the table windows is empty: there is nothing to compare")
		return nil, nil
	}
	var list []*aggregate
	noted, known := map[string]bool{}, make([]string, 0, len(all))
	for _, a := range all {
		known = append(known, a.Name)
		var selected bool
		if a.starts, selected = selects(v.options.Patterns, a.Name); !selected || noted[a.Name] {
			continue
		}
		if why := v.incomparable(a, definitions[a.Name]); why != "" {
			v.report.note("%s was not compared: %s", a.Name, why)
			noted[a.Name] = true
			continue
		}
		list = append(list, a)
	}
	if len(list) == 0 && len(noted) == 0 {
		return nil, &NoAggregateError{Known: slices.Compact(known)}
	}
	return list, nil
}
