package main

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tintype/tintype/bench/synthetic"
	"github.com/tintype/tintype/event"
	"github.com/tintype/tintype/internal/devstack/devtest"
	"github.com/tintype/tintype/internal/produce"
)

// uploads reads the first n uploads of a broker.
func uploads(t *testing.T, kafka string, n int) (files, ids []string) {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(kafka), kgo.ConsumeTopics("uploads"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for len(files) < n {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.Fatalf("%d of %d uploads, then %v", len(files), n, err)
		}
		for _, record := range fetches.Records() {
			upload := event.NewCodecs().Upload.Read(record.Value)
			if upload.Err != nil {
				t.Fatal(upload.Err)
			}
			files, ids = append(files, upload.Message.GetFilename()), append(ids, string(record.Key))
		}
	}
	slices.Sort(files)
	return files, ids
}

func photo(n int) []byte { return synthetic.New(synthetic.Options{Seed: 1, Small: true}).Photo(n).Data }

// Folders are sent with all that is in them, and what is missing keeps nothing
// else from being sent.
func TestProduceFiles(t *testing.T) {
	t.Parallel()
	dir := files(t, map[string][]byte{
		"a.jpg": photo(0), "below/b.jpg": photo(1), "below/further/c.jpg": photo(2), ".hidden/d.jpg": photo(3), "e f.jpg": photo(4), "listed.jpg": photo(5),
	})
	kafka, blobs := devtest.Kafka(t).Addr(), fileURL(t.TempDir())
	at := func(args ...string) []string {
		return append([]string{"produce", "--kafka", kafka, "--blobs", blobs}, args...)
	}
	none := filepath.Join(dir, "none.jpg")
	r := tintype(t, "", at(filepath.Join(dir, "a.jpg"), none, filepath.Join(dir, "below"))...)
	if r.code != exitFailed || !strings.Contains(r.stdout, "3 uploads acknowledged") || !strings.Contains(r.stderr, none) ||
		!strings.Contains(r.stderr, "1 files were not uploaded") {
		t.Errorf("exit code %d, want 1, three sent and one not\n%s%s", r.code, r.stdout, r.stderr)
	}
	r = tintype(t, filepath.Join(dir, "listed.jpg")+"\n\n"+filepath.Join(dir, "e f.jpg")+"\r\n", at("-")...)
	if r.code != exitOK || !strings.Contains(r.stdout, "2 uploads acknowledged") {
		t.Errorf("a list on stdin: exit code %d\n%s%s", r.code, r.stdout, r.stderr)
	}
	got, _ := uploads(t, kafka, 5)
	if names := []string{"a.jpg", "b.jpg", "c.jpg", "e f.jpg", "listed.jpg"}; !slices.Equal(got, names) {
		t.Errorf("sent %q, want %q", got, names)
	}
	if r := tintype(t, none+"\n", at("-")...); r.code != exitFailed || !strings.Contains(r.stdout, "0 uploads acknowledged") {
		t.Errorf("nothing to send: exit code %d\n%s%s", r.code, r.stdout, r.stderr)
	}
}

// With -o json, a line is an upload and nothing else is on stdout.
func TestProduceJSON(t *testing.T) {
	t.Parallel()
	dir := files(t, map[string][]byte{"a.jpg": photo(0), "b.jpg": photo(1)})
	kafka, blobs := devtest.Kafka(t).Addr(), fileURL(t.TempDir())
	r := want(t, exitOK, "produce", "--kafka", kafka, "--blobs", blobs, "-o", "json", "--repeat", "3", "--upload-id-prefix", "again", "--carry", "reference", dir)
	if !strings.Contains(r.stderr, "6 uploads acknowledged") {
		t.Errorf("the summary is not on stderr: %s", r.stderr)
	}
	var got []string
	places := map[string]bool{}
	for line := range strings.Lines(r.stdout) {
		var a produce.Acked
		if err := json.Unmarshal([]byte(line), &a); err != nil {
			t.Fatalf("the line %q: %v", line, err)
		}
		if a.Carry != produce.CarryReference || a.Bytes == 0 || a.UploadedAt.IsZero() || filepath.Dir(a.File) != dir {
			t.Errorf("the upload %+v", a)
		}
		got = append(got, a.UploadID)
		places[fmt.Sprint(a.Partition, "/", a.Offset)] = true
	}
	slices.Sort(got)
	if ids := []string{"again-0", "again-1", "again-2", "again-3", "again-4", "again-5"}; !slices.Equal(got, ids) || len(places) != len(ids) {
		t.Errorf("acknowledged %q at %v, want %q at places of their own", got, places, ids)
	}
	_, ids := uploads(t, kafka, 6)
	slices.Sort(ids)
	if !slices.Equal(ids, got) {
		t.Errorf("the topic has %q, told were %q", ids, got)
	}
	r = want(t, exitOK, "produce", "--kafka", kafka, "--blobs", blobs, "-o", "json", "--upload-id", "the-one", filepath.Join(dir, "a.jpg"))
	if !strings.Contains(r.stdout, `"upload_id":"the-one"`) || strings.Count(r.stdout, "\n") != 1 {
		t.Errorf("a named upload: %s", r.stdout)
	}
}

// The whole way: run, produce --wait, ask; a signal ends run with 0.
func TestRunProduceAsk(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	ended := make(chan result, 1)
	go func() {
		ended <- tintypeUntil(ctx, "", p.at("run", "--state-dir", t.TempDir(), "--http-listen", "127.0.0.1:0")...)
	}()
	produced := tintype(t, "", p.at("produce", "--wait", "--wait-timeout", patience.String(), "--synthetic", "12", "--small", "--seed", "3")...)
	if produced.code != exitOK || !strings.Contains(produced.stdout, "12 uploads acknowledged") || !strings.Contains(produced.stdout, "12 queryable") {
		t.Errorf("produce: exit code %d\n%s%s", produced.code, produced.stdout, produced.stderr)
	}
	counted := want(t, exitOK, "sql", "--clickhouse", p.clickhouse, "-o", "json", "SELECT count() AS n, countIf(outcome IN ('original', 'duplicate')) AS developed FROM uploads").stdout
	if counted != "{\"n\":12,\"developed\":12}\n" {
		t.Errorf("counted %s", counted)
	}
	if outcomes := want(t, exitOK, "report", "outcomes", "--clickhouse", p.clickhouse, "-o", "csv").stdout; !strings.Contains(outcomes, "original") {
		t.Errorf("the outcomes are %s", outcomes)
	}
	healthy(t, diagnose(t, exitOK, p.at()...), nil)
	stop()
	select {
	case r := <-ended:
		if r.code != exitOK {
			t.Errorf("run: exit code %d\n%s", r.code, r.stderr)
		}
	case <-time.After(patience):
		t.Fatal("run did not end")
	}
}

// Where nobody develops, produce --wait says what is missing, and 1.
func TestProduceWaitsInVain(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	r := tintype(t, "", p.at("produce", "--wait", "--wait-timeout", "100ms", "--synthetic", "2", "--small")...)
	if r.code != exitFailed || !strings.Contains(r.stderr, "2 of 2 uploads are not queryable yet") || !strings.Contains(r.stderr, "tintype doctor") {
		t.Errorf("exit code %d, want 1\n%s%s", r.code, r.stdout, r.stderr)
	}
}
