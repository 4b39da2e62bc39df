package topologies

import (
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tintype/tintype/exactly"
)

func TestStreamTimeIsTheGreatestEventTimeSoFar(t *testing.T) {
	var s streamTimes
	if err := s.assign("uploads", []exactly.Claim{{Topic: "uploads", Partition: 0, Offset: -1}}); err != nil {
		t.Fatal(err)
	}
	steps := []struct {
		claimed                 *int64
		appended, event, stream int64
		why                     string
	}{
		{nil, 50, 50, 50, "without any stream time a record takes its append time"},
		{nil, 70, 70, 70, "and does not make it the stream time"},
		{new(int64(10)), 80, 10, 10, "the first event time is the stream time"},
		{new(int64(30)), 90, 30, 30, "a later one advances it"},
		{new(int64(20)), 95, 20, 30, "an earlier one does not"},
		{nil, 99, 30, 30, "a record without event time takes the stream time"},
		{new(int64(-5)), 99, -5, 30, "times before 1970 are times"},
	}
	for _, step := range steps {
		event, stream := s.advance(0, step.claimed, step.appended)
		if event != step.event || stream != step.stream {
			t.Errorf("%s: got %d, %d; want %d, %d", step.why, event, stream, step.event, step.stream)
		}
	}
}

// Wherever a run is cut and resumed from the committed metadata, the stamps are
// those of a run that was not cut.
func TestStreamTimeSurvivesInMetadata(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		times := rapid.SliceOfN(rapid.Int64Range(-1000, 1000), 1, 40).Draw(t, "times")
		silent := rapid.SliceOfN(rapid.Bool(), len(times), len(times)).Draw(t, "silent")
		cut := rapid.IntRange(0, len(times)).Draw(t, "cut")
		claim := exactly.Claim{Topic: "uploads", Partition: 2, Offset: -1}
		var whole, parts streamTimes
		for _, s := range []*streamTimes{&whole, &parts} {
			if err := s.assign("uploads", []exactly.Claim{claim}); err != nil {
				t.Fatal(err)
			}
		}
		for i, ms := range times {
			if i == cut {
				resumed := claim
				resumed.Offset, resumed.Metadata = int64(i), writeMetadata(streamTimeField, parts.text(2), "mark", "m")
				parts = streamTimes{}
				if err := parts.assign("uploads", []exactly.Claim{resumed}); err != nil {
					t.Fatal(err)
				}
			}
			claimed := new(ms)
			if silent[i] {
				claimed = nil
			}
			e1, s1 := whole.advance(2, claimed, int64(i))
			e2, s2 := parts.advance(2, claimed, int64(i))
			if e1 != e2 || s1 != s2 {
				t.Fatalf("record %d: whole %d, %d; cut %d, %d", i, e1, s1, e2, s2)
			}
		}
	})
}

func TestOffsetsWithoutStreamTimeAreRefused(t *testing.T) {
	for _, metadata := range []string{"", "tintype1 stream_time_ms=", "tintype1 stream_time_ms=x", "1700"} {
		var s streamTimes
		err := s.assign("uploads", []exactly.Claim{{Topic: "uploads", Partition: 1, Offset: 5, Metadata: metadata}})
		if err == nil || !exactly.IsPermanent(err) || !strings.Contains(err.Error(), "uploads/1") {
			t.Errorf("metadata %q: %v", metadata, err)
		}
	}
	var s streamTimes
	if err := s.assign("uploads", []exactly.Claim{{Topic: "tintype-extract-loop", Partition: 1, Offset: 5}}); err != nil {
		t.Errorf("the loop's offsets need no stream time: %v", err)
	}
}

func TestEventTimesAreJudgedByTheAppendTime(t *testing.T) {
	s := streamTimes{ahead: time.Minute}
	const appended = 1_000_000
	for _, c := range []struct {
		claimed, want int64
		why           string
	}{
		{appended, appended, "now"},
		{0, 0, "1970"},
		{-1, 0, "before 1970"},
		{appended + 60_000, appended + 60_000, "as far ahead as clocks may be"},
		{appended + 60_001, appended, "further ahead"},
		{1 << 62, appended, "the far future"},
		{-1 << 63, 0, "the far past"},
	} {
		if got := s.clamp(c.claimed, appended); got != c.want {
			t.Errorf("%s: %d became %d, want %d", c.why, c.claimed, got, c.want)
		}
	}
}
