package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tintype/tintype/internal/verify"
)

// A window that agrees is proved; one that does not is named, with its uploads.
func TestVerify(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	at := func(args ...string) []string {
		return append([]string{"verify", "--kafka", p.kafka, "--clickhouse", p.clickhouse, "--wait-timeout", "1s"}, args...)
	}
	if r := tintype(t, "", at()...); r.code != exitSetup || !oneLine(r.stderr) || !strings.Contains(r.stderr, "uploads") {
		t.Errorf("without topics: exit code %d, want 3\n%s%s", r.code, r.stdout, r.stderr)
	}
	p.open(t, 1)
	if r := want(t, exitOK, at()...); !strings.Contains(r.stdout, "note: the table windows is empty") || !strings.Contains(r.stdout, "no window is closed (") {
		t.Errorf("nothing is there:\n%s", r.stdout)
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(p.kafka))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	admin := kadm.NewClient(client)
	topics, err := admin.ListTopics(t.Context(), "uploads")
	if err != nil {
		t.Fatal(err)
	}
	read := kadm.Offsets{}
	read.AddOffset("uploads", 0, 3, -1)
	if err := admin.CommitAllOffsets(t.Context(), "tintype-extract", read); err != nil {
		t.Fatal(err)
	}
	sql := func(query string) { want(t, exitOK, "sql", "--clickhouse", p.clickhouse, query) }
	now := time.Now().UTC()
	place := fmt.Sprintf("%s/0/", uuid.UUID(topics["uploads"].ID))
	for offset, second := range []int{1, 9, 30} {
		sql(fmt.Sprintf(`INSERT INTO uploads (upload_id, outcome, uploader, bytes, event_time, uploaded_at, append_time, stream_time, src_topic_id, src_partition, src_offset, loaded_at, load_lease, load_topic_id, load_partition, load_offset)
			VALUES ('u', 'original', 'ann', 10, '2026-05-04 12:00:%02[1]d', '2026-05-04 12:00:%02[1]d', '2026-05-04 12:00:%02[1]d', '2026-05-04 12:00:%02[1]d', '%s', 0, %d, '%[4]s', '%[5]s', '%[2]s', 0, 0)`,
			second, uuid.UUID(topics["uploads"].ID), offset, now.Format("2006-01-02 15:04:05"), now.Add(time.Hour).Format("2006-01-02 15:04:05")))
	}
	final := func(revision, bytes int) {
		sql(fmt.Sprintf(`INSERT INTO windows (aggregate, kind, size_ms, advance_ms, gap_ms, grace_ms, dimension, key, window_start, window_end, revision, final, count, bytes_in, loaded_at, load_lease)
			VALUES ('tumbling-10s-uploader', 'tumbling', 10000, 10000, 0, 5000, 'uploader', 'ann', '2026-05-04 12:00:00', '2026-05-04 12:00:10', %d, true, 2, %d, '%s', '%s')`,
			revision, bytes, now.Format("2006-01-02 15:04:05"), now.Add(time.Hour).Format("2006-01-02 15:04:05")))
	}
	final(3, 20)
	if r := want(t, exitOK, at()...); !strings.Contains(r.stdout, "proved: 1 closed windows are what the uploads make them (") || strings.Contains(r.stdout, "NOT") {
		t.Errorf("all agrees:\n%s", r.stdout)
	}
	final(4, 21)
	r := want(t, exitFailed, at()...)
	if !oneLine(r.stderr) || !strings.Contains(r.stderr, "verify: 1 measure differs, 1 window twice") || !strings.Contains(r.stdout, "NOT proved") ||
		!strings.Contains(r.stdout, `measure_differs in tumbling-10s-uploader key "ann" [2026-05-04T12:00:00.000Z, 2026-05-04T12:00:10.000Z): bytes_in is 21, SQL says 20; uploads `+place+"0-1\n") {
		t.Errorf("bytes_in differs:\n%s%s", r.stdout, r.stderr)
	}
	var report verify.Report
	if err := json.Unmarshal([]byte(want(t, exitFailed, at("-o", "json", "--window", "tumbling-10s-*", "--key", "ann")...).stdout), &report); err != nil {
		t.Fatal(err)
	}
	if report.Differences[verify.MeasureDiffers] != 1 || report.Examples[0].Offsets[0] != place+"0-1" || !report.Drained || len(report.Aggregates) != 1 || report.Aggregates[0].Closed != 1 {
		t.Errorf("bytes_in differs: %+v", report)
	}
	for _, args := range [][]string{{"--key", "bob"}, {"--window", "tumbling-10s-uploader@2026-05-04T12:00:10Z"}, {"--since", "2026-05-04T12:00:01Z"}} {
		if r := want(t, exitOK, at(args...)...); !strings.Contains(r.stdout, "no window is closed (") {
			t.Errorf("%q:\n%s", args, r.stdout)
		}
	}
	if r := tintype(t, "", at("--window", "hopping-*")...); r.code != exitUsage || !oneLine(r.stderr) || !strings.Contains(r.stderr, "tumbling-10s-uploader") {
		t.Errorf("no such aggregate: exit code %d, want 2\n%s", r.code, r.stderr)
	}
}
