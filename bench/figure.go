package bench

import (
	"cmp"
	"slices"
	"syscall"
	"time"
)

// A Figure is how fast some photos went.
type Figure struct {
	Photos          int     `json:"photos"`
	ElapsedS        float64 `json:"elapsed_s"`
	PhotosPerSecond float64 `json:"photos_per_second"`
	// CPUMSPerPhoto is processor time of this process, user and system, in
	// milliseconds a photo.
	CPUMSPerPhoto float64 `json:"cpu_ms_per_photo"`
}

func figure(photos int, elapsed, cpu time.Duration) Figure {
	return Figure{
		Photos: photos, ElapsedS: elapsed.Seconds(), PhotosPerSecond: float64(photos) / elapsed.Seconds(),
		CPUMSPerPhoto: milliseconds(cpu) / float64(photos),
	}
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// cpuTime is the processor time that this process has used.
func cpuTime() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		panic("bench: getrusage: " + err.Error()) // It fails for wrong arguments alone.
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// median is the figure of the round in the middle, by speed; of two in the
// middle the slower one.
func median(figures []Figure) Figure {
	sorted := slices.SortedFunc(slices.Values(figures), func(a, b Figure) int {
		return cmp.Compare(a.PhotosPerSecond, b.PhotosPerSecond)
	})
	return sorted[(len(sorted)-1)/2]
}
