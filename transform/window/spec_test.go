package window

import (
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestParseSpec(t *testing.T) {
	for _, test := range []struct {
		text string
		want Spec
		name string
	}{
		{"tumbling:10000:2000", NewTumbling(10*time.Second, 2*time.Second), "tumbling-10s"},
		{"tumbling:1:0", NewTumbling(time.Millisecond, 0), "tumbling-1ms"},
		{"hopping:300000:60000:0", NewHopping(5*time.Minute, time.Minute, 0), "hopping-5m-1m"},
		{"hopping:3600000:5400:10", NewHopping(time.Hour, 5400*time.Millisecond, 10*time.Millisecond), "hopping-1h-5400ms"},
		{"hopping:10:10:0", NewHopping(10*time.Millisecond, 10*time.Millisecond, 0), "hopping-10ms-10ms"},
		{"hopping:100000:10:0", NewHopping(100*time.Second, 10*time.Millisecond, 0), "hopping-100s-10ms"},
		{"session:172800000:86400000", NewSession(48*time.Hour, 24*time.Hour), "session-2d"},
		{"session:90061000:0", NewSession(25*time.Hour+time.Minute+time.Second, 0), "session-90061s"},
	} {
		got, err := ParseSpec(test.text)
		if err != nil || got != test.want || got.String() != test.name {
			t.Errorf("%s: got %+v %s, want %+v %s: %v", test.text, got, got, test.want, test.name, err)
		}
	}
}

func TestSpecsThatAreImpossible(t *testing.T) {
	for text, part := range map[string]string{
		"":                             "want tumbling:SIZE:GRACE",
		"tumbling":                     "want tumbling:SIZE:GRACE",
		"tumbling:10":                  "want tumbling:SIZE:GRACE",
		"tumbling:10:0:0":              "want tumbling:SIZE:GRACE",
		"hopping:10:5":                 "hopping:SIZE:ADVANCE:GRACE",
		"session:10":                   "session:GAP:GRACE",
		"Tumbling:10:0":                "want tumbling:SIZE:GRACE",
		"sliding:10:0":                 "want tumbling:SIZE:GRACE",
		"tumbling:10s:0":               `"10s" is no number of ms`,
		"tumbling:10:":                 `"" is no number of ms`,
		"tumbling:1e3:0":               `"1e3" is no number of ms`,
		"tumbling:9223372036854775808": "want tumbling:SIZE:GRACE",
		"tumbling:0:0":                 "a size of 1 ms or more",
		"tumbling:-10:0":               "size -10 ms: want 0 to",
		"tumbling:10:-1":               "grace -1 ms: want 0 to",
		"tumbling:253402300800000:0":   "size 253402300800000 ms: want 0 to 253402300799999",
		"tumbling:10:253402300800000":  "grace 253402300800000 ms: want 0 to",
		"hopping:0:0:0":                "a hopping window has",
		"hopping:10:0:0":               "a hopping window has",
		"hopping:10:11:0":              "a hopping window has",
		"hopping:10:-1:0":              "advance -1 ms: want 0 to",
		"hopping:10001:1:0":            "more than 10000 windows",
		"hopping:100001:10:0":          "more than 10000 windows",
		"session:0:0":                  "a session has a gap",
		"session:-1:0":                 "gap -1 ms: want 0 to",
	} {
		if s, err := ParseSpec(text); err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("%q: got %+v, %v; want an error with %q", text, s, err, part)
		}
	}
}

// What ParseSpec cannot write, a program can.
func TestValidateRefusesFieldsOfOtherKinds(t *testing.T) {
	for _, s := range []Spec{
		{},
		{Kind: "sliding", SizeMS: 10},
		{Kind: Tumbling, SizeMS: 10},
		{Kind: Tumbling, SizeMS: 10, AdvanceMS: 5},
		{Kind: Tumbling, SizeMS: 10, AdvanceMS: 10, GapMS: 1},
		{Kind: Hopping, SizeMS: 10, AdvanceMS: 5, GapMS: 1},
		{Kind: Session, GapMS: 10, SizeMS: 10},
		{Kind: Session, GapMS: 10, AdvanceMS: 1},
	} {
		if err := s.Validate(); err == nil {
			t.Errorf("%+v is taken", s)
		}
	}
}

