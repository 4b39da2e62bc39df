package load

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/google/uuid"

	"github.com/tintype/tintype/event"
)

// A row is one row of a table. All types embed loaded, most of them in positions,
// and lease.
type row interface {
	// loadPosition is where the record lies that the row was made of.
	loadPosition() (Partition, int64)
	// grant gives the row a lease.
	grant(by lease)
	// ofLetter reports whether that record is a dead letter: a row of one cannot
	// become another.
	ofLetter() bool
	// shrink makes a dead letter's row smaller; false where it is small already.
	shrink() bool
}

// A table gathers rows of one table, and knows its watermark.
type table struct {
	name string
	// columns are those of its rows. An insert names them: a column that somebody
	// has added takes its default.
	columns string
	// rows are in the order of their records, within each partition.
	rows []row
	// watermark is the greatest load_offset that the table holds, by partition:
	// each record up to there has its rows in the table, belongs to others, or
	// became a dead letter. It is the table's own: one flush writes several
	// tables, and a kill may fall between them.
	watermark map[Partition]int64
}

// newTable is the table that holds rows like one.
func newTable(name string, like row) table {
	var columns []string
	for _, field := range reflect.VisibleFields(reflect.TypeOf(like).Elem()) {
		if column := field.Tag.Get("ch"); column != "" {
			columns = append(columns, column)
		}
	}
	return table{name: name, columns: strings.Join(columns, ", "), watermark: map[Partition]int64{}}
}

// wants reports whether the table lacks the rows of the record at a position.
func (t *table) wants(at event.Position) bool {
	last, ok := t.watermark[Partition{TopicID: at.TopicID, Partition: at.Partition}]
	return !ok || at.Offset > last
}

// resume drops the pending rows and reads the watermark of the held partitions.
func (t *table) resume(ctx context.Context, conn driver.Conn, held []Partition) error {
	t.rows = nil
	watermark, err := t.read(ctx, conn, held)
	if err != nil {
		return err
	}
	t.watermark = watermark
	return nil
}

// holds reports whether the table has the row, or one of a later record.
func (t *table) holds(ctx context.Context, conn driver.Conn, r row) (bool, error) {
	p, offset := r.loadPosition()
	watermark, err := t.read(ctx, conn, []Partition{p})
	last, ok := watermark[p]
	return ok && last >= offset, err
}

// read asks the table for the watermark of partitions.
func (t *table) read(ctx context.Context, conn driver.Conn, held []Partition) (map[Partition]int64, error) {
	watermark := make(map[Partition]int64, len(held))
	if len(held) == 0 {
		return watermark, nil
	}
	where, args := among(held)
	rows, err := conn.Query(ctx, "SELECT load_topic_id, load_partition, max(load_offset) FROM "+t.name+
		" WHERE "+where+" GROUP BY load_topic_id, load_partition", args...)
	if err != nil {
		return nil, fmt.Errorf("load: read the watermark of %s: %w", t.name, err)
	}
	for rows.Next() {
		var topic uuid.UUID
		var partition int32
		var offset int64
		if err := rows.Scan(&topic, &partition, &offset); err != nil {
			return nil, errors.Join(fmt.Errorf("load: read the watermark of %s: %w", t.name, err), rows.Close())
		}
		watermark[Partition{TopicID: topic, Partition: partition}] = offset
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return nil, fmt.Errorf("load: read the watermark of %s: %w", t.name, err)
	}
	return watermark, nil
}

// among is a condition on the partitions that a row was loaded from.
func among(held []Partition) (where string, args []any) {
	var b strings.Builder
	b.WriteString("(load_topic_id, load_partition) IN (")
	for i, p := range held {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString("(?, ?)")
		args = append(args, p.TopicID, p.Partition)
	}
	b.WriteString(")")
	return b.String(), args
}

// ranges names a table with how many rows of which offsets, by partition.
func ranges(name string, rows []row) string {
	type span struct {
		first, last int64
		n           int
	}
	spans := map[Partition]span{}
	for _, row := range rows {
		p, offset := row.loadPosition()
		s, ok := spans[p]
		if !ok {
			s = span{offset, offset, 0}
		}
		spans[p] = span{min(s.first, offset), max(s.last, offset), s.n + 1}
	}
	texts := make([]string, 0, len(spans))
	for p, s := range spans {
		texts = append(texts, fmt.Sprintf("%s/%d/%d-%d×%d", p.TopicID, p.Partition, s.first, s.last, s.n))
	}
	slices.Sort(texts)
	return name + " " + strings.Join(texts, " ")
}

// landed advances the watermark over rows which the table holds now.
func (t *table) landed(rows []row) {
	for _, row := range rows {
		p, offset := row.loadPosition()
		if last, ok := t.watermark[p]; !ok || offset > last {
			t.watermark[p] = offset
		}
	}
}

// insert sends rows as one block. sent says that the server may have it.
func (t *table) insert(ctx context.Context, conn driver.Conn, rows []row) (sent bool, err error) {
	batch, err := conn.PrepareBatch(ctx, "INSERT INTO "+t.name+" ("+t.columns+")")
	if err != nil {
		return false, err
	}
	defer func() {
		if !batch.IsSent() {
			err = errors.Join(err, batch.Abort())
		}
	}()
	for _, row := range rows {
		if err := batch.AppendStruct(row); err != nil {
			return false, &rowError{err}
		}
	}
	return true, batch.Send()
}
