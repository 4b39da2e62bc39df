package topologies

import (
	"strings"
	"testing"

	"github.com/tintype/tintype/transform/window"
)

func TestAggregatesAreRead(t *testing.T) {
	set, err := ReadAggregates(strings.NewReader(`
aggregates:
  - kind: tumbling
    size: 10s
    dimensions: [all, cell]
  - {kind: hopping, size: 5m, advance: 1m, grace: 0s, dimensions: [format]}
  - kind: session
    gap: 1500ms
    grace: 1h
    dimensions: [uploader]
    measures: [count, bytes_in, uploaders]
`))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, a := range set.All() {
		names = append(names, a.Name())
	}
	if got := strings.Join(names, " "); got != "tumbling-10s-all tumbling-10s-cell hopping-5m-1m-format session-1500ms-uploader" {
		t.Errorf("aggregates %s", got)
	}
	if a := set.Of("cell")[0]; a.GraceMS != DefaultGrace.Milliseconds() || a.Measures != window.AllMeasures() {
		t.Errorf("without a grace it is %d ms, without measures they are %b", a.GraceMS, a.Measures)
	}
	if a := set.Of("format")[0]; a.GraceMS != 0 {
		t.Errorf("a grace of nothing is %d ms", a.GraceMS)
	}
	if a := set.Of("uploader")[0]; a.Measures != window.BytesIn|window.Uploaders {
		t.Errorf("measures %b", a.Measures)
	}
}

func TestAggregatesThatCannotBe(t *testing.T) {
	for text, want := range map[string]string{
		"":               "empty",
		"aggregates: []": "at least one entry",
		"windows: []":    "windows not found",
		"aggregates: [{kind: sliding, size: 1s, dimensions: [all]}]":                                                                    `no kind "sliding"`,
		"aggregates: [{kind: tumbling, dimensions: [all]}]":                                                                             "size of 1 ms or more",
		"aggregates: [{kind: tumbling, size: 10s}]":                                                                                     "dimensions is empty",
		"aggregates: [{kind: tumbling, size: 10s, dimensions: [colour]}]":                                                               `no dimension "colour"`,
		"aggregates: [{kind: tumbling, size: 10s, dimensions: [all], measures: [weight]}]":                                              `no measure "weight"`,
		"aggregates: [{kind: tumbling, size: ten, dimensions: [all]}]":                                                                  "ten",
		"aggregates: [{kind: tumbling, size: 10s, gap: 1s, dimensions: [all]}]":                                                         "no gap",
		"aggregates: [{kind: hopping, size: 1m, advance: 2m, dimensions: [all]}]":                                                       "advance of 1 ms to its size",
		"aggregates: [{kind: hopping, size: 24h, advance: 1ms, dimensions: [all]}]":                                                     "more than 10000 windows",
		"aggregates: [{kind: session, size: 1m, dimensions: [all]}]":                                                                    "a session has a gap",
		"aggregates: [{kind: tumbling, size: 100us, dimensions: [all]}]":                                                                "whole milliseconds",
		"aggregates: [{kind: tumbling, size: 10s, grace: -1s, dimensions: [all]}]":                                                      "grace -1000 ms",
		"aggregates: [{kind: tumbling, size: 10s, dimensions: [all]}, {kind: tumbling, size: 10s, grace: 1s, dimensions: [all]}]":       "declared twice",
		"aggregates:\n  - {kind: tumbling, size: 10s, dimensions: [all]}\n  - {kind: tumbling, size: 10s, sise: 1s, dimensions: [all]}": "line 3: ",
	} {
		if set, err := ReadAggregates(strings.NewReader(text)); err == nil {
			t.Errorf("%q was read as %d aggregates", text, len(set.All()))
		} else if !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want it to say %q", text, err, want)
		}
	}
}

func TestDefaultAggregatesAreASet(t *testing.T) {
	set, err := window.NewSet(DefaultAggregates())
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"tumbling-10s-all", "tumbling-1m-uploader", "hopping-5m-1m-all", "session-5m-uploader"} {
		found := false
		for _, a := range set.All() {
			found = found || a.Name() == name
		}
		if !found {
			t.Errorf("%s is not among the defaults", name)
		}
	}
}
