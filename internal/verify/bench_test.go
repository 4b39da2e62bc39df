package verify

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// BenchmarkUploads verifies the windows of a deployment's default aggregates over
// many uploads: 100 a second by 10,000 uploaders, a few of them late, 1 in 1,000
// without a time.
func BenchmarkUploads(b *testing.B) {
	for _, n := range []int{1_000_000, 10_000_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) { benchmarkUploads(b, n) })
	}
}

func benchmarkUploads(b *testing.B, n int) {
	bed := newBed(b, 4)
	// A part begins with the stream times that the one before has left.
	const parts, warmup = 10, 10_000
	for part := range parts {
		bed.exec(fmt.Sprintf(`INSERT INTO uploads (upload_id, outcome, uploader, format, camera_model, latitude, longitude, bytes, bytes_out, width, height, extract_ms, transform_ms,
				uploaded_at, event_time, stream_time, append_time, src_topic_id, src_partition, src_offset, loaded_at, load_lease, load_topic_id, load_partition, load_offset)
			SELECT lower(hex(sipHash128(o, p))), if(o %% 3 = 0, 'duplicate', 'original'), concat('user', toString(sipHash64(o, p) %% 10000)), ['jpeg', 'png', 'webp'][o %% 3 + 1], concat('camera', toString(o %% 50)),
				toFloat64(o %% 180) - 90, toFloat64(o %% 360) - 180, 1000000 + o, if(o %% 3 = 0, NULL, 1000), 4000, 3000, 5 + o %% 10, 20 + o %% 100,
				fromUnixTimestamp64Milli(claim, 'UTC'), fromUnixTimestamp64Milli(ifNull(claim, so_far), 'UTC'), fromUnixTimestamp64Milli(so_far, 'UTC'), now64(3), '%s', p, o, now64(3), now64(3) + 3600, generateUUIDv4(), 0, 0
			FROM (SELECT *, max(claim) OVER (PARTITION BY p ORDER BY o ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS so_far FROM (
				SELECT toInt64(intDiv(number, 4)) AS o, toInt32(number %% 4) AS p,
					if(o > 0 AND o %% 1000 = 0, NULL, 1777900000000 + number * 10 - if(sipHash64(number) %% 500 = 0, 600000, sipHash64(number) %% 5000)) AS claim FROM numbers(%d, %d))) WHERE o * 4 + p >= %d`,
			bed.id, max(part*n/parts-warmup, 0), n/parts+min(part, 1)*warmup, part*n/parts))
	}
	for part := range int32(4) {
		bed.read(part, int64(n))
	}
	const grace = 120_000
	var list []rules
	for _, dimension := range []string{"all", "outcome"} {
		list = append(list, rules{kind: "tumbling", size: 10_000, advance: 10_000, late: grace, dimension: dimension})
	}
	for _, dimension := range []string{"all", "uploader", "format", "camera_model", "outcome", "cell"} {
		list = append(list, rules{kind: "tumbling", size: 60_000, advance: 60_000, late: grace, dimension: dimension})
	}
	for _, dimension := range []string{"all", "uploader", "outcome"} {
		list = append(list, rules{kind: "hopping", size: 300_000, advance: 60_000, late: grace, dimension: dimension})
	}
	list = append(list, rules{kind: "session", gap: 300_000, late: grace, dimension: "uploader"})
	for _, r := range list {
		bed.derive(r)
	}
	cpu := bed.cpu()
	for b.Loop() {
		began := time.Now()
		r, err := Run(b.Context(), bed.options)
		if err != nil {
			b.Fatal(err)
		}
		if !r.OK() || r.Closed() == 0 {
			b.Fatalf("drained %v, %d closed, differences %v: %s", r.Drained, r.Closed(), r.Differences, told(r))
		}
		late := uint64(0)
		for _, a := range r.Aggregates {
			late += a.Late
		}
		b.Logf("%d uploads, %d closed windows, %d late, %d aggregates: %v", n, r.Closed(), late, len(r.Aggregates), time.Since(began))
	}
	b.ReportMetric((bed.cpu()-cpu).Seconds()/float64(b.N), "cpu-s/op")
}

// cpu is how long the server has computed, which other work on the machine does not
// change much.
func (b *bed) cpu() time.Duration {
	b.t.Helper()
	var us uint64
	if err := b.options.ClickHouse.QueryRow(b.t.Context(), "SELECT sum(value) FROM system.events WHERE event IN ('UserTimeMicroseconds', 'SystemTimeMicroseconds')").Scan(&us); err != nil {
		b.t.Fatal(err)
	}
	return time.Duration(us) * time.Microsecond
}

// derive writes the rows of an aggregate as verify expects them.
func (b *bed) derive(r rules) {
	b.t.Helper()
	log, err := readLog(b.t.Context(), b.options)
	if err != nil {
		b.t.Fatal(err)
	}
	a := &aggregate{value: dimensions[r.dimension], Aggregate: &Aggregate{
		Name: r.name(), Kind: r.kind, SizeMS: r.size, AdvanceMS: r.advance, GapMS: r.gap, GraceMS: r.late, Dimension: r.dimension,
	}}
	for _, m := range measures {
		a.Measures = append(a.Measures, m.name)
	}
	v := &verifier{options: b.options, log: log, conn: b.options.ClickHouse, report: newReport(time.Now())}
	v.report.Drained = true
	if err := v.times(b.t.Context()); err != nil || !v.stored {
		b.t.Fatalf("%v: %s", err, told(v.report))
	}
	var names, columns []string
	for _, m := range measures[:len(measures)-1] {
		names, columns = append(names, m.name), append(columns, m.name)
	}
	for i, q := range quantiles {
		names, columns = append(names, q.name), append(columns, fmt.Sprintf("neighbours[%d]", 2*i+1))
	}
	b.exec(fmt.Sprintf(`INSERT INTO windows (aggregate, kind, size_ms, advance_ms, gap_ms, grace_ms, dimension, key, window_start, window_end, revision, final, retracted, count, %s, emitted_at, loaded_at, load_lease)
		SELECT %s, %s, %d, %d, %d, %d, %s, key, fromUnixTimestamp64Milli(start, 'UTC'), fromUnixTimestamp64Milli(stop, 'UTC'), n + 1, stop + %d <= %d, false, n, %s, now64(3), now64(3), now64(3) + 3600 FROM (%s)%s`,
		strings.Join(names, ", "), quote(r.name()), quote(r.kind), r.size, r.advance, r.gap, r.late, quote(r.dimension), a.closes(), v.must, strings.Join(columns, ", "), v.made(a), settings))
	b.exec(fmt.Sprintf(`INSERT INTO late_uploads (aggregate, dimension, key, window_start, cause, event_time, stream_time, src_topic_id, src_partition, src_offset, loaded_at, load_lease)
		SELECT %s, %s, key, fromUnixTimestamp64Milli(start, 'UTC'), 'late', fromUnixTimestamp64Milli(t, 'UTC'), fromUnixTimestamp64Milli(st, 'UTC'), topic, part, off, now64(3), now64(3) + 3600
		FROM (%s) WHERE NOT (%s)%s`, quote(r.name()), quote(r.dimension), v.assigned(a, false), a.accepted(), settings))
}
