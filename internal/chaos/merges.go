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
}

// merged counts what was there twice when the tables were merged. Merges hide it,
// so they are held back, but for the moments in which the harness has counted:
// without any a long run would have too many parts.
type merged struct{ uploads, renditions, deadLetters int64 }

// merge counts what is there twice, and then merges.
func (m *merged) merge(ctx context.Context, address string) error {
	return onClickHouse(address, func(conn driver.Conn) error {
		for table, sum := range map[string]*int64{"uploads": &m.uploads, "renditions": &m.renditions, "dead_letters": &m.deadLetters} {
			var twice int64
			query := "SELECT count() - uniqExact(" + identities[table] + ") FROM " + table
			if err := conn.QueryRow(ctx, query).Scan(&twice); err != nil {
				return fmt.Errorf("chaos: %s: %w", query, err)
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
