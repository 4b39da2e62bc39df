package main

import (
	"context"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
)

// shownAggregate is what a demo shows of the windows.
const shownAggregate = "tumbling-10s-all"

// windowCount is one window of shownAggregate as it stands.
type windowCount struct {
	Start     time.Time `json:"window_start"`
	Count     uint64    `json:"count"`
	Uploaders uint64    `json:"uploaders"`
	P95MS     float64   `json:"latency_ms_p95"`
	Final     bool      `json:"final"`
}

// windowsPatience is how long a demo waits for early results, which follow the fates at
// their cadence.
const windowsPatience = 5 * time.Second

// readWindows reads the last windows that were emitted since a time, once they hold so
// many uploads or patience is over.
func readWindows(ctx context.Context, conn driver.Conn, since time.Time, uploads uint64) ([]windowCount, error) {
	ctx, cancel := context.WithTimeout(ctx, windowsPatience)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		list, held, err := selectWindows(context.WithoutCancel(ctx), conn, since)
		if err != nil || held >= uploads {
			return list, err
		}
		select {
		case <-ctx.Done():
			return list, nil
		case <-tick.C:
		}
	}
}

// selectWindows reads the last windows, and how many uploads all of them hold.
func selectWindows(ctx context.Context, conn driver.Conn, since time.Time) (list []windowCount, held uint64, err error) {
	rows, err := conn.Query(ctx, "SELECT window_start, count, ifNull(uploaders, 0), ifNull(latency_ms_p95, 0), final FROM windows_latest "+
		"WHERE aggregate = ? AND emitted_at >= ? ORDER BY window_start DESC", shownAggregate, since.UTC().Truncate(time.Millisecond))
	if err != nil {
		return nil, 0, fmt.Errorf("summary: read windows: %w", err)
	}
	defer func() { _ = rows.Close() }() // rows.Err has the error that matters.
	for rows.Next() {
		var w windowCount
		if err := rows.Scan(&w.Start, &w.Count, &w.Uploaders, &w.P95MS, &w.Final); err != nil {
			return nil, 0, fmt.Errorf("summary: read window: %w", err)
		}
		held += w.Count
		if len(list) < 3 {
			list = append(list, w)
		}
	}
	return list, held, rows.Err()
}

// printWindows prints windows for a person.
func printWindows(t *tabwriter.Writer, list []windowCount) {
	if len(list) == 0 {
		return
	}
	_, _ = fmt.Fprintln(t, "What the windows say ("+shownAggregate+", newest first)") // The caller's flush returns the error.
	for _, w := range list {
		state := "early: still open"
		if w.Final {
			state = "final"
		}
		_, _ = fmt.Fprintf(t, "  %s\t%d uploads, %d uploaders, p95 %.0f ms of work (%s)\n", w.Start.UTC().Format(time.TimeOnly), w.Count, w.Uploaders, w.P95MS, state)
	}
}
