package verify

import (
	"context"
	"fmt"
	"strings"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
)

// settings let what does not fit into memory go to disk, and use the order that there
// is; they keep what is named of differences from being made of windows that agree, and
// a server's own defaults from changing what a statement means.
const settings = " SETTINGS max_bytes_before_external_group_by = 1000000000, max_bytes_before_external_sort = 1000000000, join_algorithm = 'full_sorting_merge', " +
	"optimize_aggregation_in_order = 1, short_circuit_function_evaluation = 'force_enable', join_use_nulls = 0, final = 0"

// rows calls f with each row of a statement.
func (v *verifier) rows(ctx context.Context, what, statement string, f func(driver.Rows) error) (err error) {
	rows, err := v.conn.Query(ctx, statement+settings)
	if err != nil {
		return fmt.Errorf("verify: %s: %w", what, err)
	}
	defer func() {
		if closeErr := rows.Close(); err == nil && closeErr != nil {
			err = fmt.Errorf("verify: %s: %w", what, closeErr)
		}
	}()
	for rows.Next() {
		if err := f(rows); err != nil {
			return fmt.Errorf("verify: %s: %w", what, err)
		}
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("verify: %s: %w", what, err)
	}
	return nil
}

// ms is a column of times in Unix milliseconds.
func ms(column string) string { return "toUnixTimestamp64Milli(" + column + ")" }

var escaper = strings.NewReplacer(`\`, `\\`, `'`, `\'`)

// quote writes a string as SQL does.
func quote(text string) string { return "'" + escaper.Replace(text) + "'" }

// integer writes a number of the type that times have.
func integer(n int64) string { return fmt.Sprintf("toInt64(%d)", n) }

// list writes a list of SQL expressions.
func list[T any](items []T, write func(T) string) string {
	parts := make([]string, 0, len(items))
	for _, item := range items {
		parts = append(parts, write(item))
	}
	return strings.Join(parts, ", ")
}
