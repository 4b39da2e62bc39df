package load

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/google/uuid"

	"github.com/tintype/tintype/event"
	"github.com/tintype/tintype/event/eventpb"
)

// DefaultLease is how long after a flush began its rows may still be inserted.
const DefaultLease = 4 * time.Second

// Config says how a loader works.
type Config struct {
	// Group begins the query ids of its inserts.
	Group string
	// Lease bounds an insert, by the server's clock; 0: [DefaultLease].
	Lease time.Duration
	// Observe, when set, hears of every insert that succeeded.
	Observe func(table string, rows int, took time.Duration)
	Log     *slog.Logger
}

// A Partition is one partition of a topic that the loader reads.
type Partition struct {
	TopicID   uuid.UUID
	Partition int32
}

// A Loader gathers rows and inserts them. Developed and DeadLetter may be called
// concurrently; Assigned and Flush only while nothing else is.
//
// ClickHouse may hold rows whose offsets are not committed; the opposite never
// holds. Which records have their rows is asked of ClickHouse itself, by
// Assigned, before anything is added.
type Loader struct {
	conn   driver.Conn
	config Config
	// nonce begins the deduplication tokens: a token serves this process only,
	// since the server drops other data under a known token in silence.
	nonce string

	mu          sync.Mutex
	uploads     table[uploadRow]
	renditions  table[renditionRow]
	deadLetters table[deadLetterRow]
	// doubt is when the last insert was begun of which nobody knows whether it
	// will happen.
	doubt time.Time
	// stale is set by a flush that failed: what the tables hold is unknown until
	// Assigned has asked.
	stale bool
}

// NewLoader makes a loader on a connection, which stays the caller's.
func NewLoader(conn driver.Conn, config Config) *Loader {
	config.Lease = cmp.Or(config.Lease, DefaultLease)
	config.Group = cmp.Or(config.Group, "load")
	if config.Log == nil {
		config.Log = slog.New(slog.DiscardHandler)
	}
	if config.Observe == nil {
		config.Observe = func(string, int, time.Duration) {}
	}
	return &Loader{
		conn: conn, config: config, nonce: uuid.NewString(),
		uploads: newTable[uploadRow]("uploads"), renditions: newTable[renditionRow]("renditions"), deadLetters: newTable[deadLetterRow]("dead_letters"),
	}
}

// Assigned drops what is pending and reads, for each table, up to which offset
// of the held partitions it has its rows. It belongs after every assignment and
// every abort. Where an insert has had no definite answer it waits out the
// insert's lease first: after that the server refuses it.
func (l *Loader) Assigned(ctx context.Context, held []Partition) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.doubt.IsZero() {
		wait := time.Until(l.doubt.Add(l.config.Lease))
		l.config.Log.Info("waiting out the lease of an insert without an answer", slog.Duration("wait", wait))
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	for _, t := range []interface {
		resume(context.Context, driver.Conn, []Partition) error
	}{&l.uploads, &l.renditions, &l.deadLetters} {
		if err := t.resume(ctx, l.conn, held); err != nil {
			return err
		}
	}
	l.doubt, l.stale = time.Time{}, false
	return nil
}

// Developed adds the rows of a fate that was read at a position.
func (l *Loader) Developed(at event.Position, d *eventpb.Developed) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.uploads.wants(at) {
		l.uploads.rows = append(l.uploads.rows, uploadRowOf(at, d))
	}
	if d.Outcome == eventpb.Outcome_OUTCOME_ORIGINAL && l.renditions.wants(at) {
		l.renditions.rows = append(l.renditions.rows, renditionRowsOf(at, d)...)
	}
}

// DeadLetter adds the row of a dead letter that was read at a position.
func (l *Loader) DeadLetter(at event.Position, d *eventpb.DeadLetter) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.deadLetters.wants(at) {
		l.deadLetters.rows = append(l.deadLetters.rows, deadLetterRowOf(at, d))
	}
}

// Pending is the number of rows that wait for a flush.
func (l *Loader) Pending() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.uploads.rows) + len(l.renditions.rows) + len(l.deadLetters.rows)
}

// Flush inserts what is pending: one block a table. After an error nobody knows
// which tables have their rows; Assigned finds out.
func (l *Loader) Flush(ctx context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.uploads.rows)+len(l.renditions.rows)+len(l.deadLetters.rows) == 0 {
		return nil
	}
	if l.stale {
		return errors.New("load: flush: the flush before it failed, Assigned must come first")
	}
	began := time.Now()
	ctx, cancel := leaseContext(ctx, l.config.Lease)
	defer cancel()
	err := l.flush(ctx)
	l.stale = err != nil
	var refused *clickhouse.Exception
	if err != nil && !errors.As(err, &refused) {
		l.doubt = began
	}
	return err
}

func (l *Loader) flush(ctx context.Context) error {
	var now time.Time
	if err := l.conn.QueryRow(ctx, "SELECT now64(3, 'UTC')").Scan(&now); err != nil {
		return fmt.Errorf("load: ask the server's clock: %w", err)
	}
	by := lease{LoadedAt: now, LoadLease: now.Add(l.config.Lease)}
	if err := flush(ctx, l, &l.renditions, by, func(r *renditionRow) { r.lease = by }); err != nil {
		return err
	}
	if err := flush(ctx, l, &l.deadLetters, by, func(r *deadLetterRow) { r.lease = by }); err != nil {
		return err
	}
	// The fate comes last: who sees it finds its renditions and its reason.
	return flush(ctx, l, &l.uploads, by, func(r *uploadRow) { r.lease = by })
}

// leaseContext ends with the lease and carries no deadline: clickhouse-go makes
// a deadline into a max_execution_time of 5 s more, over the one set by hand,
// and the server would go on beyond the lease.
func leaseContext(parent context.Context, lease time.Duration) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(parent))
	stopParent := context.AfterFunc(parent, cancel)
	timer := time.AfterFunc(lease, cancel)
	return ctx, func() { stopParent(); timer.Stop(); cancel() }
}

// insertContext carries the settings of one insert. A server may insert
// asynchronously by default (26.7 does), which would split query id and insert.
func (l *Loader) insertContext(ctx context.Context, token string) context.Context {
	return clickhouse.Context(ctx, clickhouse.WithQueryID(l.config.Group+"-"+uuid.NewString()),
		clickhouse.WithSettings(clickhouse.Settings{
			"async_insert":               0,
			"insert_deduplication_token": token,
			"max_execution_time":         int(max(l.config.Lease/time.Second-1, 1)),
		}))
}

// flush inserts the pending rows of one table.
func flush[R located](ctx context.Context, l *Loader, t *table[R], by lease, stamp func(*R)) error {
	if len(t.rows) == 0 {
		return nil
	}
	for _, row := range t.rows {
		stamp(row)
	}
	began := time.Now()
	// The server gives up before the lease ends, so that the check at the end of
	// the lease is the last word, not the usual one.
	ctx = l.insertContext(ctx, l.nonce+" "+t.ranges())
	if err := t.insert(ctx, l.conn); err != nil {
		return fmt.Errorf("load: insert %d rows into %s under a lease until %s: %w", len(t.rows), t.name, by.LoadLease.Format(time.TimeOnly), err)
	}
	l.config.Observe(t.name, len(t.rows), time.Since(began))
	t.landed()
	return nil
}
