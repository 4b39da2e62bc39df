package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/google/uuid"
)

// A summary is what came out of a demo, read back from ClickHouse.
type summary struct {
	Uploads         uint64            `json:"uploads"`
	Outcomes        map[string]uint64 `json:"outcomes"`
	DeadReasons     map[string]uint64 `json:"dead_reasons"`
	Renditions      uint64            `json:"renditions"`
	UploadBytes     uint64            `json:"upload_bytes"`
	RenditionBytes  uint64            `json:"rendition_bytes"`
	SavedBytes      uint64            `json:"duplicate_bytes_saved"`
	Cameras         []cameraCount     `json:"cameras"`
	ElapsedS        float64           `json:"elapsed_s"`
	PhotosPerSecond float64           `json:"photos_per_second"`
	LatencyP50MS    float64           `json:"queryable_p50_ms"`
	LatencyP99MS    float64           `json:"queryable_p99_ms"`
	Windows         []windowCount     `json:"windows"`
	Missing         int               `json:"missing"`
	Addresses       demoAddresses     `json:"addresses"`
}

type cameraCount struct {
	Make   string `json:"make"`
	Model  string `json:"model"`
	Photos uint64 `json:"photos"`
}

// demoAddresses is where a running demo can be looked at.
type demoAddresses struct {
	Kafka          string `json:"kafka"`
	ClickHouse     string `json:"clickhouse"`
	ClickHouseHTTP string `json:"clickhouse_http,omitempty"`
	Blobs          string `json:"blobs"`
	Metrics        string `json:"metrics"`
}

// readSummary counts what the uploads of one topic came to since a time.
func readSummary(ctx context.Context, conn driver.Conn, uploads uuid.UUID, since time.Time) (*summary, error) {
	s := &summary{Outcomes: map[string]uint64{}, DeadReasons: map[string]uint64{}}
	const these = " src_topic_id = ? AND append_time >= ? "
	from := since.UTC().Truncate(time.Millisecond)
	totals := conn.QueryRow(ctx, "SELECT count(), sum(ifNull(bytes, 0)), sumIf(ifNull(bytes, 0), outcome = 'duplicate') FROM uploads WHERE"+these, uploads, from)
	if err := totals.Scan(&s.Uploads, &s.UploadBytes, &s.SavedBytes); err != nil {
		return nil, fmt.Errorf("summary: count uploads: %w", err)
	}
	renditions := conn.QueryRow(ctx, "SELECT count(), sum(r.bytes) FROM renditions AS r INNER JOIN uploads AS u USING (src_topic_id, src_partition, src_offset) WHERE "+
		"u.src_topic_id = ? AND u.append_time >= ?", uploads, from)
	if err := renditions.Scan(&s.Renditions, &s.RenditionBytes); err != nil {
		return nil, fmt.Errorf("summary: count renditions: %w", err)
	}
	if err := countBy(ctx, conn, s.Outcomes, "SELECT toString(outcome), count() FROM uploads WHERE"+these+"GROUP BY 1", uploads, from); err != nil {
		return nil, err
	}
	if err := countBy(ctx, conn, s.DeadReasons, "SELECT toString(d.reason), count() FROM dead_letters AS d INNER JOIN uploads AS u USING (src_topic_id, src_partition, src_offset)"+
		" WHERE u.outcome = 'dead' AND d.stage NOT IN ('windows', 'load') AND u.src_topic_id = ? AND u.append_time >= ? GROUP BY 1", uploads, from); err != nil {
		return nil, err
	}
	rows, err := conn.Query(ctx, "SELECT ifNull(camera_make, '') AS make, ifNull(camera_model, '') AS model, count() AS photos FROM uploads WHERE"+these+
		"AND camera_model IS NOT NULL GROUP BY make, model ORDER BY photos DESC, make, model LIMIT 5", uploads, from)
	if err != nil {
		return nil, fmt.Errorf("summary: count cameras: %w", err)
	}
	defer func() { _ = rows.Close() }() // rows.Err has the error that matters.
	for rows.Next() {
		var c cameraCount
		if err := rows.Scan(&c.Make, &c.Model, &c.Photos); err != nil {
			return nil, fmt.Errorf("summary: read camera: %w", err)
		}
		s.Cameras = append(s.Cameras, c)
	}
	return s, rows.Err()
}

