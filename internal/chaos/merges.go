package chaos

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
)

// identities are what a row of each table is there once by: the sorting key.
var identities = map[string]string{
	"uploads": "src_topic_id, src_partition, src_offset", "renditions": "sha256, name, spec", "dead_letters": "src_topic_id, src_partition, src_offset, stage",
	"ticks": "src_topic_id, src_partition, src_offset", "windows": "aggregate, key, window_start, window_end, revision",
	"late_uploads": "src_topic_id, src_partition, src_offset, aggregate, key, window_start",
}

// merged counts what was there twice when the tables were merged. Merges hide it,
// so they are held back, but for the moments in which the harness has counted:
// without any a long run would have too many parts.
type merged struct{ uploads, renditions, deadLetters, ticks, windows, late int64 }

// merge counts what is there twice, and then merges.
func (m *merged) merge(ctx context.Context, address string) error {
	return onClickHouse(address, func(conn driver.Conn) error {
		for table, sum := range map[string]*int64{
			"uploads": &m.uploads, "renditions": &m.renditions, "dead_letters": &m.deadLetters, "ticks": &m.ticks, "windows": &m.windows, "late_uploads": &m.late,
		} {
			twice, err := twiceIn(ctx, conn, table)
			if err != nil {
				return err
			}
			*sum += twice
			statement := "OPTIMIZE TABLE " + table + " FINAL"
			if err := conn.Exec(ctx, statement); err != nil {
				return fmt.Errorf("chaos: %s: %w", statement, err)
			}
		}
		return nil
	})
}

// twiceIn counts the rows of a table that are there once more.
func twiceIn(ctx context.Context, conn driver.Conn, table string) (twice int64, err error) {
	query := "SELECT count() - uniqExact(" + identities[table] + ") FROM " + table
	if err := conn.QueryRow(ctx, query).Scan(&twice); err != nil {
		return 0, fmt.Errorf("chaos: %s: %w", query, err)
	}
	return twice, nil
}

// holdMerges keeps ClickHouse from merging the parts of the tables.
func holdMerges(ctx context.Context, address string) error {
	return onClickHouse(address, func(conn driver.Conn) error {
		for table := range identities {
			statement := "ALTER TABLE " + table + " MODIFY SETTING max_bytes_to_merge_at_max_space_in_pool = 1, parts_to_throw_insert = 100000, parts_to_delay_insert = 100000"
			if err := conn.Exec(ctx, statement); err != nil {
				return fmt.Errorf("chaos: %s: %w", statement, err)
			}
		}
		return nil
	})
}

// onClickHouse calls f with a connection.
func onClickHouse(address string, f func(driver.Conn) error) error {
	const patience = 5 * time.Minute // A merge of a thousand parts takes its time.
	conn, err := clickhouse.Open(&clickhouse.Options{Addr: []string{address}, ReadTimeout: patience})
	if err != nil {
		return fmt.Errorf("chaos: connect to ClickHouse: %w", err)
	}
	return errors.Join(f(conn), conn.Close())
}
