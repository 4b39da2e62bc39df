package load

import (
	"context"
	"errors"
	"io/fs"
	"strings"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/google/uuid"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/database"
)

// assigned is a loader of an instance which was given partition 0.
func assigned(t *testing.T, conn driver.Conn, instance string, lease time.Duration) *Loader {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	l := NewLoader(conn, Config{Group: "test", Instance: instance, Lease: lease})
	if err := l.Assigned(ctx, held(0)); err != nil {
		t.Fatal(err)
	}
	return l
}

// endOf is the end of the lease of the newest row of uploads.
func endOf(t *testing.T, conn driver.Conn) (end time.Time) {
	t.Helper()
	if err := conn.QueryRow(t.Context(), "SELECT max(load_lease) FROM uploads").Scan(&end); err != nil {
		t.Fatal(err)
	}
	return end
}

func add(t *testing.T, l *Loader, offsets ...int64) {
	t.Helper()
	for _, o := range offsets {
		added(t, l, at(developedID, 0, o), duplicate(0, o))
	}
}

// A new owner waits for one that has not released its partitions until the last
// lease of that one is over.
func TestANewOwnerWaitsForALeaseThatMayBeUsed(t *testing.T) {
	conn := fresh(t)
	const lease = time.Second
	dead := assigned(t, conn, "dead", lease)
	add(t, dead, 0)
	flushed(t, dead)
	end := endOf(t, conn)
	heir := assigned(t, conn, "heir", lease)
	if at, err := now(t.Context(), conn); err != nil || at.Before(end) {
		t.Errorf("the heir went on at %v, before the lease ended at %v (%v)", at, end, err)
	}
	if n := count(t, conn, "SELECT count() FROM load_owners WHERE event = 'fenced' AND instance = 'dead'"); n != 2 {
		t.Errorf("%d partitions of the dead one are fenced, want 2", n)
	}
	add(t, heir, 0, 1)
	flushed(t, heir)
	if n := count(t, conn, "SELECT count() FROM uploads"); n != 2 {
		t.Errorf("%d uploads, want 2", n)
	}
}

// A new owner does not wait for one that has released its partitions, nor for one
// that has been silent for longer than a lease.
func TestANewOwnerWaitsForNothingElse(t *testing.T) {
	conn := fresh(t)
	const lease = time.Hour // Nobody waits for one of these.
	first := assigned(t, conn, "first", lease)
	add(t, first, 0)
	flushed(t, first)
	if err := first.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	second := assigned(t, conn, "second", lease)
	if n := count(t, conn, "SELECT count() FROM load_owners WHERE event = 'fenced'"); n != 0 {
		t.Errorf("%d partitions were fenced that had been released", n)
	}
	add(t, second, 0, 1)
	flushed(t, second)
	if err := second.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	at0, err := now(t.Context(), conn)
	if err != nil {
		t.Fatal(err)
	}
	silent := map[Partition][]claimant{}
	for _, p := range held(0) {
		silent[p] = []claimant{{generation: 1, process: uuid.New(), instance: "silent"}}
	}
	if err := second.owner.write(t.Context(), "held", at0.Add(-lease-time.Second), silent); err != nil {
		t.Fatal(err)
	}
	assigned(t, conn, "third", lease)
	if n := count(t, conn, "SELECT count() FROM load_owners WHERE event = 'fenced' AND instance = 'silent'"); n != 2 {
		t.Errorf("%d partitions of the silent one are fenced, want 2", n)
	}
}

