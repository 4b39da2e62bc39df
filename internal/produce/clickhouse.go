package produce

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/google/uuid"
)

// InClickHouse looks for rows of the table uploads. Every upload ends as one,
// the dead too.
func InClickHouse(conn driver.Conn, topicID uuid.UUID) Lookup {
	return func(ctx context.Context, ranges []Range, found func(partition int32, offset int64)) error {
		rows, err := conn.Query(ctx, lookupSQL(topicID, ranges))
		if err != nil {
			return fmt.Errorf("produce: look for uploads: %w", err)
		}
		defer func() { _ = rows.Close() }() // rows.Err has the error that matters.
		for rows.Next() {
			var partition int32
			var offset int64
			if err := rows.Scan(&partition, &offset); err != nil {
				return fmt.Errorf("produce: look for uploads: %w", err)
			}
			found(partition, offset)
		}
		if err := rows.Err(); err != nil {
			return fmt.Errorf("produce: look for uploads: %w", err)
		}
		return nil
	}
}

// lookupSQL selects the origins that lie in the ranges.
func lookupSQL(topicID uuid.UUID, ranges []Range) string {
	var b strings.Builder
	fmt.Fprintf(&b, "SELECT toInt32(src_partition), toInt64(src_offset) FROM uploads WHERE src_topic_id = '%s' AND (", topicID)
	for i, r := range ranges {
		if i > 0 {
			b.WriteString(" OR ")
		}
		fmt.Fprintf(&b, "src_partition = %d AND src_offset BETWEEN %d AND %d", r.Partition, r.First, r.Last)
	}
	b.WriteString(")")
	return b.String()
}

// Wait waits until the row of every acknowledged upload is in ClickHouse, at
// most for timeout. Whoever wants latencies starts a [Tracker] before the
// uploads are sent instead: here each counts to the first look at least.
func Wait(ctx context.Context, conn driver.Conn, topicID uuid.UUID, acked []Acked, timeout time.Duration) (WaitResult, error) {
	t := Track(ctx, InClickHouse(conn, topicID), 0)
	defer t.Close()
	for _, a := range acked {
		t.Acked(a)
	}
	return t.Wait(ctx, timeout)
}
