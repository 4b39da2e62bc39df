package e2e

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tintype/tintype/event"
	"github.com/tintype/tintype/internal/chaos/windowcount"
	"github.com/tintype/tintype/internal/deployment"
)

// fromEnv is a number that the environment may set for a longer run.
func fromEnv(t *testing.T, name string, otherwise int) int {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	if err != nil || n <= 0 {
		t.Fatalf("%s=%q is no number", name, text)
	}
	return n
}

// openAt opens the deployment of processes on the servers of tintype dev.
func openAt(t *testing.T, a addresses) *deployment.Deployment {
	t.Helper()
	d, err := deployment.Open(t.Context(), deployment.Options{
		Addresses: deployment.Addresses{Kafka: a.Kafka, ClickHouse: a.ClickHouse, Blobs: a.Blobs}, Name: event.DefaultDeployment, CreateTopics: true, Log: logger(t),
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

// workers start processes that run stages with the aggregates of the tests.
type workers struct {
	t    *testing.T
	a    addresses
	file string
	dir  string
}

func newWorkers(t *testing.T, a addresses) *workers {
	t.Helper()
	w := &workers{t: t, a: a, dir: t.TempDir()}
	w.file = filepath.Join(w.dir, "aggregates.yaml")
	if err := os.WriteFile(w.file, []byte(aggregatesFile), 0o600); err != nil {
		t.Fatal(err)
	}
	return w
}

// start starts the process of a name, which keeps its state.
func (w *workers) start(name string, flags ...string) *exec.Cmd {
	w.t.Helper()
	cmd := tintype(w.t, append(w.a.flags("run", "--http-listen", "127.0.0.1:0", "--state-dir", filepath.Join(w.dir, name), "--sizes", "64:fit",
		"--aggregates", w.file, "--early-cadence", "200ms", "--tick-after", "1s", "--tick-allowance", "1s"), flags...)...)
	if err := cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	return cmd
}

// prove has a command of the deployment find nothing wrong.
func prove(t *testing.T, a addresses, command string, flags ...string) {
	t.Helper()
	if out, err := tintype(t, append([]string{command, "--kafka", a.Kafka, "--clickhouse", a.ClickHouse, "--wait-timeout", "1m"}, flags...)...).Output(); err != nil {
		t.Errorf("tintype %s: %v\n%s", command, err, out)
	}
}

// Kills of two processes that share the work, while uploads come in order: nothing
// is late. Then more of them while uploads come out of order. The windows are those of
// a run that nothing disturbs, and so are the late uploads.
func TestKillsChangeNoWindow(t *testing.T) {
	t.Parallel()
	if os.Getenv("TINTYPE_TEST_KAFKA") != "" {
		t.Skip("the stack of tintype dev has its own Kafka; make chaos kills on the real broker")
	}
	kills := fromEnv(t, "TINTYPE_TEST_KILLS", 20)
	a, _ := dev(t, t.TempDir())
	d := openAt(t, a)
	w := newWorkers(t, a)
	running := []*exec.Cmd{w.start("0"), w.start("1")}
	f := newFeed(t, d, 4)
	streamWithKills := func(kills int, eventTime func(int64) int64) *windowcount.Count {
		t.Helper()
		f.stream(2*time.Second, 20*time.Millisecond, eventTime)
		for i := range kills {
			// Each time somewhere else in a transaction.
			f.stream(600*time.Millisecond+time.Duration(f.random.IntN(500))*time.Millisecond, 20*time.Millisecond, eventTime)
			kill(t, running[i%2])
			running[i%2] = w.start(fmt.Sprint(i % 2))
		}
		f.stream(time.Second, 20*time.Millisecond, eventTime)
		return checkWindows(t, d)
	}
	if c := streamWithKills(kills, inOrder); len(c.Late) > 0 {
		t.Errorf("%d uploads are late, which came in order", len(c.Late))
	}
	c := streamWithKills((kills+3)/4, f.outOfOrder)
	if len(c.Late) == 0 {
		t.Error("nothing is late, which came out of order")
	}
	prove(t, a, "audit", "--strict")
	prove(t, a, "verify")
	for _, cmd := range running {
		end(t, cmd)
	}

	undisturbed := openOn(t, a.Kafka, d.Topics.Uploads.Name, 0)
	run(t, undisturbed, quick(t))
	awaitClosed(t, undisturbed, c)
	compare(t, "the windows of a run with kills", finals(t, d), finals(t, undisturbed))
	if late := lateRows(t, undisturbed, "late"); !maps.Equal(late, lateRows(t, d, "late")) {
		t.Errorf("%d uploads are late in a run without kills", len(late))
	}
	t.Logf("%d kills, %d uploads, %d windows, %d late", kills+(kills+3)/4, c.Uploads, len(c.Windows), len(c.Late))
}

// A file of aggregates that cannot be used is told with what is wrong and where, before
// anything is started.
func TestAggregatesThatCannotBe(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		text string
		says []string
	}{
		"two mistakes":        {"aggregates:\n  - {kind: tumbling, size: 0s, dimensions: [all]}\n  - {kind: session, gap: 1s, dimensions: [shoe_size]}\n", []string{"line 2", "size", "line 3", `"shoe_size"`}},
		"an unknown field":    {"aggregates:\n  - {kind: tumbling, sizes: 2s, dimensions: [all]}\n", []string{"sizes"}},
		"the same name twice": {"aggregates:\n  - {kind: tumbling, size: 60s, dimensions: [all, all]}\n", []string{"tumbling-1m-all", "twice"}},
		"nothing":             {"", []string{"aggregates"}},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "aggregates.yaml")
			if err := os.WriteFile(file, []byte(c.text), 0o600); err != nil {
				t.Fatal(err)
			}
			var message strings.Builder
			cmd := tintype(t, "run", "--kafka", "127.0.0.1:1", "--aggregates", file)
			cmd.Stderr = &message
			if err := cmd.Run(); err == nil || cmd.ProcessState.ExitCode() != 2 {
				t.Errorf("tintype run ended with %v", err)
			}
			for _, text := range append(c.says, file) {
				if !strings.Contains(message.String(), text) {
					t.Errorf("it does not say %q: %s", text, message.String())
				}
			}
		})
	}
}
