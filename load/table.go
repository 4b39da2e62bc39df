package load

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/google/uuid"

	"github.com/tintype/tintype/event"
)

// A located row tells where the record that it was made of lies.
type located interface {
	loadPosition() (Partition, int64)
}

// A table gathers rows of one table, and knows its watermark.
type table[R located] struct {
	name string
	rows []*R
	// watermark is the greatest load_offset that the table holds, by partition.
	// It is the table's own: one flush writes several tables, and a kill may
	// fall between them.
	watermark map[Partition]int64
}

func newTable[R located](name string) table[R] {
	return table[R]{name: name, watermark: map[Partition]int64{}}
}

// wants reports whether the table lacks the rows of the record at a position.
func (t *table[R]) wants(at event.Position) bool {
	last, ok := t.watermark[Partition{TopicID: at.TopicID, Partition: at.Partition}]
	return !ok || at.Offset > last
}

// resume drops the pending rows and reads the watermark of the held partitions.
func (t *table[R]) resume(ctx context.Context, conn driver.Conn, held []Partition) error {
	t.rows, t.watermark = nil, make(map[Partition]int64, len(held))
	if len(held) == 0 {
		return nil
	}
	var where strings.Builder
	args := make([]any, 0, 2*len(held))
	for i, p := range held {
		if i > 0 {
			where.WriteString(", ")
		}
		where.WriteString("(?, ?)")
		args = append(args, p.TopicID, p.Partition)
	}
	rows, err := conn.Query(ctx, "SELECT load_topic_id, load_partition, max(load_offset) FROM "+t.name+
		" WHERE (load_topic_id, load_partition) IN ("+where.String()+") GROUP BY load_topic_id, load_partition", args...)
	if err != nil {
		return fmt.Errorf("load: read the watermark of %s: %w", t.name, err)
	}
	for rows.Next() {
		var topic uuid.UUID
		var partition int32
		var offset int64
		if err := rows.Scan(&topic, &partition, &offset); err != nil {
			return errors.Join(fmt.Errorf("load: read the watermark of %s: %w", t.name, err), rows.Close())
		}
		t.watermark[Partition{TopicID: topic, Partition: partition}] = offset
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return fmt.Errorf("load: read the watermark of %s: %w", t.name, err)
	}
	return nil
}

// ranges names the table and the offsets of the pending rows, by partition.
func (t *table[R]) ranges() string {
	type span struct{ first, last int64 }
	spans := map[Partition]span{}
	for _, row := range t.rows {
		p, offset := (*row).loadPosition()
		s, ok := spans[p]
		if !ok {
			s = span{offset, offset}
		}
		spans[p] = span{min(s.first, offset), max(s.last, offset)}
	}
	texts := make([]string, 0, len(spans)+1)
	for p, s := range spans {
		texts = append(texts, fmt.Sprintf("%s/%d/%d-%d", p.TopicID, p.Partition, s.first, s.last))
	}
	slices.Sort(texts)
	return t.name + " " + strings.Join(texts, " ")
}

// landed advances the watermark over the pending rows, which the table holds now.
func (t *table[R]) landed() {
	for _, row := range t.rows {
		p, offset := (*row).loadPosition()
		if last, ok := t.watermark[p]; !ok || offset > last {
			t.watermark[p] = offset
		}
	}
	t.rows = nil
}

// insert sends all pending rows as one block.
func (t *table[R]) insert(ctx context.Context, conn driver.Conn) (err error) {
	batch, err := conn.PrepareBatch(ctx, "INSERT INTO "+t.name)
	if err != nil {
		return err
	}
	defer func() {
		if !batch.IsSent() {
			err = errors.Join(err, batch.Abort())
		}
	}()
	for _, row := range t.rows {
		if err := batch.AppendStruct(row); err != nil {
			return err
		}
	}
	return batch.Send()
}
