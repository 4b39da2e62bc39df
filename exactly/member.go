package exactly

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// topicPartition names a partition of an input.
type topicPartition struct {
	topic     string
	partition int32
}

// committedOffset is what the group holds for a partition.
type committedOffset struct {
	offset   int64 // -1: none
	metadata string
}

// member is this process in the group: the client of the transactions, and what
// the group has assigned to it. It lives as long as goka consumes.
type member struct {
	a    *Adapter
	link link
	ctx  context.Context

	// entered is the generation whose dead were looked for and whose inputs were
	// checked; ids are the topic ids of those inputs and of the table. They belong to
	// the goroutine of Consume.
	entered int
	ids     map[string]uuid.UUID

	// changed holds a token when the assignment may have changed.
	changed chan struct{}

	mu         sync.Mutex
	generation int
	claims     map[string][]int32
	committed  map[topicPartition]committedOffset
	// failed is an error of the group that joining again cannot heal.
	failed error
	// flush is closed when the hook BeforeCommit that runs returns; nil: none runs.
	flush chan struct{}
}

// flushing says that the hook BeforeCommit runs until the returned function is
// called.
func (m *member) flushing() (done func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	flush := make(chan struct{})
	m.flush = flush
	return func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.flush = nil
		close(flush)
	}
}

// joinGroup makes the client of the group.
func joinGroup(ctx context.Context, a *Adapter, group string, topics []string) (*member, error) {
	m := &member{a: a, ctx: ctx, changed: make(chan struct{}, 1), claims: map[string][]int32{}, committed: map[topicPartition]committedOffset{}, ids: map[string]uuid.UUID{}}
	cfg := &a.cfg
	opts := append(cfg.clientOptions("exactly-"+cfg.Instance),
		kgo.ConsumerGroup(group), kgo.ConsumeTopics(topics...),
		// A restart takes its dead predecessor's place at once, without a rebalance
		// (KIP-345): its partitions, and by the producer id its transaction.
		kgo.InstanceID(cfg.Instance), kgo.RebalanceTimeout(cfg.SessionTimeout),
		kgo.SessionTimeout(cfg.SessionTimeout), kgo.HeartbeatInterval(cfg.HeartbeatInterval),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		// A new group starts at the beginning; an offset that is gone is an error.
		kgo.ConsumeStartOffset(kgo.NewOffset().AtStart()), kgo.ConsumeResetOffset(kgo.NoResetOffset()),
		// Partition i of all inputs goes to one member; stop-the-world, since a
		// transaction spans all partitions anyway.
		kgo.Balancers(kgo.RangeBalancer()),
		kgo.RecordPartitioner(kgo.BasicConsistentPartitioner(func(string) func(*kgo.Record, int) int {
			return func(r *kgo.Record, n int) int { return int(a.route(r.Key, n)) }
		})),
		kgo.ProducerBatchMaxBytes(cfg.MaxMessageBytes+batchOverhead), kgo.ProducerLinger(0),
		kgo.FetchMaxWait(500*time.Millisecond), kgo.FetchMaxBytes(fetchBytes), kgo.FetchMaxPartitionBytes(fetchBytes),
		kgo.WithHooks(m),
		kgo.OnPartitionsAssigned(m.assigned), kgo.OnPartitionsRevoked(m.revoked), kgo.OnPartitionsLost(m.revoked), kgo.OnOffsetsFetched(m.fetched),
	)
	if cfg.Delivery != ExactlyOnce {
		client, err := kgo.NewClient(append(opts, kgo.DisableAutoCommit())...)
		if err != nil {
			return nil, permanent(fmt.Errorf("exactly: create client of the group: %w", err))
		}
		m.link = plain{client}
		return m, nil
	}
	txn, err := kgo.NewGroupTransactSession(append(opts, kgo.TransactionalID(transactionalID(group, cfg.Instance)), kgo.TransactionTimeout(cfg.TransactionTimeout))...)
	if err != nil {
		return nil, permanent(fmt.Errorf("exactly: create transactional client: %w", err))
	}
	m.link = transactional{txn, transactionalID(group, cfg.Instance), new(atomic.Bool)}
	if err := m.fence(txn); err != nil {
		txn.Close()
		return nil, err
	}
	return m, nil
}

// fetchBytes bounds one fetch, and so what the client holds of each broker.
const fetchBytes = 8 << 20

// fence asks for the producer id, which fences a predecessor with the same
// transactional id and aborts what it left open, so that no table is recovered
// past a transaction that might still commit.
func (m *member) fence(txn *kgo.GroupTransactSession) error {
	ctx, cancel := context.WithTimeout(m.ctx, adminTimeout)
	defer cancel()
	if err := txn.Begin(); err != nil {
		return fmt.Errorf("exactly: begin the first transaction: %w", err)
	}
	if _, _, err := txn.Client().ProducerID(ctx); err != nil {
		return fmt.Errorf("exactly: initialise the producer id: %w", err)
	}
	if _, err := txn.End(ctx, kgo.TryAbort); err != nil {
		return fmt.Errorf("exactly: end the first transaction: %w", err)
	}
	return nil
}