// No event is in more windows than a spec may have.
func TestAnEventIsNotInTooManyWindows(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		advance := int64(rapid.IntRange(1, 20).Draw(t, "advance"))
		spec := Spec{Kind: Hopping, SizeMS: advance*maxWindowsPerEvent + int64(rapid.IntRange(-30, 30).Draw(t, "rest")), AdvanceMS: advance}
		at := spec.SizeMS + int64(rapid.IntRange(0, 20).Draw(t, "t"))
		if n := len(spec.windows(nil, at)); spec.Validate() == nil && n > maxWindowsPerEvent {
			t.Fatalf("%+v: an event at %d is in %d windows", spec, at, n)
		}
	})
}

// Two specs of one name differ in their grace alone.
func TestNamesTellSpecsApart(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ms := rapid.SampledFrom([]int64{1, 10, 60, 1000, 1001, 10_000, 60_000, 61_000, 3_600_000, 86_400_000, 864_000_000})
		draw := func(label string) Spec {
			s := Spec{Kind: rapid.SampledFrom([]Kind{Tumbling, Hopping, Session}).Draw(t, label+" kind")}
			switch s.Kind {
			case Tumbling:
				s.SizeMS = ms.Draw(t, label+" size")
				s.AdvanceMS = s.SizeMS
			case Hopping:
				s.SizeMS, s.AdvanceMS = ms.Draw(t, label+" size"), ms.Draw(t, label+" advance")
			case Session:
				s.GapMS = ms.Draw(t, label+" gap")
			}
			return s
		}
		a, b := draw("a"), draw("b")
		if (a == b) != (a.String() == b.String()) {
			t.Fatalf("%+v is %s, %+v is %s", a, a, b, b)
		}
	})
}

func TestMeasures(t *testing.T) {
	m, err := ParseMeasures([]string{"count", "bytes_in", "latency_ms", "bytes_in"})
	if err != nil || m != BytesIn|LatencyMS {
		t.Errorf("got %b: %v", m, err)
	}
	if m, err = ParseMeasures(nil); err != nil || m != 0 {
		t.Errorf("nothing is %b: %v", m, err)
	}
	if m, err = ParseMeasures(measureNames); err != nil || m != AllMeasures() {
		t.Errorf("all are %b, want %b: %v", m, AllMeasures(), err)
	}
	for i, want := range map[int]Measures{0: BytesIn, 1: BytesOut, 2: Pixels, 3: BytesInMin, 4: BytesInMax, 5: Uploaders, 6: LatencyMS} {
		if m, err = ParseMeasures(measureNames[i : i+1]); err != nil || m != want {
			t.Errorf("%s is %b, want %b: %v", measureNames[i], m, want, err)
		}
	}
	if m, err = ParseMeasures([]string{"bytes_in", "bytes"}); err == nil || m != 0 || !strings.Contains(err.Error(), `no measure "bytes": want count, bytes_in, bytes_out`) {
		t.Errorf("bytes are %b: %v", m, err)
	}
}

func TestSets(t *testing.T) {
	ten, session := NewTumbling(10*time.Second, 0), NewSession(time.Minute, 0)
	set, err := NewSet([]Aggregate{
		{Spec: ten, Dimension: "uploader"}, {Spec: session, Dimension: "format"}, {Spec: session, Dimension: "uploader"},
	})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, a := range set.All() {
		names = append(names, a.Name())
	}
	if want := []string{"tumbling-10s-uploader", "session-1m-format", "session-1m-uploader"}; !slices.Equal(names, want) {
		t.Errorf("got %q, want %q", names, want)
	}
	if of := set.Of("uploader"); len(of) != 2 || of[0] != set.All()[0] || of[1] != set.All()[2] || len(set.Of("none")) != 0 {
		t.Errorf("uploader has %v, none has %v", of, set.Of("none"))
	}
	if got := set.Dimensions(); !slices.Equal(got, []string{"format", "uploader"}) {
		t.Errorf("the dimensions are %q", got)
	}

	other := ten
	other.GraceMS = 5
	if _, err := NewSet([]Aggregate{{Spec: ten, Dimension: "uploader"}, {Spec: other, Dimension: "uploader"}}); err == nil ||
		!strings.Contains(err.Error(), "tumbling-10s-uploader is declared twice") {
		t.Errorf("two of one name: %v", err)
	}
	if _, err := NewSet([]Aggregate{{Spec: Spec{Kind: Session}, Dimension: "uploader"}}); err == nil || !strings.Contains(err.Error(), "a session has a gap") {
		t.Errorf("no gap: %v", err)
	}
}
