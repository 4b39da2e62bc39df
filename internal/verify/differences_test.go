package verify

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// Each kind of difference is found, where it is alone, and named with its uploads.
func TestKindsOfDifferences(t *testing.T) {
	b := newBed(t, 3)
	rng := rand.New(rand.NewPCG(7, 7))
	records := random(rng, b.id, 3, 400)
	watermark := b.log(records, 3)
	tumbles := rules{kind: "tumbling", size: 100, advance: 100, late: 50, dimension: "uploader"}
	sessions := rules{kind: "session", gap: 20, late: 20, dimension: "uploader"}
	cases := []struct {
		label  string
		rules  rules
		change func(m *modeled)
		rows   func(m *modeled) []line
		late   func(m *modeled) line
		want   Kind
		text   string
	}{
		{label: "missing", rules: tumbles, change: func(m *modeled) { m.finals = m.finals[1:] }, want: WindowMissing, text: "no row of a closed window"},
		{label: "open", rules: sessions, change: func(m *modeled) {
			m.open, m.finals = append(m.open, m.finals[0]), m.finals[1:]
			m.open[len(m.open)-1].shown = 1
		}, want: WindowMissing, text: "is not final"},
		{label: "invented", rules: tumbles, rows: func(m *modeled) []line { return []line{final(m.rules, "nobody", 100, 200, 3)} }, want: WindowUnexpected, text: "revision 4 of 3 uploads"},
		{label: "bounds", rules: sessions, rows: func(m *modeled) []line {
			w := m.finals[0]
			return []line{m.row(&win{key: w.key, start: w.start, end: w.end + 1}, rng).with("final=true")}
		}, want: WindowUnexpected, text: "which do not make this window"},
		{label: "early", rules: tumbles, change: func(m *modeled) { m.finals, m.open = append(m.finals, m.open[0]), m.open[1:] }, want: WindowUnexpected, text: "the watermark has not closed"},
		{label: "twice", rules: tumbles, rows: func(m *modeled) []line {
			return []line{m.row(m.finals[0], rand.New(rand.NewPCG(1, 1))).with("final=true", "revision=999", "latency_ms_p50=NULL", "latency_ms_p95=NULL", "latency_ms_p99=NULL")}
		}, want: WindowTwice, text: "2 final rows of revision"},
		{label: "late", rules: sessions, change: func(m *modeled) { m.late = m.late[1:] }, want: LateMissing, text: "stream time 1970-01-01 00:00"},
		{label: "punctual", rules: tumbles, change: func(m *modeled) {
			m.late = append(m.late, lateOne{m.finals[0].uploads[0], m.finals[0].key, m.finals[0].start})
		}, want: LateUnexpected, text: "it is not late"},
		{label: "doubled", rules: tumbles, late: func(m *modeled) line { return m.late[0].line(m.rules) }, want: LateUnexpected, text: "2 rows"},
		{label: "key", rules: tumbles, change: func(m *modeled) { m.late[0].key = "somebody" }, want: LateUnexpected, text: "the row has the key somebody"},
		{label: "closed", rules: tumbles, late: func(m *modeled) line {
			w := m.finals[0]
			return late(m.rules, w.uploads[0], w.key, w.start).with("cause='closed'")
		}, want: LateUnexpected, text: "closed, within one topic"},
		{label: "stale", rules: sessions, rows: func(m *modeled) []line {
			i := slices.IndexFunc(m.finals, func(w *win) bool { return w.end > w.start })
			w := *m.finals[i]
			w.start, w.uploads = w.end, w.uploads[:1]
			return []line{m.row(&w, rng)}
		}, want: RetractedMissing, text: "is part of a closed session that ends at"},
	}
	want := map[Kind]uint64{}
	for _, c := range cases {
		c.rules.label = "-" + c.label
		m := c.rules.run(records, watermark, rng)
		if c.change != nil {
			c.change(m)
		}
		b.writeWindows(m, rng)
		if c.rows != nil {
			b.insert("windows", c.rows(m)...)
		}
		if c.late != nil {
			b.insert("late_uploads", c.late(m))
		}
		want[c.want]++
	}
	r := b.verify()
	want[MeasureDiffers] = r.Differences[MeasureDiffers] // Of the window that is twice final.
	b.want(r, want)
	for _, c := range cases {
		found := false
		for _, d := range r.Examples {
			if strings.HasSuffix(d.Aggregate, "-"+c.label) && d.Kind == c.want {
				found = strings.Contains(d.String(), c.text) && (len(d.Offsets) > 0 || c.label == "invented")
			}
		}
		if !found {
			t.Errorf("%s is not said of %s:\n%s", c.text, c.label, told(r))
		}
	}
}

