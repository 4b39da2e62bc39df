package load

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/google/uuid"
)

// ownership says by what right this process inserts for its partitions.
//
// A writer first writes that it holds its partitions at a moment, then looks
// whether it is their newest owner still, and only then inserts rows whose lease
// ends with that moment's. A new owner first writes that it has acquired them, then
// looks who else holds them, and waits out those leases. So either the old one
// sees the new one, or the new one waits for the old one; a process that was
// stopped in between, for however long, can add nothing. A writer that was dead
// for a lease or longer costs no wait at all.
//
// All times are the server's.
type ownership struct {
	conn   driver.Conn
	config Config
	// process tells this writer from its predecessors on the same instance.
	process uuid.UUID
	// generations are what this process owns.
	generations map[Partition]uint64
	// held is when it last wrote that it holds them, and found that it does.
	held time.Time
}

// A claimant is a writer that has a partition, or had it.
type claimant struct {
	generation uint64
	process    uuid.UUID
	instance   string
	// last is when it last said that it holds the partition.
	last time.Time
	// over: nothing of it lands any more.
	over bool
}

// newer orders the claimants of one partition.
func (c claimant) newer(other claimant) bool {
	if c.generation != other.generation {
		return c.generation > other.generation
	}
	return bytes.Compare(c.process[:], other.process[:]) > 0
}

const (
	// ownerPause is how often a new owner looks for what it waits for.
	ownerPause = 50 * time.Millisecond
	// insertPatience is how long it waits for inserts that the server has let in to
	// come to their end.
	insertPatience = 10 * time.Second
)

// now asks the server's clock.
func now(ctx context.Context, conn driver.Conn) (t time.Time, err error) {
	if err := conn.QueryRow(ctx, "SELECT now64(3, 'UTC')").Scan(&t); err != nil {
		return t, fmt.Errorf("load: ask the server's clock: %w", err)
	}
	return t, nil
}

// claimants reads who has, or had, partitions.
func (o *ownership) claimants(ctx context.Context, held []Partition) (map[Partition][]claimant, error) {
	where, args := among(held)
	rows, err := o.conn.Query(ctx, `SELECT load_topic_id, load_partition, generation, process, any(instance), maxIf(at, event IN ('acquired', 'held')), countIf(event IN ('released', 'fenced')) > 0
		FROM load_owners WHERE load_group = ? AND `+where+` GROUP BY load_topic_id, load_partition, generation, process`, append([]any{o.config.Group}, args...)...)
	if err != nil {
		return nil, fmt.Errorf("load: read load_owners: %w", err)
	}
	all := map[Partition][]claimant{}
	for rows.Next() {
		var (
			p Partition
			c claimant
		)
		if err := rows.Scan(&p.TopicID, &p.Partition, &c.generation, &c.process, &c.instance, &c.last, &c.over); err != nil {
			return nil, errors.Join(fmt.Errorf("load: read load_owners: %w", err), rows.Close())
		}
		all[p] = append(all[p], c)
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return nil, fmt.Errorf("load: read load_owners: %w", err)
	}
	return all, nil
}

// write adds one row a partition about this process, or about the claimants.
func (o *ownership) write(ctx context.Context, event string, at time.Time, about map[Partition][]claimant) error {
	ctx = clickhouse.Context(ctx, clickhouse.WithSettings(clickhouse.Settings{"async_insert": 0}))
	batch, err := o.conn.PrepareBatch(ctx, "INSERT INTO load_owners (load_group, load_topic_id, load_partition, generation, process, instance, event, at)")
	if err != nil {
		return fmt.Errorf("load: write %s into load_owners: %w", event, err)
	}
	for p, claimants := range about {
		for _, c := range claimants {
			if err := batch.Append(o.config.Group, p.TopicID, p.Partition, c.generation, c.process, c.instance, event, at); err != nil {
				return errors.Join(fmt.Errorf("load: write %s into load_owners: %w", event, err), batch.Abort())
			}
		}
	}
	if err := batch.Send(); err != nil {
		return fmt.Errorf("load: write %s into load_owners: %w", event, err)
	}
	return nil
}

// mine is this process as the claimant of what it owns.
func (o *ownership) mine() map[Partition][]claimant {
	about := make(map[Partition][]claimant, len(o.generations))
	for p, generation := range o.generations {
		about[p] = []claimant{{generation: generation, process: o.process, instance: o.config.Instance}}
	}
	return about
}

// acquire makes this process the owner of partitions, and returns when nothing of
// an earlier owner can land any more. After an abort, with nothing changed, that
// is at once.
func (o *ownership) acquire(ctx context.Context, held []Partition) error {
	owned := make(map[Partition]uint64, len(held))
	if len(held) == 0 {
		o.generations = owned
		return nil
	}
	at, err := now(ctx, o.conn)
	if err != nil {
		return err
	}
	all, err := o.claimants(ctx, held)
	if err != nil {
		return err
	}
	acquired := map[Partition][]claimant{}
	for _, p := range held {
		var newest claimant
		for _, c := range all[p] {
			if c.newer(newest) {
				newest = c
			}
		}
		if newest.process == o.process && !newest.over && o.generations[p] == newest.generation {
			owned[p] = newest.generation
			continue
		}
		// Never less than an older one that the table has forgotten.
		owned[p] = max(newest.generation+1, uint64(at.UnixMilli()))
		acquired[p] = []claimant{{generation: owned[p], process: o.process, instance: o.config.Instance}}
	}
	o.generations = nil
	if len(acquired) > 0 {
		o.held = time.Time{}
		if err := o.write(ctx, "acquired", at, acquired); err != nil {
			return err
		}
		if err := o.await(ctx, slices.Collect(maps.Keys(acquired))); err != nil {
			return err
		}
	}
	o.generations = owned
	return nil
}

