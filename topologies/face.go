package topologies

import (
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/tintype/tintype/event/eventpb"
	"github.com/tintype/tintype/transform/window"
)

// WindowsStatus is what a process knows of the windows of the partitions that it
// holds.
type WindowsStatus struct {
	Aggregates []AggregateStatus        `json:"aggregates"`
	Partitions []WindowsPartitionStatus `json:"partitions"`
	// Partial says that there were too many keys to count all open windows.
	Partial bool `json:"partial"`
}

// AggregateStatus is one aggregate. Late counts the uploads that its windows did not
// count, by cause, since the process began.
type AggregateStatus struct {
	Name        string           `json:"aggregate"`
	GraceMS     int64            `json:"grace_ms"`
	OpenWindows int64            `json:"open_windows"`
	Keys        int64            `json:"keys"`
	Late        map[string]int64 `json:"late"`
}

// WindowsPartitionStatus is one partition of windows. The watermark is the least
// stream time of its sources, absent as long as one of them is not known.
type WindowsPartitionStatus struct {
	Partition   int32          `json:"partition"`
	WatermarkMS *int64         `json:"watermark_ms"`
	Sources     []SourceStatus `json:"sources"`
}

// SourceStatus is how far a partition of uploads has been passed on to a partition of
// windows; absent as long as not every task on the way has told.
type SourceStatus struct {
	Partition    int    `json:"partition"`
	StreamTimeMS *int64 `json:"stream_time_ms"`
}

// OpenWindow is an open window as of the last commit.
type OpenWindow struct {
	Aggregate string `json:"aggregate"`
	Dimension string `json:"dimension"`
	Key       string `json:"key"`
	StartMS   int64  `json:"window_start_ms"`
	EndMS     int64  `json:"window_end_ms"`
	Count     int64  `json:"count"`
	BytesIn   *int64 `json:"bytes_in,omitempty"`
	BytesOut  *int64 `json:"bytes_out,omitempty"`
	Pixels    *int64 `json:"pixels,omitempty"`
	Uploaders *int64 `json:"uploaders,omitempty"`
}

// maxWalk bounds how many keys a request looks at.
const maxWalk = 100_000

// Pages are the HTTP pages of the stages that this runner runs, by pattern.
func (r *Runner) Pages() map[string]http.Handler {
	return map[string]http.Handler{
		"GET /windows":      http.HandlerFunc(r.windowsPage),
		"GET /windows/open": http.HandlerFunc(r.openPage),
	}
}

var errNoWindows = errors.New("this process does not run stage windows, or it has not begun yet")

func (r *Runner) windowsPage(w http.ResponseWriter, _ *http.Request) {
	s := r.windows.Load()
	if s == nil {
		http.Error(w, errNoWindows.Error(), http.StatusNotFound)
		return
	}
	answerJSON(w, s.report())
}

func (r *Runner) openPage(w http.ResponseWriter, request *http.Request) {
	s := r.windows.Load()
	if s == nil {
		http.Error(w, errNoWindows.Error(), http.StatusNotFound)
		return
	}
	limit, err := strconv.Atoi(request.URL.Query().Get("limit"))
	if err != nil || limit <= 0 || limit > maxWalk {
		http.Error(w, "limit: want 1 to "+strconv.Itoa(maxWalk), http.StatusBadRequest)
		return
	}
	answerJSON(w, s.openWindows(request.URL.Query().Get("prefix"), limit))
}

// answerJSON answers with a value; a caller that hung up has lost nothing.
func answerJSON(w http.ResponseWriter, value any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(value)
}

// report gathers the status.
func (s *windowsStage) report() WindowsStatus {
	var status WindowsStatus
	byName := map[string]*AggregateStatus{}
	for _, a := range s.Windows.All() {
		byName[a.Name()] = &AggregateStatus{Name: a.Name(), GraceMS: a.GraceMS, Late: s.lateness(a.Name())}
	}
	walked := 0
	held := s.held()
	for _, partition := range slices.Sorted(maps.Keys(held)) {
		p := held[partition]
		p.mu.Lock()
		watermark := p.Watermark()
		sources, known := p.Sources()
		p.mu.Unlock()
		if !known {
			sources.TimesMS = unknownTimes(s.stageBase.partitions)
		}
		one := WindowsPartitionStatus{Partition: partition, WatermarkMS: knownTime(watermark)}
		for i, at := range sources.TimesMS {
			one.Sources = append(one.Sources, SourceStatus{Partition: i, StreamTimeMS: knownTime(at)})
		}
		status.Partitions = append(status.Partitions, one)
		s.walk(partition, "", func(_ string, k *window.Key) bool {
			counted := map[string]bool{}
			for _, open := range k.Open() {
				a := byName[open.Aggregate.Name()]
				a.OpenWindows++
				if !counted[a.Name] {
					counted[a.Name] = true
					a.Keys++
				}
			}
			walked++
			return walked < maxWalk
		})
	}
	status.Partial = walked >= maxWalk
	for _, a := range s.Windows.All() {
		status.Aggregates = append(status.Aggregates, *byName[a.Name()])
	}
	return status
}

func knownTime(at int64) *int64 {
	if at == window.Unknown {
		return nil
	}
	return &at
}

// walk calls f with the keys of a partition that begin with a prefix. A partition
// that is taken away meanwhile ends the walk early: it is another process's to tell.
func (s *windowsStage) walk(partition int32, prefix string, f func(key string, k *window.Key) bool) {
	_ = s.status.EachKey(partition, prefix, func(key string, value []byte) bool {
		if !strings.HasPrefix(key, prefix) {
			return false
		}
		k, err := window.DecodeKey(value, s.Windows)
		return err != nil || f(key, k)
	})
}

// openWindows lists open windows of the keys that begin with a prefix.
func (s *windowsStage) openWindows(prefix string, limit int) []OpenWindow {
	list := []OpenWindow{}
	for _, partition := range slices.Sorted(maps.Keys(s.held())) {
		s.walk(partition, prefix, func(key string, k *window.Key) bool {
			_, value := splitMeasureKey(key)
			for _, open := range k.Open() {
				var m eventpb.WindowResult
				measured(&m, open.Totals)
				list = append(list, OpenWindow{
					Aggregate: open.Aggregate.Name(), Dimension: open.Aggregate.Dimension, Key: value, StartMS: open.StartMS, EndMS: open.EndMS,
					Count: m.Count, BytesIn: m.BytesIn, BytesOut: m.BytesOut, Pixels: m.Pixels, Uploaders: m.Uploaders,
				})
			}
			return len(list) < limit
		})
	}
	return list[:min(limit, len(list))]
}

// lateness counts the late uploads of an aggregate, by cause.
func (s *windowsStage) lateness(aggregate string) map[string]int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	counts := map[string]int64{}
	for of, n := range s.lates {
		if of[0] == aggregate {
			counts[of[1]] = n
		}
	}
	return counts
}

// countLate counts a late upload once it is committed.
func (s *windowsStage) countLate(aggregate string, cause window.Cause) {
	s.tally.late(aggregate, string(cause))
	s.tally.add(func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.lates[[2]string{aggregate, string(cause)}]++
	})
}
