package main

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/tintype/tintype/internal/audit"
)

// What was developed is proved; what nobody has read yet is pending; a row that
// is taken away is named.
func TestAudit(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	at := func(args ...string) []string {
		return append([]string{"audit", "--kafka", p.kafka, "--clickhouse", p.clickhouse, "--wait-timeout", "1s"}, args...)
	}
	if r := tintype(t, "", at()...); r.code != exitSetup || !oneLine(r.stderr) || !strings.Contains(r.stderr, "uploads") {
		t.Errorf("without topics: exit code %d, want 3\n%s%s", r.code, r.stdout, r.stderr)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	ended := make(chan result, 1)
	go func() {
		ended <- tintypeUntil(ctx, "", p.at("run", "--state-dir", t.TempDir(), "--http-listen", "127.0.0.1:0")...)
	}()
	want(t, exitOK, p.at("produce", "--wait", "--wait-timeout", patience.String(), "--synthetic", "12", "--small", "--seed", "3")...)
	if r := want(t, exitOK, at("--strict", "--wait-timeout", patience.String())...); !strings.Contains(r.stdout, "proved: every upload that was read has its row, once (") || strings.Contains(r.stdout, "NOT") {
		t.Errorf("all is there:\n%s", r.stdout)
	}
	stop()
	select {
	case r := <-ended:
		if r.code != exitOK {
			t.Errorf("run: exit code %d\n%s", r.code, r.stderr)
		}
	case <-time.After(patience):
		t.Fatal("run did not end")
	}

	want(t, exitOK, p.at("produce", "--synthetic", "1", "--small", "--seed", "4")...)
	if r := want(t, exitOK, at()...); !strings.Contains(r.stdout, "proved: every upload that was read has its row, once; 1 offsets are pending (") {
		t.Errorf("one is pending:\n%s", r.stdout)
	}
	if r := want(t, exitFailed, at("--strict")...); r.stderr != "tintype: audit: 1 pending\n" {
		t.Errorf("one is pending: %s", r.stderr)
	}

	sql := func(query string) string {
		t.Helper()
		return strings.TrimSpace(want(t, exitOK, "sql", "--clickhouse", p.clickhouse, "-o", "csv", query).stdout)
	}
	_, place, _ := strings.Cut(sql("SELECT concat(toString(src_topic_id), '/', toString(src_partition), '/', toString(src_offset)) AS place FROM uploads WHERE outcome = 'original' ORDER BY place LIMIT 1"), "\n")
	sql("ALTER TABLE uploads DELETE WHERE concat(toString(src_topic_id), '/', toString(src_partition), '/', toString(src_offset)) = '" + place + "' SETTINGS mutations_sync = 2")
	r := want(t, exitFailed, at()...)
	if !oneLine(r.stderr) || !strings.Contains(r.stderr, "1 missing, 1 rendition without original") || !strings.Contains(r.stdout, "missing in uploads: "+place+" key ") || !strings.Contains(r.stdout, "NOT proved") {
		t.Errorf("the row of %s is gone:\n%s%s", place, r.stdout, r.stderr)
	}
	var report audit.Report
	if err := json.Unmarshal([]byte(want(t, exitFailed, at("-o", "json")...).stdout), &report); err != nil {
		t.Fatal(err)
	}
	if report.Differences[audit.Missing] != 1 || report.Examples[0].Position != place || report.Pending() != 1 || !report.Drained || len(report.Partitions) == 0 {
		t.Errorf("the row of %s is gone: %+v", place, report)
	}
	if r := want(t, exitOK, at("--since", "1ms")...); !strings.Contains(r.stdout, "proved") {
		t.Errorf("since now:\n%s", r.stdout)
	}
}