// countBy fills a map from a query of name and number.
func countBy(ctx context.Context, conn driver.Conn, into map[string]uint64, query string, args ...any) error {
	rows, err := conn.Query(ctx, query, args...)
	if err != nil {
		return fmt.Errorf("summary: %w", err)
	}
	defer func() { _ = rows.Close() }() // rows.Err has the error that matters.
	for rows.Next() {
		var name string
		var n uint64
		if err := rows.Scan(&name, &n); err != nil {
			return fmt.Errorf("summary: %w", err)
		}
		into[name] = n
	}
	return rows.Err()
}

// print writes the summary for a person, or as one line of JSON.
func (s *summary) print(w io.Writer, format string) error {
	if format == "json" {
		return json.NewEncoder(w).Encode(s)
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	line := func(name, format string, args ...any) {
		_, _ = fmt.Fprintf(t, "  %s\t"+format+"\n", append([]any{name}, args...)...) // Flush returns the error.
	}
	_, _ = fmt.Fprintln(t, "\nWhat came in")
	line("uploads", "%d, %s", s.Uploads, bytesText(s.UploadBytes))
	for _, c := range s.Cameras {
		line("camera", "%s %s: %d", c.Make, c.Model, c.Photos)
	}
	_, _ = fmt.Fprintln(t, "What came out")
	for _, outcome := range []string{"original", "duplicate", "repeat", "dead", "lost"} {
		if n := s.Outcomes[outcome]; n > 0 {
			line(outcome, "%d", n)
		}
	}
	for reason, n := range s.DeadReasons {
		line("dead of", "%s: %d", reason, n)
	}
	line("renditions", "%d, %s", s.Renditions, bytesText(s.RenditionBytes))
	line("duplicates saved", "%s of decoding", bytesText(s.SavedBytes))
	_, _ = fmt.Fprintln(t, "How fast")
	line("throughput", "%.1f photos/s over %.1f s", s.PhotosPerSecond, s.ElapsedS)
	line("upload to queryable", "p50 %.0f ms, p99 %.0f ms", s.LatencyP50MS, s.LatencyP99MS)
	printWindows(t, s.Windows)
	if s.Missing > 0 {
		line("missing", "%d uploads were not queryable in time", s.Missing)
	}
	return t.Flush()
}

// print writes the addresses for a person.
func (a demoAddresses) print(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(t, "\nIt goes on running; Ctrl-C ends it.")
	for _, line := range [][2]string{
		{"ClickHouse", a.ClickHouse},
		{"ClickHouse HTTP", a.ClickHouseHTTP},
		{"Kafka", a.Kafka},
		{"Blobs", a.Blobs},
		{"Metrics", a.Metrics},
		{"Windows", "tintype windows ls --http " + strings.TrimSuffix(strings.TrimPrefix(a.Metrics, "http://"), "/metrics")},
		{"Ask it", "tintype sql --clickhouse " + a.ClickHouse + " 'SELECT outcome, count() FROM uploads GROUP BY outcome'"},
	} {
		if line[1] != "" {
			_, _ = fmt.Fprintf(t, "  %s\t%s\n", line[0], line[1]) // Flush returns the error.
		}
	}
	return t.Flush()
}

// bytesText is a number of bytes for a person.
func bytesText(n uint64) string {
	const unit = 1024
	if n < unit {
		return fmt.Sprintf("%d B", n)
	}
	value, exponent := float64(n)/unit, 0
	for value >= unit && exponent < 3 {
		value /= unit
		exponent++
	}
	return fmt.Sprintf("%.1f %ciB", value, "KMGT"[exponent])
}
