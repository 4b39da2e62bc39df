package load

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/tintype/tintype/event"
)

// A refused record is the first one of its partition whose rows a table does not
// take. The transaction that reads it ends with it, and makes it a dead letter:
// that is committed before anything behind it is inserted.
type refused struct {
	offset int64
	reason string
	// settled says that the open transaction made it a dead letter.
	settled bool
}

// EndWith tells with which record a transaction must end that reads a partition:
// a record that ClickHouse refuses, if there is one.
func (l *Loader) EndWith(p Partition) (offset int64, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	r, ok := l.refused[p]
	if !ok {
		return 0, false
	}
	return r.offset, true
}

// Committed tells the loader that what it was given since the last commit is
// committed.
func (l *Loader) Committed() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for p, r := range l.refused {
		if r.settled {
			delete(l.refused, p)
		}
	}
}

// refusal is why the record at a position becomes a dead letter; nil: it does
// not. A record whose last row is in its table stays what it is: it was taken then.
func (l *Loader) refusal(t *table, at event.Position) *event.Refusal {
	p := Partition{TopicID: at.TopicID, Partition: at.Partition}
	r, ok := l.refused[p]
	switch {
	case !ok || at.Offset < r.offset:
		return nil
	case at.Offset > r.offset || !t.wants(at):
		delete(l.refused, p)
		return nil
	}
	r.settled = true
	return &event.Refusal{Reason: event.ReasonRefusedBySink, Detail: r.reason}
}

// keepRefused forgets what a new owner of a partition finds out by itself.
func (l *Loader) keepRefused(held []Partition) {
	kept := make(map[Partition]*refused, len(l.refused))
	for _, p := range held {
		if r, ok := l.refused[p]; ok {
			r.settled = false
			kept[p] = r
		}
	}
	l.refused = kept
}

// sift inserts what a table takes of a block that it has refused as a whole, and
// finds the first record of each partition that it refuses. A block is atomic: so
// far nothing of it is there. The error tells of the refused records, or of
// whatever else happened; nil: only dead letters were refused, and their smaller
// rows were taken.
func (l *Loader) sift(ctx context.Context, t *table) error {
	var order []Partition
	records := map[Partition][][]row{}
	for _, r := range t.rows {
		p, offset := r.loadPosition()
		all, known := records[p]
		if !known {
			order = append(order, p)
		} else if _, last := all[len(all)-1][0].loadPosition(); last == offset {
			all[len(all)-1] = append(all[len(all)-1], r)
			continue
		}
		records[p] = append(all, []row{r})
	}
	t.rows = nil
	var found []error
	for _, p := range order {
		offender, err := l.siftPartition(ctx, t, records[p])
		if err != nil {
			if offender == nil {
				return errors.Join(append(found, err)...)
			}
			_, offset := offender[0].loadPosition()
			if offender[0].ofLetter() {
				return &GivenUpError{Table: t.name, Partition: p, Offset: offset, Err: err}
			}
			l.refused[p] = &refused{offset: offset, reason: reasonOf(err)}
			found = append(found, fmt.Errorf("load: %s refuses the record at %s/%d/%d, which becomes a dead letter: %s", t.name, p.TopicID, p.Partition, offset, reasonOf(err)))
		}
	}
	return errors.Join(found...)
}

// siftPartition inserts records of one partition up to the first one that is
// refused and cannot be made smaller, which it returns with the reason.
func (l *Loader) siftPartition(ctx context.Context, t *table, records [][]row) (offender []row, err error) {
	for first := 0; first < len(records); {
		err := l.insert(ctx, t, flat(records[first:]))
		if err == nil {
			return nil, nil
		}
		// Of records[first:end] one is refused, and err says why.
		for end := len(records); ; {
			if !isRefusal(err) {
				return nil, err
			}
			if end-first == 1 {
				break
			}
			middle := (first + end) / 2
			tried := l.insert(ctx, t, flat(records[first:middle]))
			if tried == nil {
				first = middle
				continue
			}
			end, err = middle, tried
		}
		smaller := false
		for _, r := range records[first] {
			smaller = r.shrink() || smaller
		}
		if !smaller {
			return records[first], err
		}
		l.config.Log.Warn("ClickHouse refuses a dead letter, which is made smaller", slog.String("table", t.name), slog.String("reason", reasonOf(err)))
	}
	return nil, nil
}

func flat(records [][]row) []row {
	rows := make([]row, 0, len(records))
	for _, r := range records {
		rows = append(rows, r...)
	}
	return rows
}

// taken returns nil where a table has taken a block whose insert was refused: a view
// that throws does not take back what its source has taken, and to insert it again
// would make it twice. Otherwise it returns the refusal.
func (l *Loader) taken(ctx context.Context, t *table, rows []row, refusal error) error {
	there, err := t.holds(ctx, l.conn, rows[len(rows)-1])
	if err != nil {
		return err
	}
	if !there {
		return refusal
	}
	l.config.Log.Warn("a view of ClickHouse refuses rows that its source has taken", slog.String("table", t.name), slog.String("reason", reasonOf(refusal)))
	return nil
}
