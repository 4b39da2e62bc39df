package audit

import (
	"fmt"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
)

// BenchmarkTenMillionRows audits a table of 10 million uploads, with three
// renditions of every second one. The log is that of an empty topic, so that the
// rows are those of one that is gone: their gaps are not read.
func BenchmarkTenMillionRows(b *testing.B) {
	bed := newBed(b)
	const n = 10_000_000
	position := "toUUID('00000000-0000-4000-8000-000000000001') AS src_topic_id, toInt32(number % 4) AS src_partition, toInt64(intDiv(number, 4)) AS src_offset"
	load := "now64(3) AS loaded_at, now64(3) + 3600 AS load_lease, src_topic_id AS load_topic_id, src_partition AS load_partition, src_offset AS load_offset"
	for _, statement := range []string{
		fmt.Sprintf(`INSERT INTO uploads (upload_id, outcome, spec, sha256, event_time, bytes, src_topic_id, src_partition, src_offset, loaded_at, load_lease, load_topic_id, load_partition, load_offset)
			SELECT toString(number), if(number %% 2 = 0, 'original', 'duplicate'), 's', hex(sipHash128(intDiv(number, 2))), toDateTime64('2026-05-04 00:00:00', 3) + intDiv(number, 100), 1000, %s, %s FROM numbers(%d)`, position, load, n),
		fmt.Sprintf(`INSERT INTO renditions (sha256, name, spec, event_time, bytes, src_topic_id, src_partition, src_offset, loaded_at, load_lease, load_topic_id, load_partition, load_offset)
			SELECT hex(sipHash128(intDiv(number, 2))), arrayJoin(['1024', '512', '128x128']), 's', toDateTime64('2026-05-04 00:00:00', 3) + intDiv(number, 100), 100, %s, %s FROM numbers(%d) WHERE number %% 2 = 0`, position, load, n),
	} {
		if err := bed.options.ClickHouse.Exec(b.Context(), statement); err != nil {
			b.Fatal(err)
		}
	}
	offsets := kadm.Offsets{}
	offsets.AddOffset(bed.options.Topics.Uploads.Name, 0, 0, -1)
	if err := bed.admin.CommitAllOffsets(b.Context(), bed.options.Extract, offsets); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		r, err := Run(b.Context(), bed.options)
		if err != nil {
			b.Fatal(err)
		}
		if !r.OK() {
			b.Fatalf("differences %v: %+v", r.Differences, r.Examples)
		}
	}
	b.ReportMetric(n*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
}