// Each measure is compared, whatever the others say.
func TestMeasures(t *testing.T) {
	b := newBed(t, 3)
	rng := rand.New(rand.NewPCG(9, 9))
	records := random(rng, b.id, 3, 400)
	watermark := b.log(records, 3)
	columns := []string{"count", "bytes_in", "bytes_out", "pixels", "bytes_in_min", "bytes_in_max", "uploaders", "latency_ms_p50", "latency_ms_p95", "latency_ms_p99"}
	for _, column := range columns {
		for _, value := range []string{"12345678901", "NULL"} {
			if column == "count" && value == "NULL" {
				continue
			}
			r := rules{kind: "tumbling", size: 100, advance: 100, late: 50, dimension: "all", label: "-" + column + "-" + value}
			m := r.run(records, watermark, rng)
			first := m.row(m.finals[0], rng).with("final=true", column+"="+value, fmt.Sprintf("revision=%d", len(m.finals[0].uploads)+1))
			m.finals = m.finals[1:]
			b.writeWindows(m, rng)
			b.insert("windows", first)
		}
	}
	r := b.verify()
	b.want(r, map[Kind]uint64{MeasureDiffers: uint64(2*len(columns) - 1)})
	for _, d := range r.Examples {
		if !strings.Contains(d.Aggregate, "-"+d.Measure+"-") || !strings.HasSuffix(d.Aggregate, "-"+d.Stored) || len(d.Offsets) == 0 {
			t.Errorf("%s", d)
		}
	}
}

// Sketches may be off by as much as they promise.
func TestSketches(t *testing.T) {
	b := newBed(t, 1)
	var records []sent
	took := []float32{1, 10, 100, 1000}
	for i := range int64(1000) {
		u := b.upload(0, i, 5, fmt.Sprint("u", i%500))
		u.extractMS = &took[i/250]
		records = append(records, u)
	}
	records = append(records, b.upload(0, 1000, 100, ""))
	b.log(records, 1)
	r := rules{kind: "tumbling", size: 10, advance: 10, dimension: "all"}
	row := func(label string, columns ...string) line {
		r.label = "-" + label
		return final(r, "", 0, 10, 1000).with(append([]string{"uploaders=500", "latency_ms_p50=20", "latency_ms_p95=1000", "latency_ms_p99=1000"}, columns...)...)
	}
	b.insert("windows",
		row("exact"), row("most", "uploaders=548", "latency_ms_p50=100.9", "latency_ms_p95=1009.9"), row("least", "uploaders=452", "latency_ms_p50=9.91", "latency_ms_p95=990.1"),
		row("too-many", "uploaders=549"), row("too-few", "uploaders=451"), row("too-long", "latency_ms_p50=101.2"), row("too-short", "latency_ms_p50=9.88"),
		row("rank", "latency_ms_p95=100"))
	report := b.verify()
	b.want(report, map[Kind]uint64{MeasureDiffers: 5})
	b.wantText(report, "uploaders is 549, SQL says 500", "latency_ms_p50 is 101.2, SQL says 10 to 100", "latency_ms_p95 is 100, SQL says 1000 to 1000")
}

// Many windows are compared part by part, and nothing is missed or told twice.
func TestParts(t *testing.T) {
	whole := partRows
	t.Cleanup(func() { partRows = whole })
	b := newBed(t, 3)
	wrong := allRules[5]
	wrong.shiftGap, wrong.label = -1, "-apart"
	b.play(11, 600, append([]rules{wrong}, allRules...)...)
	want := b.verify()
	partRows = 20
	r := b.verify()
	b.want(r, want.Differences)
	if len(r.Differences) == 0 || told(r) != told(want) || !reflect.DeepEqual(r.Aggregates, want.Aggregates) {
		t.Errorf("in parts:\n%s\nas a whole:\n%s", told(r), told(want))
	}
}

