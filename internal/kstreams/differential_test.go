package kstreams

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/tintype/tintype/transform/window"
)

// records is how many events a scenario has.
const records = 50_000

// seeds is how many seeds the engines are compared on: all of them where Kafka is
// required, a few among the other tests.
func seeds() uint64 {
	switch {
	case os.Getenv("TINTYPE_REQUIRE_KAFKA") == "1":
		return 20
	case testing.Short():
		return 1
	}
	return 2
}

// buildPeer builds the programs. Without Java or Maven the test is skipped; with
// TINTYPE_REQUIRE_KAFKA=1 it fails.
func buildPeer(t *testing.T) *Peer {
	t.Helper()
	p, err := Build(t.Context())
	if errors.Is(err, ErrMissing) && os.Getenv("TINTYPE_REQUIRE_KAFKA") != "1" {
		t.Skipf("SKIPPED, it needs Kafka Streams: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// startDifferential starts the program that does jobs; it ends with the test.
func startDifferential(t *testing.T) *Differential {
	t.Helper()
	// The test's own context ends before its cleanup.
	d, err := buildPeer(t).Differential(context.WithoutCancel(t.Context()), runtime.GOMAXPROCS(0))
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

// Final count, sum, min and max of each window, what is closed at the end, and
// which records are late for which windows, are those of Kafka Streams.
func TestWindowsAreThoseOfKafkaStreams(t *testing.T) {
	d := startDifferential(t)
	for seed := range seeds() {
		for _, kind := range kinds {
			t.Run(fmt.Sprintf("%s/%d", kind, seed), func(t *testing.T) {
				t.Parallel()
				a := newScenario(seed, kind, records).askKafka(t, d, t.TempDir())
				a.hold(t)
			})
		}
	}
}

// answered is a scenario with the answer of Kafka Streams.
type answered struct {
	scenario
	// input and output are the files of the last job.
	input, output string
	kafka         Result
	// left is how many records of sessions only Kafka Streams accepts. The events are
	// without them.
	left int
}

// askKafka runs a scenario on Kafka Streams. Of sessions, it runs it once more
// without the records that the two rules differ on.
func (s scenario) askKafka(t *testing.T, d *Differential, dir string) answered {
	t.Helper()
	a := answered{scenario: s}
	a.ask(t, d, dir, "all")
	if s.spec.Kind != window.Session {
		return a
	}
	a.events, a.left = SplitSessions(s.spec, s.events, a.kafka)
	a.ask(t, d, dir, "kept")
	if _, left := SplitSessions(s.spec, a.events, a.kafka); left != 0 {
		t.Fatalf("%s: without the %d records that only Kafka Streams accepted, it accepts %d others", s, a.left, left)
	}
	CloseSessions(s.spec, a.events, a.kafka)
	return a
}

func (a *answered) ask(t *testing.T, d *Differential, dir, name string) {
	t.Helper()
	base := filepath.Join(dir, fmt.Sprintf("%s-%d-%s", a.spec.Kind, a.seed, name))
	a.input, a.output = base+".events", base+".result"
	if err := WriteEvents(a.input, a.events); err != nil {
		t.Fatal(err)
	}
	if err := d.Do(t.Context(), Job{Spec: a.text, Input: a.input, Output: a.output}); err != nil {
		t.Fatal(err)
	}
	var err error
	if a.kafka, err = ReadResult(a.output); err != nil {
		t.Fatal(err)
	}
}

// hold holds our windows against those of Kafka Streams, each partition by itself
// and all at once.
func (a *answered) hold(t *testing.T) {
	t.Helper()
	ours, err := Ours(a.spec, a.events)
	if err != nil {
		t.Fatal(err)
	}
	report(t, a.scenario, "partition by partition", Compare(a.kafka, ours))
	together, err := OursTogether(a.spec, a.events)
	if err != nil {
		t.Fatal(err)
	}
	together.Closed = a.kafka.Closed // They close with the last partition.
	report(t, a.scenario, "all partitions at once", Compare(a.kafka, together))

	a.logFigures(t)
	if len(a.kafka.Late) == 0 || len(a.kafka.Closed) == 0 {
		t.Errorf("%s: %d late pairs, %d closed windows: the scenario shows nothing", a, len(a.kafka.Late), len(a.kafka.Closed))
	}
}

func report(t *testing.T, s scenario, how string, d Differences) {
	t.Helper()
	if d.Total > 0 {
		t.Errorf("%s, %s: %d differences, such as\n\t%s", s, how, d.Total, strings.Join(d.First, "\n\t"))
	}
}

// logFigures says what the scenario came to, and how often a record met the edge of
// lateness exactly, from either side.
func (a *answered) logFigures(t *testing.T) {
	t.Helper()
	counted := int64(0)
	for _, totals := range a.kafka.Windows {
		counted += totals.Count
	}
	in, out := a.edges()
	t.Logf("%s: %d records in %d windows, %d late pairs, %d records left out; on the edge: %d in, %d out; counted %d times",
		a, len(a.events), len(a.kafka.Windows), len(a.kafka.Late), a.left, in, out, counted)
}

// edges counts the late pairs that were late by nothing, and the records that would
// have been late one step of the grid further.
func (a *answered) edges() (in, out int) {
	grid := []int64{10, 1}[a.seed%2]
	times, next := map[int32]int64{}, map[int32]int64{}
	for _, e := range a.events {
		times[e.Partition] = max(times[e.Partition], e.TimeMS)
		st, offset := times[e.Partition], next[e.Partition]
		next[e.Partition]++
		if a.spec.Kind == window.Session {
			switch e.TimeMS {
			case st - a.spec.GraceMS - a.spec.GapMS:
				in++
			case st - a.spec.GraceMS - a.spec.GapMS - grid:
				out++
			}
			continue
		}
		end := st - a.spec.GraceMS
		pair := Late{Partition: e.Partition, Offset: offset, StartMS: end - a.spec.SizeMS, EndMS: end, Cause: causeLate}
		if a.kafka.Late[pair] {
			out++
		}
		end += grid
		if start := end - a.spec.SizeMS; start >= 0 && start%a.spec.AdvanceMS == 0 && start <= e.TimeMS && e.TimeMS < end {
			in++
		}
	}
	return in, out
}
