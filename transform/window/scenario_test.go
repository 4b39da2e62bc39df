package window

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite the expected output of the scenarios")

// TestScenarios runs the files of testdata, whose README.md describes them.
func TestScenarios(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("there are no scenarios: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := run(t, string(want))
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
					t.Fatal(err)
				}
				return
			}
			if got != string(want) {
				t.Errorf("%s differs (-update rewrites it):\n%s", file, difference(string(want), got))
			}
		})
	}
}

// difference shows the first lines that are not the same.
func difference(want, got string) string {
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	i := 0
	for i < min(len(w), len(g)) && w[i] == g[i] {
		i++
	}
	part := func(lines []string) string {
		return strings.Join(lines[min(max(i-3, 0), len(lines)):min(i+6, len(lines))], "\n")
	}
	return fmt.Sprintf("line %d: want\n%s\ngot\n%s", i+1, part(w), part(g))
}

// run runs a scenario and returns it with the output that it has.
func run(t *testing.T, text string) string {
	s := &scenario{t: t, home: map[string]int{}, partitions: 1}
	s.config = PartitionConfig{Sources: 1, Feeders: []Task{{"extract", 0}}, CadenceMS: MaxTimeMS, Limit: 1000}
	for i, line := range strings.Split(strings.TrimSuffix(text, "\n"), "\n") {
		if strings.HasPrefix(line, "    ") {
			continue // Output of before.
		}
		s.line = i + 1
		s.out.WriteString(line + "\n")
		if words := strings.Fields(line); len(words) > 0 && words[0] != "#" {
			s.do(words[0], words[1:])
		}
	}
	return s.out.String()
}

// A scenario is a file that is run.
type scenario struct {
	t    *testing.T
	line int
	out  bytes.Buffer

	config     PartitionConfig
	aggregates []Aggregate
	partitions int
	// home is the partition of each key that is not in the first one.
	home  map[string]int
	world *world
}

func (s *scenario) fail(format string, args ...any) {
	s.t.Helper()
	s.t.Fatalf("line %d: %s", s.line, fmt.Sprintf(format, args...))
}

func (s *scenario) print(format string, args ...any) {
	s.out.WriteString("    " + strings.TrimRight(fmt.Sprintf(format, args...), " ") + "\n")
}

func (s *scenario) do(command string, args []string) {
	if s.settings(command, args) {
		return
	}
	if s.world == nil {
		s.config.Set = s.set()
		s.world = newWorld(s.t, s.config, s.partitions)
		s.world.now = 1_000_000
	}
	before := s.watermarks()
	s.step(command, args)
	for i, w := range s.watermarks() {
		if w != before[i] {
			s.print("w%d watermark %s", i, showTime(w))
		}
	}
}

func (s *scenario) watermarks() (list []int64) {
	for _, n := range s.world.nodes {
		list = append(list, n.partition.Watermark())
	}
	return list
}

// settings does what stands before the first step.
func (s *scenario) settings(command string, args []string) bool {
	switch command {
	case "sources":
		s.config.Sources = int(s.number(args[0]))
	case "partitions":
		s.partitions = int(s.number(args[0]))
	case "feeders":
		s.config.Feeders = nil
		for _, name := range args {
			s.config.Feeders = append(s.config.Feeders, s.task(name))
		}
	case "key":
		s.home[args[0]] = s.index("w", args[2])
	case "cadence":
		s.config.CadenceMS = s.number(args[0])
	case "limit":
		s.config.Limit = int(s.number(args[0]))
	case "aggregate":
		if s.world != nil {
			return false
		}
		s.aggregate(args)
	default:
		return false
	}
	if s.world != nil {
		s.fail("%s stands before the first step", command)
	}
	return true
}

func (s *scenario) aggregate(args []string) {
	spec, err := ParseSpec(args[0])
	if err != nil {
		s.fail("%v", err)
	}
	m, err := ParseMeasures(args[1:])
	if err != nil {
		s.fail("%v", err)
	}
	s.aggregates = append(s.aggregates, Aggregate{Spec: spec, Dimension: "user", Measures: m})
}

func (s *scenario) set() *Set {
	set, err := NewSet(s.aggregates)
	if err != nil {
		s.fail("%v", err)
	}
	return set
}

func (s *scenario) number(text string) int64 {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		s.fail("%q is no number", text)
	}
	return n
}

// index reads the number of p1 or w1.
func (s *scenario) index(letter, text string) int {
	rest, ok := strings.CutPrefix(text, letter)
	if !ok {
		s.fail("want %s and a number, not %q", letter, text)
	}
	return int(s.number(rest))
}

func (s *scenario) task(text string) Task {
	stage, partition, _ := strings.Cut(text, "/")
	return Task{stage, int32(s.number(partition))}
}

// at reads "at 12".
func (s *scenario) at(args []string) int64 {
	if len(args) < 2 || args[0] != "at" {
		s.fail("want at TIME, not %q", strings.Join(args, " "))
	}
	return s.number(args[1])
}

// chosen are the partitions that a step is for: all where it names none.
func (s *scenario) chosen(args []string) (list []int) {
	for _, a := range args {
		list = append(list, s.index("w", a))
	}
	if len(list) == 0 {
		for i := range s.world.nodes {
			list = append(list, i)
		}
	}
	slices.Sort(list)
	return list
}
