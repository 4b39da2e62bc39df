package chaos

import (
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestSeeds: each line of the seeds that once failed is one that can be run again:
// seed, minutes, why. The first is short, for make chaos-seed runs it each time,
// and strikes in every way.
func TestSeeds(t *testing.T) {
	data, err := os.ReadFile("testdata/seeds.txt")
	if err != nil {
		t.Fatal(err)
	}
	for i, line := range strings.Split(strings.TrimSuffix(string(data), "\n"), "\n") {
		fields := strings.Fields(line)
		if len(fields) < 4 {
			t.Fatalf("line %d: %q is not seed, minutes, why", i+1, line)
		}
		seed, err := strconv.ParseUint(fields[0], 10, 64)
		if err != nil {
			t.Fatalf("line %d: %v", i+1, err)
		}
		minutes, err := strconv.ParseFloat(fields[1], 64)
		length := time.Duration(minutes * float64(time.Minute))
		if err != nil || length < MinLength {
			t.Fatalf("line %d: %q minutes, %v", i+1, fields[1], err)
		}
		if i > 0 {
			continue
		}
		if length > 2*time.Minute {
			t.Errorf("the first seed takes %v", length)
		}
		struck := map[Kind]bool{}
		for _, f := range Plan(seed, length, 3) {
			struck[f.Kind] = true
		}
		for _, kind := range Kinds() {
			if !struck[kind] {
				t.Errorf("the first seed has no %s", kind)
			}
		}
	}
}