// A process that was stopped with records in hand adds nothing when it comes
// back, however much later: not by an insert that it begins then, nor by one that
// it had begun.
func TestAStoppedOwnerIsFenced(t *testing.T) {
	conn := fresh(t)
	const lease = 400 * time.Millisecond
	stopped := assigned(t, conn, "stopped", lease)
	add(t, stopped, 0, 1)
	by, err := stopped.owner.hold(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	heir := assigned(t, conn, "heir", lease)
	add(t, heir, 0, 1)
	flushed(t, heir)
	if err := insertUnder(t.Context(), stopped, &stopped.uploads, by); !isExpired(err) {
		t.Errorf("the insert that it had begun ended with %v, want an expired lease", err)
	}
	if err := stopped.Flush(t.Context()); err == nil || !strings.Contains(err.Error(), "instance heir owns the partition") || IsPermanent(err) {
		t.Errorf("the flush that it began ended with %v", err)
	}
	if n := count(t, conn, "SELECT count() FROM uploads"); n != 2 {
		t.Errorf("%d uploads, want 2", n)
	}
	// Whoever is assigned anew takes over, and finds what is there.
	if err := stopped.Assigned(t.Context(), held(0)); err != nil {
		t.Fatal(err)
	}
	add(t, stopped, 0, 1)
	if n := stopped.Pending(); n != 0 {
		t.Errorf("%d rows are pending that the heir has inserted", n)
	}
}

// An abort changes no owner, and costs no row.
func TestAnAbortKeepsTheOwner(t *testing.T) {
	conn := fresh(t)
	l := assigned(t, conn, "one", 0)
	for range 3 {
		if err := l.Assigned(t.Context(), held(0)); err != nil {
			t.Fatal(err)
		}
	}
	if n := count(t, conn, "SELECT count() FROM load_owners"); n != 2 {
		t.Errorf("%d rows of load_owners, want one a partition", n)
	}
	if err := l.Assigned(t.Context(), held(0, 1)); err != nil {
		t.Fatal(err)
	}
	if n := count(t, conn, "SELECT count() FROM load_owners"); n != 4 {
		t.Errorf("%d rows of load_owners, want one a partition", n)
	}
}

// An insert that the server has let in is over before its heir goes on: nothing of
// it lands afterwards.
func TestInsertsInFlightAreWaitedFor(t *testing.T) {
	conn := fresh(t)
	if err := conn.Exec(t.Context(), "CREATE TABLE slow (x UInt8, CONSTRAINT s CHECK sleepEachRow(1) = 0) ENGINE = MergeTree ORDER BY x"); err != nil {
		t.Fatal(err)
	}
	l := loader(t, conn, 0)
	id := l.owner.queryPrefix(l.owner.process) + "slow"
	done := make(chan error, 1)
	go func() {
		batch, err := conn.PrepareBatch(clickhouse.Context(context.Background(), clickhouse.WithQueryID(id)), "INSERT INTO slow")
		if err == nil {
			err = errors.Join(batch.Append(uint8(1)), batch.Append(uint8(2)), batch.Send())
		}
		done <- err
	}()
	deadline := time.After(10 * time.Second)
	for running := uint64(0); running == 0; {
		select {
		case <-deadline:
			t.Fatal("the insert does not begin")
		case <-time.After(10 * time.Millisecond):
			running = count(t, conn, "SELECT count() FROM system.processes WHERE query_id = ? OR endsWith(Settings['log_comment'], ?)", id, id)
		}
	}
	if err := l.owner.awaitInserts(t.Context(), []uuid.UUID{uuid.New(), l.owner.process}); err != nil {
		t.Fatal(err)
	}
	if n := count(t, conn, "SELECT count() FROM system.processes WHERE query_id = ? OR endsWith(Settings['log_comment'], ?)", id, id); n != 0 {
		t.Error("the insert is still running")
	}
	landed := count(t, conn, "SELECT count() FROM slow")
	err := <-done
	if n := count(t, conn, "SELECT count() FROM slow"); n != landed || (err == nil) != (n == 2) {
		t.Errorf("%d rows had landed, now there are %d; the insert ended with %v", landed, n, err)
	}
}

// A database of the first version is brought up to date in place.
func TestMigrateFromTheFirstVersion(t *testing.T) {
	conn, options := freshOptions(t)
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		t.Fatal(err)
	}
	db := clickhouse.OpenDB(options)
	provider, err := goose.NewProvider(database.DialectClickHouse, db, files)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := provider.DownTo(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if err := conn.Exec(t.Context(), "INSERT INTO dead_letters (upload_id, load_lease) VALUES ('old', now64(3) + 100)"); err != nil {
		t.Fatal(err)
	}
	if err := CheckSchema(t.Context(), conn); err == nil {
		t.Error("the first version passed as this one")
	}
	if err := Migrate(t.Context(), options); err != nil {
		t.Fatal(err)
	}
	if err := CheckSchema(t.Context(), conn); err != nil {
		t.Error(err)
	}
	if n := count(t, conn, "SELECT count() FROM dead_letters WHERE upload_id = 'old'"); n != 1 {
		t.Error("an old row is gone")
	}
	l := loader(t, conn, 0)
	add(t, l, 0)
	flushed(t, l)
}
