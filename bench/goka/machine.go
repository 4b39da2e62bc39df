package gokabench

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"
)

// Machine is what a report was measured on.
type Machine struct {
	CPUs   int    `json:"cpus"`
	Go     string `json:"go"`
	System string `json:"system"`
	// Kafka is the version that the broker's protocol speaks for; the caller may
	// know better.
	Kafka string `json:"kafka"`
	// Load is the machine's load average when the run began, where it is known:
	// over 1, 5 and 15 minutes. Above 0 others were at work, too.
	Load string    `json:"load_average,omitempty"`
	Date time.Time `json:"date"`
}

func (b *bench) machine(ctx context.Context) (Machine, error) {
	m := Machine{CPUs: runtime.GOMAXPROCS(0), Go: runtime.Version(), System: runtime.GOOS + "/" + runtime.GOARCH, Date: time.Now().UTC().Truncate(time.Second)}
	if load, err := os.ReadFile("/proc/loadavg"); err == nil {
		m.Load = strings.Join(strings.Fields(string(load))[:3], " ")
	}
	versions, err := b.admin.ApiVersions(ctx)
	if err != nil {
		return m, fmt.Errorf("bench: ask the broker for its version: %w", err)
	}
	for _, v := range versions {
		if v.Err == nil {
			m.Kafka = "by its protocol: " + v.VersionGuess()
		}
	}
	return m, nil
}
