package audit

import (
	"context"
	"fmt"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
)

// A rollup is a projection of a table, and the query that it answers.
type rollup struct{ table, projection, query string }

// allRollups are the projections of the tables: those that reports read, and
// those that the loader asks for its watermarks.
func allRollups() []rollup {
	minutes := func(table, by string) rollup {
		return rollup{table, "by_minute", "SELECT toStartOfMinute(event_time), " + by + ", count(), sum(bytes) FROM " + table + " GROUP BY toStartOfMinute(event_time), " + by}
	}
	all := []rollup{minutes("uploads", "outcome"), minutes("renditions", "name")}
	for _, table := range []string{"uploads", "renditions", "dead_letters", "windows", "late_uploads", "ticks"} {
		all = append(all, rollup{table, "by_load", "SELECT load_topic_id, load_partition, max(load_offset) FROM " + table + " GROUP BY load_topic_id, load_partition"})
	}
	return all
}

// rollupTries is how often a rollup is compared while rows keep arriving.
const rollupTries = 5

// sum is how many groups a rollup has, and the sum of their hashes.
type sum struct{ groups, hash uint64 }

// rollups compares the projections with what the rows themselves add up to.
func rollups(ctx context.Context, q query, r *Report) error {
	for _, roll := range allRollups() {
		if err := roll.compare(ctx, q, r); err != nil {
			return err
		}
	}
	return nil
}

// compare asks the projection before and after the rows: only where it says the
// same twice, no row came in between.
func (u rollup) compare(ctx context.Context, q query, r *Report) error {
	for range rollupTries {
		rows, err := u.sum(ctx, q, "optimize_use_projections = 0")
		if err != nil {
			return err
		}
		if rows.groups == 0 {
			return nil // No projection answers for an empty table.
		}
		forced := "optimize_use_projections = 1, force_optimize_projection = 1, force_optimize_projection_name = '" + u.projection + "'"
		projected, err := u.sum(ctx, q, forced)
		if err != nil || projected == rows {
			return err
		}
		again, err := u.sum(ctx, q, "optimize_use_projections = 0")
		if err != nil {
			return err
		}
		if again == rows {
			r.add(Rollup, 1, Difference{
				Kind: Rollup, Table: u.table,
				Detail: fmt.Sprintf("projection %s has %d groups where the rows make %d, or other sums", u.projection, projected.groups, rows.groups),
			})
			return nil
		}
	}
	r.Notes = append(r.Notes, fmt.Sprintf("the projection %s of %s was not compared, because rows kept arriving", u.projection, u.table))
	return nil
}

func (u rollup) sum(ctx context.Context, q query, how string) (s sum, err error) {
	statement := "SELECT count(), sum(cityHash64(toString(tuple(*)))) FROM (" + u.query + ")" + settings + ", " + how
	err = q.rows(ctx, "sum up "+u.table+" "+u.projection, statement, func(rows driver.Rows) error { return rows.Scan(&s.groups, &s.hash) })
	return s, err
}
