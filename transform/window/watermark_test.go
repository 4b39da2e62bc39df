package window

import (
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// told is all that a task has told of the topic that it last told of.
type told struct {
	topic [16]byte
	// vectors are in order, of any length.
	vectors [][]int64
}

// time is the greatest time that was told of a source.
func (d told) time(source int) int64 {
	at := int64(Unknown)
	for _, v := range d.vectors {
		if source < len(v) {
			at = max(at, v[source])
		}
	}
	return at
}

// A Watermarks is all vectors that were heard, looked through from end to end. Times
// of a source are the least of what its feeders tell, once all of them tell of the
// topic.
func TestWatermarks(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const sources = 3
		tasks := []Task{{"extract", 0}, {"extract", 1}, {"transform", 0}}
		feeds := func(int) []Task { return tasks }
		if rapid.Bool().Draw(t, "each task feeds one source") {
			feeds = func(source int) []Task { return tasks[source : source+1] }
		}
		w := NewWatermarks(sources, feeds)
		heard, committed := map[Task]told{}, map[Task]told{}
		t.Repeat(map[string]func(*rapid.T){
			"Hear": func(t *rapid.T) {
				task := rapid.SampledFrom(tasks).Draw(t, "task")
				s := Sources{TopicID: [16]byte{rapid.SampledFrom([]byte("AAAB")).Draw(t, "topic")}}
				s.TimesMS = rapid.SliceOfN(rapid.SampledFrom([]int64{Unknown, 0, 10, 20, 30}), 0, sources+1).Draw(t, "times")
				d := heard[task]
				if d.topic != s.TopicID {
					d = told{topic: s.TopicID}
				}
				d.vectors = append(slices.Clone(d.vectors), slices.Clone(s.TimesMS))
				heard[task] = d
				w.Hear(task, s)
				clear(s.TimesMS) // It is the caller's again.
			},
			"Commit": func(*rapid.T) {
				w.Commit()
				committed = maps.Clone(heard)
			},
			"Rollback": func(*rapid.T) {
				w.Rollback()
				heard = maps.Clone(committed)
			},
			"": func(t *rapid.T) {
				got, ok := w.Vector()
				if ok != (len(heard) > 0) {
					t.Fatalf("%d tasks were heard: %v", len(heard), ok)
				}
				if !ok {
					return
				}
				want := Sources{TopicID: got.TopicID, TimesMS: slices.Repeat([]int64{Unknown}, sources)}
				of := false
				for source := range sources {
					var times []int64
					for _, task := range feeds(source) {
						if d, known := heard[task]; known && d.topic == got.TopicID {
							times, of = append(times, d.time(source)), true
						} else {
							times = append(times, Unknown)
						}
					}
					want.TimesMS[source] = slices.Min(times)
				}
				if !of {
					t.Fatalf("nobody told of topic %q", got.TopicID)
				}
				if !got.Equal(want) || got.Least() != slices.Min(want.TimesMS) {
					t.Fatalf("got %v, want %v", got, want)
				}
			},
		})
	})
}

func TestNothingIsKnownOfNoSources(t *testing.T) {
	if got := (Sources{}).Least(); got != Unknown {
		t.Errorf("the watermark of no sources is %d", got)
	}
	if s, ok := NewWatermarks(2, func(int) []Task { return nil }).Vector(); ok {
		t.Errorf("nobody told %v", s)
	}
}