// await waits until nothing of another writer can land in partitions. What this
// process has itself in flight it knows.
func (o *ownership) await(ctx context.Context, partitions []Partition) error {
	ctx, cancel := context.WithTimeout(ctx, 2*o.config.Lease+insertPatience)
	defer cancel()
	waited := false
	for {
		// First what is there, then the clock: a release is seen, or waited for.
		all, err := o.claimants(ctx, partitions)
		if err != nil {
			return err
		}
		at, err := now(ctx, o.conn)
		if err != nil {
			return err
		}
		dead := map[Partition][]claimant{}
		var (
			until time.Time
			whose string
		)
		for p, claimants := range all {
			for _, c := range claimants {
				if c.over || c.process == o.process {
					continue
				}
				dead[p] = append(dead[p], c)
				if end := c.last.Add(o.config.Lease); end.After(until) {
					until, whose = end, c.instance
				}
			}
		}
		if len(dead) == 0 {
			return nil
		}
		if !at.After(until) {
			if !waited {
				o.config.Log.Info("waiting out the lease of an owner that has not released its partitions", slog.String("owner", whose), slog.Duration("wait", until.Sub(at)))
				waited = true
			}
			if err := sleep(ctx, min(ownerPause, until.Sub(at)+time.Millisecond)); err != nil {
				return fmt.Errorf("load: wait out the lease of instance %s: %w", whose, err)
			}
			continue
		}
		if err := o.awaitInserts(ctx, processesOf(dead)); err != nil {
			return err
		}
		return o.write(ctx, "fenced", at, dead)
	}
}

func processesOf(claimants map[Partition][]claimant) []uuid.UUID {
	seen := map[uuid.UUID]bool{}
	for _, of := range claimants {
		for _, c := range of {
			seen[c.process] = true
		}
	}
	return slices.Collect(maps.Keys(seen))
}

// awaitInserts ends the inserts of processes whose leases are over, and waits until
// the server works on none: one that was let in before its lease ended could land
// still, and one whose process is stopped amid its rows would wait for the rest.
func (o *ownership) awaitInserts(ctx context.Context, processes []uuid.UUID) error {
	ctx, cancel := context.WithTimeout(ctx, insertPatience)
	defer cancel()
	own, tagged := make([]string, 0, len(processes)), make([]string, 0, len(processes))
	for _, process := range processes {
		own = append(own, o.queryPrefix(process))
		tagged = append(tagged, " "+o.queryPrefix(process)) // The embedded server has the client's query id behind its session's.
	}
	for {
		var running []string
		err := o.conn.QueryRow(ctx, `SELECT groupArray(query_id) FROM system.processes WHERE query_kind = 'Insert'
			AND (arrayExists(p -> startsWith(query_id, p), ?) OR arrayExists(p -> position(Settings['log_comment'], p) > 0, ?))`, own, tagged).Scan(&running)
		if err != nil {
			return fmt.Errorf("load: look for inserts in flight: %w", err)
		}
		if len(running) == 0 {
			return nil
		}
		if err := o.conn.Exec(ctx, "KILL QUERY WHERE query_id IN ? ASYNC", running); err != nil { // A user without the right has to wait.
			o.config.Log.Warn("an insert in flight cannot be ended", slog.Any("error", err))
		}
		if err := sleep(ctx, ownerPause); err != nil {
			return fmt.Errorf("load: wait for %d inserts in flight, such as %s: %w", len(running), running[0], err)
		}
	}
}

// queryPrefix begins the query ids of a process's inserts.
func (o *ownership) queryPrefix(process uuid.UUID) string {
	return o.config.Group + "-" + process.String() + "-"
}

// hold returns the lease under which rows may be inserted from now on.
func (o *ownership) hold(ctx context.Context) (lease, error) {
	if len(o.generations) == 0 {
		return lease{}, errors.New("load: insert rows: this process owns no partition")
	}
	at, err := now(ctx, o.conn)
	if err != nil {
		return lease{}, err
	}
	// A lease with most of its time left serves more than one insert.
	if o.held.IsZero() || at.Before(o.held) || at.Sub(o.held) > o.config.Lease/4 {
		o.held = time.Time{}
		if err := o.write(ctx, "held", at, o.mine()); err != nil {
			return lease{}, err
		}
		all, err := o.claimants(ctx, slices.Collect(maps.Keys(o.generations)))
		if err != nil {
			return lease{}, err
		}
		for p, claimants := range all {
			mine := claimant{generation: o.generations[p], process: o.process}
			for _, c := range claimants {
				if c.newer(mine) {
					return lease{}, fmt.Errorf("load: insert rows of %s/%d: instance %s owns the partition by now", p.TopicID, p.Partition, c.instance)
				}
			}
		}
		o.held = at
	}
	return lease{LoadedAt: at, LoadLease: o.held.Add(o.config.Lease)}, nil
}

// release tells the next owner that nothing of this one lands any more.
func (o *ownership) release(ctx context.Context, partitions []Partition) error {
	about := o.mine()
	maps.DeleteFunc(about, func(p Partition, _ []claimant) bool { return !slices.Contains(partitions, p) })
	if len(about) == 0 {
		return nil
	}
	for p := range about {
		delete(o.generations, p)
	}
	at, err := now(ctx, o.conn)
	if err != nil {
		return err
	}
	return o.write(ctx, "released", at, about)
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
