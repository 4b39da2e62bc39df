package audit

import (
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// BenchmarkTenMillionRows audits a table of 10 million uploads in ten parts,
// half of them originals with three renditions each, and half duplicates. The
// rows are those of a topic that is gone, since no log of that size is here: what
// is measured is ClickHouse. One offset in a hundred has no row, as behind a
// producer with transactions.
func BenchmarkTenMillionRows(b *testing.B) {
	bed := newBed(b)
	const (
		n     = 10_000_000
		parts = 10
	)
	columns := "src_topic_id, src_partition, src_offset, loaded_at, load_lease, load_topic_id, load_partition, load_offset"
	position := "toUUID('00000000-0000-4000-8000-000000000001') AS src_topic_id, toInt32(number % 4) AS src_partition, toInt64(intDiv(number, 4) + intDiv(number, 400)) AS src_offset"
	load := "now64(3), now64(3) + 3600, src_topic_id, src_partition, src_offset"
	rows := uint64(0)
	for part := range parts {
		numbers := fmt.Sprintf("FROM numbers(%d, %d)", part*n/parts, n/parts)
		bed.exec(`INSERT INTO uploads (upload_id, outcome, duplicate_of, spec, sha256, event_time, bytes, ` + columns + `)
			SELECT lower(hex(sipHash128(number, 'u'))), if(number % 2 = 0, 'original', 'duplicate'), if(number % 2 = 0, NULL, lower(hex(sipHash128(number - 1, 'u')))), 's',
				lower(hex(sipHash128(intDiv(number, 2)))), toDateTime64('2026-05-04 00:00:00', 3) + intDiv(number, 100), 1000, ` + position + `, ` + load + ` ` + numbers)
		bed.exec(`INSERT INTO renditions (sha256, name, spec, event_time, bytes, ` + columns + `)
			SELECT lower(hex(sipHash128(intDiv(number, 2)))), arrayJoin(['1024', '512', '128x128']), 's', toDateTime64('2026-05-04 00:00:00', 3) + intDiv(number, 100), 100, ` + position + `, ` + load + ` ` + numbers + ` WHERE number % 2 = 0`)
	}
	for b.Loop() {
		r, err := Run(b.Context(), bed.options)
		if err != nil {
			b.Fatal(err)
		}
		if !r.OK() {
			b.Fatalf("differences %v: %v", r.Differences, r.Examples)
		}
		rows = 0
		for _, p := range r.Partitions {
			rows += p.Rows
			if p.Gone && p.Unverified != int64(n/400-1) {
				b.Fatalf("%+v", p)
			}
		}
	}
	if rows != n {
		b.Fatalf("%d rows", rows)
	}
	b.ReportMetric(n*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
}

// BenchmarkGaps reads back from the log the markers of a producer whose
// transactions hold 100 records each.
func BenchmarkGaps(b *testing.B) {
	bed := newBed(b)
	const transactions, size = 300, 100
	client, err := kgo.NewClient(kgo.SeedBrokers(bed.options.Kafka.OptValue(kgo.SeedBrokers).([]string)...), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.TransactionalID(bed.id.String()))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(client.Close)
	for range transactions {
		if err := client.BeginTransaction(); err != nil {
			b.Fatal(err)
		}
		records := make([]*kgo.Record, size)
		for i := range records {
			records[i] = &kgo.Record{Topic: bed.options.Topics.Uploads.Name, Value: make([]byte, 1000)}
		}
		if err := client.ProduceSync(b.Context(), records...).FirstErr(); err != nil {
			b.Fatal(err)
		}
		if err := client.EndTransaction(b.Context(), kgo.TryCommit); err != nil {
			b.Fatal(err)
		}
	}
	const end = transactions * (size + 1)
	bed.awaitEnd(bed.options.Topics.Uploads.Name, 0, end)
	bed.exec(fmt.Sprintf(`INSERT INTO uploads (upload_id, outcome, src_topic_id, src_partition, src_offset, loaded_at, load_lease, load_topic_id, load_partition, load_offset)
		SELECT 'u', 'repeat', '%s', 0, number, now64(3), now64(3) + 60, generateUUIDv4(), 0, 0 FROM numbers(%d) WHERE number %% %d != %d`, bed.id, end, size+1, size))
	bed.read(0, end)
	took := time.Duration(0)
	for b.Loop() {
		began := time.Now()
		r, err := Run(b.Context(), bed.options)
		took += time.Since(began)
		if err != nil {
			b.Fatal(err)
		}
		if p := bed.partition(r, 0); !r.OK() || p.Markers != transactions {
			b.Fatalf("differences %v, %+v", r.Differences, p)
		}
	}
	b.ReportMetric(transactions*float64(b.N)/took.Seconds(), "gaps/s")
}
