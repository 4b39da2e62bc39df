package kstreams

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/tintype/tintype/transform/window"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// What is cached needs no Maven; what is cached and whose jars are gone does.
func TestBuildNeedsMavenOnce(t *testing.T) {
	buildPeer(t) // The jars are there.
	cache := t.TempDir()
	built, err := build(t.Context(), cache)
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", t.TempDir())
	again, err := build(t.Context(), cache)
	if err != nil || again.classpath != built.classpath {
		t.Fatalf("built twice: %v, %v", again, err)
	}
	lists, err := filepath.Glob(filepath.Join(cache, "*", "classpath"))
	if err != nil || len(lists) != 1 {
		t.Fatalf("in the cache: %q, %v", lists, err)
	}
	if err := os.WriteFile(lists[0], []byte(filepath.Join(cache, "gone.jar")), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := build(t.Context(), cache); !errors.Is(err, ErrMissing) {
		t.Errorf("without jars and Maven: %v", err)
	}
	if _, err := Build(t.Context()); !errors.Is(err, ErrMissing) {
		t.Errorf("without Java: %v", err)
	}
}

// A job that cannot be done ends the program, and whoever waits hears why.
func TestJobThatFailsSaysWhy(t *testing.T) {
	d, err := buildPeer(t).Differential(context.WithoutCancel(t.Context()), 1)
	if err != nil {
		t.Fatal(err)
	}
	err = d.Do(t.Context(), Job{Spec: "tumbling:x:0", Input: "none", Output: "none"})
	if err == nil || !strings.Contains(err.Error(), "lengths are whole milliseconds") {
		t.Errorf("the job: %v", err)
	}
	if err := d.Close(); err == nil {
		t.Error("the program ended well")
	}
	if err := d.Do(t.Context(), Job{Spec: "tumbling:10:0"}); err == nil {
		t.Error("a program that has ended took a job")
	}
}

func TestCompareFindsEachKindOfDifference(t *testing.T) {
	w, late := Window{Key: "a", EndMS: 10}, Late{Offset: 1, EndMS: 10, Cause: causeLate}
	kafka := newResult()
	kafka.Windows[w], kafka.Closed[w], kafka.Late[late] = Totals{Count: 1}, Totals{Count: 1}, true
	if d := Compare(kafka, kafka); d.Total != 0 {
		t.Errorf("the same differs: %+v", d)
	}
	for name, change := range map[string]func(r Result){
		"other totals":        func(r Result) { r.Windows[w] = Totals{Count: 2} },
		"a window less":       func(r Result) { delete(r.Windows, w) },
		"a window more":       func(r Result) { r.Windows[Window{Key: "b"}] = Totals{} },
		"a window twice":      func(r Result) { r.Windows[Window{Key: "a", EndMS: 10, Again: 1}] = Totals{} },
		"a window not closed": func(r Result) { delete(r.Closed, w) },
		"a late pair less":    func(r Result) { delete(r.Late, late) },
		"a late pair more":    func(r Result) { r.Late[Late{Offset: 2}] = true },
	} {
		ours := newResult()
		ours.Windows[w], ours.Closed[w], ours.Late[late] = Totals{Count: 1}, Totals{Count: 1}, true
		change(ours)
		if d := Compare(kafka, ours); d.Total != 1 || len(d.First) != 1 {
			t.Errorf("%s: %+v", name, d)
		}
	}
}

// Of records that are too old by themselves, those that Kafka Streams accepted are
// left out; one that is exactly old enough is not.
func TestSplitSessions(t *testing.T) {
	spec := window.Spec{Kind: window.Session, GapMS: 10, GraceMS: 5}
	events := []Event{
		{TimeMS: 100, Value: 0},
		{TimeMS: 85, Value: 1},
		{TimeMS: 84, Value: 2},
		{TimeMS: 84, Value: 3},
		{Partition: 1, TimeMS: 84, Value: 4}, // The first of its partition.
	}
	kafka := newResult()
	kafka.Late[Late{Offset: 3, StartMS: 84, EndMS: 84, Cause: causeLate}] = true
	kept, left := SplitSessions(spec, events, kafka)
	if left != 1 || !slices.Equal(kept, slices.Delete(slices.Clone(events), 2, 3)) {
		t.Errorf("left out %d, kept %+v", left, kept)
	}
}

func TestCloseSessions(t *testing.T) {
	spec := window.Spec{Kind: window.Session, GapMS: 10, GraceMS: 5}
	kafka := newResult()
	for _, end := range []int64{74, 75} {
		kafka.Windows[Window{StartMS: end, EndMS: end}] = Totals{Count: 1}
	}
	CloseSessions(spec, []Event{{TimeMS: 100}, {Partition: 1, TimeMS: 1000}}, kafka)
	if _, closed := kafka.Closed[Window{StartMS: 74, EndMS: 74}]; !closed || len(kafka.Closed) != 1 {
		t.Errorf("closed: %+v", kafka.Closed)
	}
}
