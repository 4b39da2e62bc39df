package load

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/google/uuid"
)

// DefaultLease is how long after a flush began its rows may still be inserted.
const DefaultLease = 4 * time.Second

// Config says how a loader works.
type Config struct {
	// Group begins the query ids of its inserts, and names the owners.
	Group string
	// Instance names this process to people.
	Instance string
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

// A Loader gathers rows and inserts them. Developed, DeadLetter, Window, Late and
// Tick may be called concurrently; the others only while nothing else is.
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
	owner       ownership
	uploads     table
	renditions  table
	deadLetters table
	windows     table
	lateUploads table
	ticks       table
	refused     map[Partition]*refused
	// doubt is the end of the lease of an insert of which nobody knows whether it
	// will happen.
	doubt time.Time
	// stale is set by a flush that failed: what the tables hold is unknown until
	// Assigned has asked.
	stale bool
	pace  pace
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
	process := uuid.New()
	return &Loader{
		conn: conn, config: config, nonce: process.String(), owner: ownership{conn: conn, config: config, process: process},
		uploads: newTable("uploads", new(uploadRow)), renditions: newTable("renditions", new(renditionRow)),
		deadLetters: newTable("dead_letters", new(deadLetterRow)), windows: newTable("windows", new(windowRow)),
		lateUploads: newTable("late_uploads", new(lateRow)), ticks: newTable("ticks", new(tickRow)), refused: map[Partition]*refused{},
	}
}

// tables are in the order in which a flush writes them. The fate comes last: who
// sees it finds its renditions and its reason.
func (l *Loader) tables() []*table {
	return []*table{&l.renditions, &l.deadLetters, &l.windows, &l.lateUploads, &l.ticks, &l.uploads}
}

// Assigned drops what is pending, makes this process the owner of the held
// partitions and reads, for each table, up to which offset of them it has its
// rows. It belongs after every assignment and every abort. Where an insert of
// another owner, or one of its own without an answer, may still land, it waits for
// that first: at most a lease and the time of an insert. All of it is bounded.
func (l *Loader) Assigned(ctx context.Context, held []Partition) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.keepRefused(held)
	ctx, cancel := context.WithTimeout(ctx, 3*l.config.Lease+3*insertPatience)
	defer cancel()
	if err := l.settleDoubt(ctx); err != nil {
		return err
	}
	if err := l.owner.acquire(ctx, held); err != nil {
		return err
	}
	for _, t := range l.tables() {
		if err := t.resume(ctx, l.conn, held); err != nil {
			return err
		}
	}
	l.stale = false
	return nil
}

// settleDoubt waits until an insert without an answer has landed or never will.
func (l *Loader) settleDoubt(ctx context.Context) error {
	if l.doubt.IsZero() {
		return nil
	}
	at, err := now(ctx, l.conn)
	if err != nil {
		return err
	}
	if wait := l.doubt.Sub(at); wait >= 0 && wait <= l.config.Lease {
		l.config.Log.Info("waiting out the lease of an insert without an answer", slog.Duration("wait", wait))
		if err := sleep(ctx, wait+time.Millisecond); err != nil {
			return err
		}
	}
	if err := l.owner.awaitInserts(ctx, []uuid.UUID{l.owner.process}); err != nil {
		return err
	}
	l.doubt = time.Time{}
	return nil
}

// Revoked tells the next owner of partitions, in ClickHouse, that it need not wait.
// An insert whose end is not known speaks for itself: then nothing is told. It
// belongs to where partitions are given up, after the last flush.
func (l *Loader) Revoked(ctx context.Context, partitions []Partition) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.doubt.IsZero() {
		return nil
	}
	return l.owner.release(ctx, partitions)
}

// Close gives up all partitions.
func (l *Loader) Close(ctx context.Context) error {
	l.mu.Lock()
	held := slices.Collect(maps.Keys(l.owner.generations))
	l.mu.Unlock()
	return l.Revoked(ctx, held)
}

// Pending is the number of rows that wait for a flush.
func (l *Loader) Pending() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.pending()
}

func (l *Loader) pending() int {
	n := 0
	for _, t := range l.tables() {
		n += len(t.rows)
	}
	return n
}

// Flush inserts what is pending: one block a table. After an error nobody knows
// which tables have their rows; Assigned finds out. See [IsPermanent] for the
// errors that retrying does not heal.
func (l *Loader) Flush(ctx context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.pending() == 0 {
		return nil
	}
	if l.stale {
		return errors.New("load: flush: the flush before it failed, Assigned must come first")
	}
	l.stale = true
	if err := l.pace.await(ctx); err != nil {
		return err
	}
	for _, t := range l.tables() {
		if err := l.flush(ctx, t); err != nil {
			if IsOverload(err) {
				return fmt.Errorf("load: ClickHouse has no room, the next flush waits for %v: %w", l.pace.slower(), err)
			}
			return err
		}
	}
	l.pace.faster()
	l.stale = false
	return nil
}

// flush inserts the pending rows of one table. A block that is refused is taken
// apart.
func (l *Loader) flush(ctx context.Context, t *table) error {
	if len(t.rows) == 0 {
		return nil
	}
	err := l.insert(ctx, t, t.rows)
	if isRefusal(err) {
		return l.sift(ctx, t)
	}
	t.rows = nil
	return err
}

// insert inserts rows of one table as one block.
func (l *Loader) insert(parent context.Context, t *table, rows []row) error {
	by, err := l.owner.hold(parent)
	if err != nil {
		return err
	}
	for _, r := range rows {
		r.grant(by)
	}
	began := time.Now()
	ctx, cancel := leaseContext(parent, l.config.Lease)
	defer cancel()
	// The server gives up before the lease ends, so that the check at the end of
	// the lease is the last word, not the usual one.
	sent, err := t.insert(l.insertContext(ctx, l.nonce+" "+ranges(t.name, rows)), l.conn, rows)
	if sent && isRefusal(err) {
		err = l.taken(parent, t, rows, err)
	}
	if err != nil {
		if sent && !isDefinite(err) {
			l.doubt = by.LoadLease
		}
		return fmt.Errorf("load: insert %d rows into %s under a lease until %s: %w", len(rows), t.name, by.LoadLease.Format(time.TimeOnly), err)
	}
	l.config.Observe(t.name, len(rows), time.Since(began))
	t.landed(rows)
	return nil
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
	return clickhouse.Context(ctx, clickhouse.WithQueryID(l.owner.queryPrefix(l.owner.process)+uuid.NewString()),
		clickhouse.WithSettings(clickhouse.Settings{
			"async_insert":               0,
			"insert_deduplication_token": token,
			"max_execution_time":         int(max(l.config.Lease/time.Second-1, 1)),
		}))
}
