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
	"regexp"
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

// rowless begins the statements that return no rows; the driver reads rows of
// all that it is asked to query.
var rowless = regexp.MustCompile(`(?is)^(?:\s|--[^\n]*\n|/\*.*?\*/)*` +
	`(?:alter|attach|create|delete|detach|drop|exchange|grant|insert|move|optimize|rename|revoke|set|system|truncate|undrop|update|use)\b`)

// printQuery runs a statement and prints its rows in a format: table, json or
// csv.
func printQuery(ctx context.Context, conn driver.Conn, query, format string, w io.Writer) error {
	if rowless.MatchString(query) {
		if err := conn.Exec(ctx, query); err != nil {
			return fmt.Errorf("sql: %w", err)
		}
		return nil
	}
	rows, err := conn.Query(ctx, query)
	if err != nil {
		return fmt.Errorf("sql: %w", err)
	}
	defer func() { _ = rows.Close() }() // rows.Err has the error that matters.
	names := rows.Columns()
	types := rows.ColumnTypes()
	out := newRowWriter(format, names, w)
	for rows.Next() {
		values := make([]any, len(types))
		for i, t := range types {
			values[i] = reflect.New(t.ScanType()).Interface()
		}
		if err := rows.Scan(values...); err != nil {
			return fmt.Errorf("sql: read row: %w", err)
		}
		for i, t := range types {
			values[i] = plainValue(reflect.ValueOf(values[i]), timeFormat(t.DatabaseTypeName()))
		}
		if err := out.row(names, values); err != nil {
			return fmt.Errorf("sql: print row: %w", err)
		}
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("sql: %w", err)
	}
	return out.flush()
}

var dateType = regexp.MustCompile(`\bDate(?:32)?\b`)

// timeFormat is how the times of a column are shown.
func timeFormat(columnType string) string {
	if dateType.MatchString(columnType) && !strings.Contains(columnType, "DateTime") {
		return time.DateOnly
	}
	return "2006-01-02T15:04:05.999999999Z"
}

// plainValue turns a scanned value into what JSON can hold: nil, a string, a
// number, a bool, or slices and maps of them. A Nullable column scans into a
// pointer.
func plainValue(v reflect.Value, timeFormat string) any {
	for v.Kind() == reflect.Pointer || v.Kind() == reflect.Interface {
		if v.IsNil() {
			return nil
		}
		if _, ok := reflect.TypeAssert[fmt.Stringer](v); ok && v.Elem().Kind() == reflect.Struct {
			break // Such as a *big.Int, which has a String where its value has none.
		}
		v = v.Elem()
	}
	switch value := v.Interface().(type) {
	case time.Time:
		return value.UTC().Format(timeFormat)
	case *time.Time:
		return value.UTC().Format(timeFormat)
	case fmt.Stringer:
		return value.String()
	case float64:
		return finite(value, 64)
	case float32:
		return finite(float64(value), 32)
	}
	switch v.Kind() {
	case reflect.Slice, reflect.Array:
		values := make([]any, v.Len())
		for i := range values {
			values[i] = plainValue(v.Index(i), timeFormat)
		}
		return values
	case reflect.Map:
		values := make(map[string]any, v.Len())
		for entries := v.MapRange(); entries.Next(); {
			values[text(plainValue(entries.Key(), timeFormat), "NULL")] = plainValue(entries.Value(), timeFormat)
		}
		return values
	case reflect.Struct:
		if !v.CanAddr() {
			held := reflect.New(v.Type())
			held.Elem().Set(v)
			v = held.Elem()
		}
		if value, ok := reflect.TypeAssert[fmt.Stringer](v.Addr()); ok {
			return value.String()
		}
	default: // What Go has a literal for.
	}
	return v.Interface()
}

// finite keeps a number that JSON can hold, with the digits that it has.
func finite(f float64, bits int) any {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return fmt.Sprint(f)
	}
	if bits == 32 {
		return float32(f)
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

// text is a value in a table or a CSV cell: a string as it is, another as in
// JSON.
func text(value any, null string) string {
	switch value := value.(type) {
	case nil:
		return null
	case string:
		return value
	}
	data, err := marshal(value)
	if err != nil {
		return fmt.Sprint(value)
	}
	return string(data)
}

// marshal is JSON for eyes and programs, not for HTML.
func marshal(value any) ([]byte, error) {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
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
	b.WriteByte('{')
	for i, name := range names {
		key, err := marshal(name)
		if err != nil {
			return err
		}
		value, err := marshal(values[i])
		if err != nil {
			return err
		}
		if i > 0 {
			b.WriteByte(',')
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
