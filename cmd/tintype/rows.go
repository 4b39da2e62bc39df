package main

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"reflect"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
)

// A rowWriter prints rows as they come.
type rowWriter interface {
	row(names []string, values []any) error
	flush() error
}

// printQuery runs a statement and prints its rows in a format: table, json or
// csv.
func printQuery(ctx context.Context, conn driver.Conn, query, format string, w io.Writer) error {
	rows, err := conn.Query(ctx, query)
	if err != nil {
		return fmt.Errorf("sql: %w", err)
	}
	defer func() { _ = rows.Close() }() // rows.Err has the error that matters.
	names := rows.Columns()
	types := rows.ColumnTypes()
	out := newRowWriter(format, names, w)
	for rows.Next() {
		targets := make([]any, len(types))
		for i, t := range types {
			targets[i] = reflect.New(t.ScanType()).Interface()
		}
		if err := rows.Scan(targets...); err != nil {
			return fmt.Errorf("sql: read row: %w", err)
		}
		for i := range targets {
			targets[i] = plainValue(reflect.ValueOf(targets[i]).Elem())
		}
		if err := out.row(names, targets); err != nil {
			return fmt.Errorf("sql: print row: %w", err)
		}
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("sql: %w", err)
	}
	return out.flush()
}

// plainValue follows pointers (a Nullable column scans into one) and turns what
// the formats cannot show into text.
func plainValue(v reflect.Value) any {
	for v.Kind() == reflect.Pointer {
		if v.IsNil() {
			return nil
		}
		v = v.Elem()
	}
	switch value := v.Interface().(type) {
	case time.Time:
		return value.UTC().Format("2006-01-02T15:04:05.999999999Z")
	case fmt.Stringer:
		return value.String()
	case float64:
		return finite(value)
	case float32:
		return finite(float64(value))
	default:
		return value
	}
}

// finite keeps a number that JSON can hold.
func finite(f float64) any {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return fmt.Sprint(f)
	}
	return f
}

func newRowWriter(format string, names []string, w io.Writer) rowWriter {
	switch format {
	case "json":
		return &jsonRows{w: w}
	case "csv":
		c := csv.NewWriter(w)
		_ = c.Write(names) // The writer keeps its error for flush.
		return &csvRows{c}
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	if len(names) > 0 {
		_, _ = fmt.Fprintln(t, strings.Join(names, "\t")) // Flush returns the error.
	}
	return &tableRows{t}
}

// text is a value in a table or a CSV cell.
func text(value any, null string) string {
	if value == nil {
		return null
	}
	return fmt.Sprint(value)
}

type tableRows struct{ w *tabwriter.Writer }

func (t *tableRows) row(_ []string, values []any) error {
	cells := make([]string, len(values))
	for i, v := range values {
		cells[i] = strings.NewReplacer("\t", `\t`, "\n", `\n`).Replace(text(v, "NULL"))
	}
	_, err := fmt.Fprintln(t.w, strings.Join(cells, "\t"))
	return err
}

func (t *tableRows) flush() error { return t.w.Flush() }

type csvRows struct{ w *csv.Writer }

func (c *csvRows) row(_ []string, values []any) error {
	cells := make([]string, len(values))
	for i, v := range values {
		cells[i] = text(v, `\N`)
	}
	return c.w.Write(cells)
}

func (c *csvRows) flush() error {
	c.w.Flush()
	return c.w.Error()
}

// jsonRows writes one object a line, its keys in the order of the columns.
type jsonRows struct{ w io.Writer }

func (j *jsonRows) row(names []string, values []any) error {
	var b bytes.Buffer
	for i, name := range names {
		separator := byte(',')
		if i == 0 {
			separator = '{'
		}
		b.WriteByte(separator)
		key, err := json.Marshal(name)
		if err != nil {
			return err
		}
		value, err := json.Marshal(values[i])
		if err != nil {
			return err
		}
		b.Write(key)
		b.WriteByte(':')
		b.Write(value)
	}
	b.WriteString("}\n")
	_, err := j.w.Write(b.Bytes())
	return err
}

func (j *jsonRows) flush() error { return nil }
