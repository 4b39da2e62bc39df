package main

import (
	"bytes"
	"context"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/tintype/tintype/internal/deployment"
	"github.com/tintype/tintype/internal/devstack/devtest"
)

var update = flag.Bool("update", false, "write the golden files")

// patience is how long a test waits for what must come.
const patience = 2 * time.Minute

// asTintype makes a process of this test binary the command.
const asTintype = "TINTYPE_TEST_AS_COMMAND"

// TestMain is the tests or, where the environment says so, the command. What
// the environment says about servers is not for the tests.
func TestMain(m *testing.M) {
	if os.Getenv(asTintype) == "1" {
		main()
	}
	for _, variable := range os.Environ() {
		name, _, _ := strings.Cut(variable, "=")
		if strings.HasPrefix(name, "TINTYPE_") && name != "TINTYPE_REQUIRE_ENGINE" && name != "TINTYPE_ENGINE_LIB" {
			if err := os.Unsetenv(name); err != nil {
				panic(err)
			}
		}
	}
	os.Exit(devtest.Main(m))
}

// output is a buffer that goroutines may write to.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// result is how a command line went.
type result struct {
	code           int
	stdout, stderr string
}

// tintype runs a command line in this process.
func tintype(t *testing.T, stdin string, args ...string) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	return tintypeUntil(ctx, stdin, args...)
}

// tintypeUntil runs a command line until a context ends, as a signal ends it.
func tintypeUntil(ctx context.Context, stdin string, args ...string) result {
	var stdout, stderr output
	code := run(&env{ctx: ctx, stdin: strings.NewReader(stdin), stdout: &stdout, stderr: &stderr}, args)
	return result{code, stdout.String(), stderr.String()}
}

// want runs a command line that must end with a code and returns its output.
func want(t *testing.T, code int, args ...string) result {
	t.Helper()
	r := tintype(t, "", args...)
	if r.code != code {
		t.Fatalf("tintype %s: exit code %d, want %d\n%s%s", strings.Join(args, " "), r.code, code, r.stdout, r.stderr)
	}
	return r
}

// A place is a deployment of a test's own on the embedded servers.
type place struct{ kafka, clickhouse, blobs, name string }

// newPlace starts a broker and makes a database.
func newPlace(t *testing.T) place {
	t.Helper()
	name := "t" + strings.ReplaceAll(uuid.NewString(), "-", "")[:12]
	return place{devtest.Kafka(t).Addr(), devtest.Database(t, name), fileURL(t.TempDir()), name}
}

// open makes the topics and the tables.
func (p place) open(t *testing.T, partitions int) {
	t.Helper()
	d, err := deployment.Open(t.Context(), deployment.Options{
		Addresses: deployment.Addresses{Kafka: p.kafka, ClickHouse: p.clickhouse, Blobs: p.blobs}, Partitions: partitions, CreateTopics: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
}

// at adds the flags of all servers to a command line.
func (p place) at(args ...string) []string {
	return append(args, "--kafka", p.kafka, "--clickhouse", p.clickhouse, "--blobs", p.blobs)
}

// files writes files, by their paths below a new folder.
func files(t *testing.T, contents map[string][]byte) (dir string) {
	t.Helper()
	dir = t.TempDir()
	for name, data := range contents {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}
