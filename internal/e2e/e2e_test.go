// Package e2e runs the whole pipeline: on kfake and, with TINTYPE_TEST_KAFKA
// set (make test-kafka), on a real broker; in process and as processes that
// are killed.
package e2e

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/tintype/tintype/internal/deployment"
	"github.com/tintype/tintype/internal/devstack/devtest"
)

// patience is how long a test waits for what must come.
const patience = 2 * time.Minute

// kafka is the address of a broker that tests may share: the real one if the
// environment names one, else kfake.
func kafka(t *testing.T) string {
	t.Helper()
	if address := os.Getenv("TINTYPE_TEST_KAFKA"); address != "" {
		return address
	}
	return devtest.Kafka(t).Addr()
}

// open opens a deployment of its own: topics, groups and database are this
// test's alone.
func open(t *testing.T) *deployment.Deployment {
	t.Helper()
	name := "t" + strings.ReplaceAll(uuid.NewString(), "-", "")[:12]
	d, err := deployment.Open(t.Context(), deployment.Options{
		Addresses: deployment.Addresses{
			Kafka: kafka(t), ClickHouse: devtest.Database(t, name),
			Blobs: "file://" + filepath.ToSlash(t.TempDir()),
		},
		Name: name, UploadsTopic: name + "-uploads", CreateTopics: true, Log: logger(t),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

// logger shows what the pipeline logs where a test fails.
func logger(t *testing.T) *slog.Logger {
	t.Helper()
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
}

// run runs the stages until the returned function drains them.
func run(t *testing.T, d *deployment.Deployment, w deployment.Work) (drain func()) {
	t.Helper()
	if w.StateDir == "" {
		w.StateDir = t.TempDir()
	}
	runner, err := d.Runner(w)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- runner.Run(ctx, d.PartitionCount) }()
	var drained bool
	drain = func() {
		if drained {
			return
		}
		drained = true
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("the stages ended with %v", err)
			}
		case <-time.After(patience):
			t.Errorf("the stages did not drain")
		}
	}
	t.Cleanup(drain)
	return drain
}

// count runs a query of one number.
func count(t *testing.T, d *deployment.Deployment, query string, args ...any) uint64 {
	t.Helper()
	var n uint64
	if err := d.ClickHouse.QueryRow(context.Background(), query, args...).Scan(&n); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return n
}

// eventually polls a number until it is what it must be.
func eventually(t *testing.T, d *deployment.Deployment, want uint64, query string, args ...any) {
	t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		got := count(t, d, query, args...)
		if got == want {
			return
		}
		if got > want {
			t.Fatalf("%s: %d, more than %d", query, got, want)
		}
		select {
		case <-deadline:
			t.Fatalf("%s: still %d, want %d", query, got, want)
		case <-tick.C:
		}
	}
}