// Only the first differences are named, and only the first ranges of uploads.
func TestManyDifferences(t *testing.T) {
	b := newBed(t, 1)
	var records []sent
	for i := range int64(3 * maxRanges) {
		records = append(records, b.upload(0, 2*i, 5, "a"))
	}
	for i := range int64(3000) {
		records = append(records, b.upload(0, 6*maxRanges+i, 15, "b"))
	}
	for i := range int64(2 * maxExamples) {
		records = append(records, b.upload(0, 4000+i, 25, fmt.Sprintf("c%02d", i)))
	}
	b.log(append(records, b.upload(0, 5000, 100, "")), 1)
	b.insert("windows", counted(counts, "nobody", 0, 10, 1).with("retracted=true"))
	r := b.verify()
	b.want(r, map[Kind]uint64{WindowMissing: 2 + 2*maxExamples})
	if len(r.Examples) != maxExamples {
		t.Fatalf("%d are named", len(r.Examples))
	}
	for i, want := range []struct {
		key     string
		offsets int
		last    string
		more    uint64
	}{{"a", maxRanges, "/0/38", 2 * maxRanges}, {"b", 1, "/0/120-1119", 2000}, {"c00", 1, "/0/4000", 0}} {
		d := r.Examples[i]
		if d.Key != want.key || len(d.Offsets) != want.offsets || d.Offsets[len(d.Offsets)-1] != b.id.String()+want.last || d.More != want.more {
			t.Errorf("%s", d)
		}
	}
}

// A stream time that is stored wrongly is named, and windows are compared by what it
// should be.
func TestStreamTimes(t *testing.T) {
	b := newBed(t, 2)
	none := func(u sent) sent {
		u.claimed = nil
		return u
	}
	records := []sent{
		none(b.upload(0, 0, 7, "a")), // Appended at 7, which moves nothing.
		b.upload(0, 1, 3, "a"), b.upload(0, 2, 20, "a"), none(b.upload(0, 3, 1000, "a")), b.upload(0, 4, 19, "a"), b.upload(0, 5, 16, "a"), b.upload(1, 0, 40, ""),
	}
	records[6].tick = true
	lost := none(b.upload(0, 6, 0, "a"))
	lost.outcome = "lost"
	records = append(records, lost, b.upload(0, 7, 50, ""))
	b.log(records, 2)
	if records[0].st != 7 || records[1].st != 3 || records[3].t != 20 {
		t.Fatalf("%+v", records)
	}
	b.insert("windows", final(counts, "a", 0, 10, 2), final(counts, "a", 10, 20, 2), final(counts, "a", 20, 30, 2))
	r := b.verify()
	b.want(r, map[Kind]uint64{})
	if r.Watermark.UnixMilli() != 40 || len(r.Partitions) != 2 || r.Partitions[0].Uploads != 7 || r.Partitions[1].Ticks != 1 {
		t.Errorf("watermark %v of %+v", r.Watermark, r.Partitions)
	}

	wrong := []sent{b.upload(0, 8, 19, "a").stamped(19, 19), b.upload(0, 9, 60, "").stamped(60, 60), none(b.upload(0, 10, 0, "")).stamped(0, 60)}
	b.write(wrong)
	b.read(0, 11)
	r = b.verify() // The stored stream time would make the upload at 19 punctual.
	b.want(r, map[Kind]uint64{StreamTimeDiffers: 2, LateMissing: 1})
	place := b.id.String() + "/0/"
	b.wantText(r, "stream_time_differs: stream_time is 1970-01-01T00:00:00.019Z, SQL says 1970-01-01T00:00:00.050Z; uploads "+place+"8",
		"stream_time_differs: event_time is 1970-01-01T00:00:00.000Z, SQL says 1970-01-01T00:00:00.060Z; uploads "+place+"10", "uploads "+place+"8")
}
