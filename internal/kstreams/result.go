package kstreams

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
)

// Window is what a window is known by. Sessions' bounds are both inclusive.
type Window struct {
	Partition      int32
	Key            string
	StartMS, EndMS int64
	// Again counts the windows before this one with the same bounds: there is none
	// unless one was closed too early.
	Again int
}

// Totals are what a window comes to.
type Totals struct{ Count, Sum, Min, Max int64 }

// Late is a record that one window does not count.
type Late struct {
	Partition int32
	// Offset is the number of the record in its partition, from 0.
	Offset int64
	// StartMS and EndMS are the window's; of a session, the record's own time.
	StartMS, EndMS int64
	// Cause is causeLate, whatever else an engine may have against a record.
	Cause string
}

// causeLate is the only cause that there should be.
const causeLate = "late"

// Result is what the events of a file come to, partition by partition.
type Result struct {
	// Windows holds the last update of each window.
	Windows map[Window]Totals
	// Closed are the windows that are closed at the end.
	Closed map[Window]Totals
	Late   map[Late]bool
}

func newResult() Result {
	return Result{Windows: map[Window]Totals{}, Closed: map[Window]Totals{}, Late: map[Late]bool{}}
}

// line is a line of a result file.
type line struct {
	P      int32  `json:"p"`
	K      string `json:"k"`
	T      int64  `json:"t"`
	Start  *int64 `json:"start"`
	End    *int64 `json:"end"`
	Count  int64  `json:"count"`
	Sum    int64  `json:"sum"`
	Min    int64  `json:"min"`
	Max    int64  `json:"max"`
	Closed bool   `json:"closed"`
	Late   *int64 `json:"late"`
}

// ReadResult reads what a program of Kafka Streams wrote. It closes no sessions:
// see CloseSessions.
func ReadResult(path string) (r Result, err error) {
	file, err := os.Open(path)
	if err != nil {
		return Result{}, fmt.Errorf("kstreams: read the result: %w", err)
	}
	defer func() { _ = file.Close() }() // It was only read.
	r = newResult()
	lines := bufio.NewScanner(file)
	for n := 1; lines.Scan(); n++ {
		var l line
		if err := json.Unmarshal(lines.Bytes(), &l); err != nil {
			return Result{}, fmt.Errorf("kstreams: read line %d of %s: %w", n, path, err)
		}
		if err := r.take(&l); err != nil {
			return Result{}, fmt.Errorf("kstreams: read line %d of %s: %w", n, path, err)
		}
	}
	if err := lines.Err(); err != nil {
		return Result{}, fmt.Errorf("kstreams: read %s: %w", path, err)
	}
	return r, nil
}

func (r Result) take(l *line) error {
	if l.Late != nil {
		late := Late{Partition: l.P, Offset: *l.Late, StartMS: l.T, EndMS: l.T, Cause: causeLate}
		if l.Start != nil && l.End != nil {
			late.StartMS, late.EndMS = *l.Start, *l.End
		}
		if r.Late[late] {
			return fmt.Errorf("a late pair occurs twice: %+v", late)
		}
		r.Late[late] = true
		return nil
	}
	if l.Start == nil || l.End == nil {
		return fmt.Errorf("a window of key %q has no bounds", l.K)
	}
	in := r.Windows
	if l.Closed {
		in = r.Closed
	}
	w := Window{Partition: l.P, Key: l.K, StartMS: *l.Start, EndMS: *l.End}
	if _, twice := in[w]; twice {
		return fmt.Errorf("a window occurs twice: %+v", w)
	}
	in[w] = Totals{Count: l.Count, Sum: l.Sum, Min: l.Min, Max: l.Max}
	return nil
}

// Differences are what two results do not have in common.
type Differences struct {
	Total int
	// First describes the first few.
	First []string
}

// shown is how many differences are described.
const shown = 5

// Compare finds the differences between Kafka Streams' result and ours.
func Compare(kafka, ours Result) Differences {
	var d Differences
	compare(&d, "window", kafka.Windows, ours.Windows)
	compare(&d, "closed window", kafka.Closed, ours.Closed)
	compare(&d, "late pair", kafka.Late, ours.Late)
	return d
}

func compare[K, V comparable](d *Differences, what string, kafka, ours map[K]V) {
	for key, want := range kafka {
		if got, ok := ours[key]; !ok {
			d.add("%s %+v: Kafka Streams has %+v, we have none", what, key, want)
		} else if got != want {
			d.add("%s %+v: Kafka Streams has %+v, we have %+v", what, key, want, got)
		}
	}
	for key, got := range ours {
		if _, ok := kafka[key]; !ok {
			d.add("%s %+v: Kafka Streams has none, we have %+v", what, key, got)
		}
	}
}

func (d *Differences) add(format string, values ...any) {
	d.Total++
	if len(d.First) < shown {
		d.First = append(d.First, fmt.Sprintf(format, values...))
	}
}
