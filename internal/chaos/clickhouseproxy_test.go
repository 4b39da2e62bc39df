package chaos

import (
	"context"
	"net"
	"strings"
	"testing"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/tintype/tintype/internal/devstack/devtest"
)

// between puts a proxy between a client and a database with a table uploads, and
// returns the client behind it and one that goes around it.
func between(t *testing.T, database string) (p *clickHouseProxy, through, around driver.Conn) {
	t.Helper()
	devtest.Database(t, database)
	address := devtest.ClickHouse(t).Native()
	p = &clickHouseProxy{flights: map[net.Conn]bool{}}
	if err := p.listen(t.Context(), address); err != nil {
		t.Fatal(err)
	}
	p.run(t.Context(), p.serve)
	t.Cleanup(p.close)
	open := func(address string) driver.Conn {
		conn, err := clickhouse.Open(&clickhouse.Options{Addr: []string{address}, Auth: clickhouse.Auth{Database: database}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() }) // Some are cut off.
		return conn
	}
	through, around = open(p.addr()), open(address)
	if err := around.Exec(t.Context(), "CREATE TABLE uploads (n Int64, CONSTRAINT small CHECK n < 100) ENGINE = MergeTree ORDER BY n"); err != nil {
		t.Fatal(err)
	}
	return p, through, around
}

// insert inserts as the loader does.
func insert(ctx context.Context, conn driver.Conn, n int64) error {
	batch, err := conn.PrepareBatch(ctx, "INSERT INTO uploads")
	if err != nil {
		return err
	}
	if err := batch.Append(n); err != nil {
		return err
	}
	return batch.Send()
}

// holds fails unless the table has that many rows.
func holds(t *testing.T, conn driver.Conn, want uint64) {
	t.Helper()
	var got uint64
	if err := conn.QueryRow(t.Context(), "SELECT count() FROM uploads").Scan(&got); err != nil {
		t.Fatal(err)
	}
	if got != want {
		t.Errorf("the table has %d rows, not %d", got, want)
	}
}

// An insert is in flight from its statement to its answer, its rows can be held,
// and it has landed once the server has answered.
func TestInsertIsFollowed(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	p, through, around := between(t, "followed")
	if p.inFlight() {
		t.Error("an insert is in flight before the first")
	}
	held, landed := false, []string{}
	p.armRows(func() {
		held = true
		if !p.inFlight() {
			t.Error("an insert whose rows are on their way is not in flight")
		}
		holds(t, around, 0)
	})
	p.set(func(p *clickHouseProxy) {
		p.landed = func(table string) {
			landed = append(landed, table)
			holds(t, around, uint64(len(landed)))
		}
	})
	for n := range int64(2) {
		if err := insert(ctx, through, n); err != nil {
			t.Fatal(err)
		}
	}
	if got := strings.Join(landed, " "); got != "uploads uploads" || !held {
		t.Errorf("landed %q, held %v", got, held)
	}
	if err := insert(ctx, through, 100); err == nil {
		t.Error("the constraint took 100")
	}
	holds(t, through, 2)
	if torn := p.ends(ctx); torn != 0 || p.inFlight() || len(landed) != 2 {
		t.Errorf("after a refused insert: %d torn, in flight %v, landed %q", torn, p.inFlight(), landed)
	}
}

// The answer that is lost is that of an insert that has happened; the insert is
// torn, and the next one is not.
func TestAnswerIsLost(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	p, through, around := between(t, "lost")
	lost := false
	disarm := p.armLose(func() { lost = true })
	if err := insert(ctx, through, 1); err == nil {
		t.Error("the sender has an answer")
	}
	holds(t, around, 1)
	if torn := p.ends(ctx); !lost || disarm() || torn != 1 {
		t.Errorf("lost %v, %d torn", lost, torn)
	}
	if err := insert(ctx, through, 2); err != nil {
		t.Fatal(err)
	}
	holds(t, around, 2)
	if torn := p.ends(ctx); torn != 1 {
		t.Errorf("%d torn after an insert that was answered", torn)
	}
}
