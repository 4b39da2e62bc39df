package verify

import (
	"fmt"
	"path"
	"strings"
	"time"
)

// A Pattern selects aggregates by their names, and of them all windows or those
// that start at one time.
type Pattern struct {
	// Glob is a name as package path matches it: * and ? stand for any characters.
	Glob string
	// Start is when the windows start; zero: any time.
	Start time.Time
}

// ParsePattern reads GLOB or GLOB@START, where START is a time as RFC 3339 has it.
func ParsePattern(text string) (Pattern, error) {
	glob, start, dated := strings.Cut(text, "@")
	if _, err := path.Match(glob, ""); err != nil || glob == "" {
		return Pattern{}, fmt.Errorf("verify: %q is no pattern of names of aggregates", glob)
	}
	p := Pattern{Glob: glob}
	if dated {
		at, err := time.Parse(time.RFC3339, start)
		if err != nil {
			return Pattern{}, fmt.Errorf("verify: %q is no time such as 2026-05-04T12:00:00Z", start)
		}
		p.Start = at
	}
	return p, nil
}

// selects tells whether an aggregate is selected, and which starts of its windows
// are; none is all.
func selects(patterns []Pattern, name string) (starts []int64, ok bool) {
	for _, p := range patterns {
		if matched, err := path.Match(p.Glob, name); err != nil || !matched {
			continue // ParsePattern has seen to the error.
		}
		if p.Start.IsZero() {
			return nil, true
		}
		starts, ok = append(starts, p.Start.UnixMilli()), true
	}
	return starts, ok || len(patterns) == 0
}

// A NoAggregateError is a selection that matches nothing.
type NoAggregateError struct {
	// Known are the names that there are.
	Known []string
}

func (e *NoAggregateError) Error() string {
	return "verify: no aggregate of the table windows is selected: there are " + strings.Join(e.Known, ", ")
}
