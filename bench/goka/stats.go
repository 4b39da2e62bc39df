package gokabench

import (
	"slices"
	"syscall"
	"time"
)

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// median is the value in the middle, of two in the middle the greater.
func median(values []float64) float64 { return quantile(values, 0.5) }

// quantile is the value that a share p of all values does not exceed (nearest
// rank); 0 of none.
func quantile(values []float64, p float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	return sorted[min(int(p*float64(len(sorted))), len(sorted)-1)]
}

// cpuTime is the processor time that this process has used.
func cpuTime() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		panic("bench: getrusage: " + err.Error()) // It fails for wrong arguments alone.
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// turns is the order of a round's turns: the other way round every second time,
// so that none always follows the same.
func turns(round int, names ...string) []string {
	if round%2 == 1 {
		slices.Reverse(names)
	}
	return names
}