// leave gives the partitions to the others at once; a static member keeps its
// place otherwise until its session times out.
func (m *member) leave(group string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(m.ctx), leaveTimeout)
	defer cancel()
	_, err := m.a.admin.LeaveGroup(ctx, kadm.LeaveGroup(group).Reason("the process drains").InstanceIDs(m.a.cfg.Instance))
	if err != nil && !IsPermanent(err) { // Without the right to be in the group it is in none.
		m.a.cfg.Log.Warn("could not leave the group, its session has to time out", slog.Any("error", err))
	}
}

// leaveTimeout bounds a courtesy to the other members.
const leaveTimeout = 5 * time.Second

// context ends with the member; a nil member's never does.
func (m *member) context() context.Context {
	if m == nil {
		return context.Background()
	}
	return m.ctx
}

// holds reports whether a partition of the inputs is assigned.
func (m *member) holds(partition int32) bool {
	if m == nil {
		return false
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, partitions := range m.claims {
		if slices.Contains(partitions, partition) {
			return true
		}
	}
	return false
}

func (m *member) notify() {
	select {
	case m.changed <- struct{}{}:
	default:
	}
}

func (m *member) assigned(_ context.Context, _ *kgo.Client, added map[string][]int32) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.generation++
	for topic, partitions := range added {
		m.claims[topic] = append(m.claims[topic], partitions...)
	}
	m.notify()
}

// revoked forgets all: the range balancer takes everything away before it
// assigns anew. The next owner gets the partitions once it returns, which is when
// a flush in flight has returned: then what it wrote is there to be found.
func (m *member) revoked(_ context.Context, _ *kgo.Client, taken map[string][]int32) {
	m.mu.Lock()
	m.generation++
	clear(m.claims)
	clear(m.committed)
	if len(taken) > 0 {
		m.a.cfg.Status.rebalances.Add(1)
	}
	flush := m.flush
	m.mu.Unlock()
	m.notify()
	if flush == nil {
		return
	}
	patience := time.NewTimer(m.a.cfg.flushPatience())
	defer patience.Stop()
	select {
	case <-flush:
	case <-patience.C:
	}
}

// fetched takes the committed offsets with their metadata.
func (m *member) fetched(ctx context.Context, _ *kgo.Client, response *kmsg.OffsetFetchResponse) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	add := func(topic string, partition int32, offset int64, metadata *string, code int16) error {
		if err := kerr.ErrorForCode(code); err != nil {
			return err
		}
		c := committedOffset{offset: offset}
		if metadata != nil {
			c.metadata = *metadata
		}
		m.committed[topicPartition{topic, partition}] = c
		return nil
	}
	var errs []error
	for _, t := range response.Topics {
		for _, p := range t.Partitions {
			errs = append(errs, add(t.Topic, p.Partition, p.Offset, p.Metadata, p.ErrorCode))
		}
	}
	for _, g := range response.Groups {
		for _, t := range g.Topics {
			for _, p := range t.Partitions {
				errs = append(errs, add(t.Topic, p.Partition, p.Offset, p.Metadata, p.ErrorCode))
			}
		}
	}
	m.notify()
	return errors.Join(errs...)
}

var _ kgo.HookGroupManageError = (*member)(nil)

// OnGroupManageError hears of every try to join the group that failed; the client
// tries again, whatever the error, and tells it only to who polls.
func (m *member) OnGroupManageError(err error) {
	if !IsPermanent(err) {
		return
	}
	m.mu.Lock()
	m.failed = fmt.Errorf("exactly: join the group: %w", err)
	m.mu.Unlock()
	m.notify()
}

// An assignment is what a session works on.
type assignment struct {
	generation int
	claims     map[string][]int32
	committed  map[topicPartition]committedOffset
}

// assignment returns what is assigned once its offsets are known.
func (m *member) assignment() (assignment, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	as := assignment{generation: m.generation, claims: map[string][]int32{}, committed: map[topicPartition]committedOffset{}}
	for topic, partitions := range m.claims {
		if len(partitions) == 0 {
			continue
		}
		as.claims[topic] = append([]int32(nil), partitions...)
		for _, p := range partitions {
			c, ok := m.committed[topicPartition{topic, p}]
			if !ok {
				return assignment{}, false
			}
			as.committed[topicPartition{topic, p}] = c
		}
	}
	return as, len(as.claims) > 0
}

// current reports whether an assignment still stands.
func (m *member) current(as assignment) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.generation == as.generation
}

// commitTo remembers what a transaction committed.
func (m *member) commitTo(as assignment, next map[topicPartition]committedOffset) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.generation != as.generation {
		return
	}
	maps.Copy(m.committed, next)
}

// awaitAssignment waits until there is something to work on; false when ctx
// ended first.
func (m *member) awaitAssignment(ctx context.Context) (assignment, bool, error) {
	for {
		if as, ok := m.assignment(); ok {
			return as, true, nil
		}
		m.mu.Lock()
		m.a.cfg.Status.ready.Store(m.generation > 0 && len(m.claims) == 0) // In the group, with nothing to do.
		failed := m.failed
		m.mu.Unlock()
		if failed != nil {
			return assignment{}, false, failed
		}
		select {
		case <-ctx.Done():
			return assignment{}, false, nil
		case <-m.changed:
		}
	}
}
