package exactly

import (
	"context"
	"errors"
	"fmt"
	"hash"
	"maps"
	"slices"
	"sync"

	"github.com/IBM/sarama"
	"github.com/lovoo/goka"
	"github.com/lovoo/goka/storage"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Adapter makes the goka builders of one group member. It serves one goka
// processor at a time. Most programs use Run, which makes its own.
type Adapter struct {
	cfg   Config
	route func(key []byte, n int) int32

	client *kgo.Client // for everything but the transactions and table reads
	admin  *kadm.Client

	mu     sync.Mutex
	graph  *goka.GroupGraph
	table  string // the group table's topic, or ""
	dir    *stateDir
	topics map[string]topicInfo
	stores map[int32]*store // open partitions of the group's table
	spread int              // the table's partition count, once a store is open
	member *member          // while goka consumes
	cause  error            // first error of this attempt, which goka would hide in a text
	// refused is the first of the caller's options that is not supported.
	refused error
	budget  *budget // used by the goroutine of Consume alone
}

// New checks cfg and connects to the cluster. Close the adapter after the
// processor has returned.
func New(cfg Config) (*Adapter, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	a := &Adapter{cfg: cfg, route: partitioner(cfg.Hasher), topics: map[string]topicInfo{}, stores: map[int32]*store{}}
	a.client, err = kgo.NewClient(cfg.clientOptions("exactly-" + cfg.Instance)...)
	if err != nil {
		return nil, permanent(fmt.Errorf("exactly: create client: %w", err))
	}
	a.admin = kadm.NewClient(a.client)
	a.budget = newBudget(cfg)
	tables := a.openTable
	cfg.Status.tables.Store(&tables)
	return a, nil
}

// Close unlocks the state directory and closes the connections.
func (a *Adapter) Close() error {
	a.mu.Lock()
	dir := a.dir
	a.dir = nil
	a.mu.Unlock()
	a.client.Close()
	if dir == nil {
		return nil
	}
	if err := dir.close(); err != nil {
		return fmt.Errorf("exactly: unlock state directory: %w", err)
	}
	return nil
}

// Options returns what goka.NewProcessor needs, between the caller's defaults
// (which may come before) and anything else: the builders must be the last ones.
// Cancelling the context of the processor's Run drains it; goka closes looked-up
// tables at once.
func (a *Adapter) Options() []goka.ProcessorOption {
	hasher := a.cfg.Hasher
	if hasher == nil {
		hasher = Murmur2Hasher()
	}
	return []goka.ProcessorOption{
		goka.WithHasher(hasher),
		goka.WithGroupGraphHook(a.bind),
		goka.WithConsumerGroupBuilder(func(_ []string, group, _ string) (sarama.ConsumerGroup, error) {
			return newConsumerGroup(a, group), nil
		}),
		goka.WithProducerBuilder(func([]string, string, func() hash.Hash32) (goka.Producer, error) {
			return producer{a}, nil
		}),
		goka.WithConsumerSaramaBuilder(func([]string, string) (sarama.Consumer, error) { return newTableConsumer(a), nil }),
		goka.WithTopicManagerBuilder(func([]string) (goka.TopicManager, error) { return a.prepare() }),
		goka.WithStorageBuilder(a.openStore),
		a.refuseOptions(),
	}
}

func (a *Adapter) bind(graph *goka.GroupGraph) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.graph = graph
	if table := graph.GroupTable(); table != nil {
		a.table = table.Topic()
	}
}

// prepare runs when goka builds a topic manager: the first time it checks the
// graph and locks the state directory.
func (a *Adapter) prepare() (goka.TopicManager, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.dir != nil {
		return topicManager{a}, nil
	}
	if err := a.checkGraph(); err != nil {
		return nil, a.noteLocked(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), adminTimeout)
	defer cancel()
	meta, err := a.admin.BrokerMetadata(ctx)
	if err != nil {
		return nil, a.noteLocked(fmt.Errorf("exactly: reach the cluster: %w", err))
	}
	dir, err := openStateDir(&a.cfg, meta.Cluster, string(a.graph.Group()))
	if err != nil {
		return nil, a.noteLocked(err)
	}
	a.dir = dir
	return topicManager{a}, nil
}

// checkGraph refuses by name what cannot be exact.
func (a *Adapter) checkGraph() error {
	if a.graph == nil {
		return permanent(errors.New("exactly: check graph: none (Options must be given to goka.NewProcessor)"))
	}
	if a.refused != nil {
		return permanent(fmt.Errorf("exactly: check options of %s: %w", a.graph.Group(), a.refused))
	}
	for _, edge := range a.graph.AllEdges() {
		if fmt.Sprintf("%T", edge) == "*goka.visitor" {
			return permanent(fmt.Errorf("exactly: check graph of %s: goka.Visitor is not supported: visits write outside of any consumed record", a.graph.Group()))
		}
	}
	return nil
}

// tableName returns the group table's topic, or "".
func (a *Adapter) tableName() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.table
}

// note keeps the first error of an attempt, since goka formats errors away.
func (a *Adapter) note(err error) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.noteLocked(err)
}

func (a *Adapter) noteLocked(err error) error {
	if a.cause == nil && err != nil {
		a.cause = err
	}
	return err
}

func (a *Adapter) takeCause() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	err := a.cause
	a.cause = nil
	return err
}

// openStore is goka's storage builder.
func (a *Adapter) openStore(topic string, partition int32) (storage.Storage, error) {
	st, err := a.buildStore(topic, partition)
	if err != nil {
		return nil, a.note(err)
	}
	return st, nil
}

func (a *Adapter) buildStore(topic string, partition int32) (*store, error) {
	ctx, cancel := a.requestContext()
	defer cancel()
	info, err := a.topicInfo(ctx, topic)
	if err != nil {
		return nil, err
	}
	_, end, err := a.bounds(ctx, topic, partition)
	if err != nil {
		return nil, err
	}
	a.mu.Lock()
	dir, m := a.dir, a.member
	a.mu.Unlock()
	if dir == nil {
		return nil, errors.New("exactly: open state: the adapter is closed")
	}
	own := topic == a.tableName()
	if own && !m.holds(partition) {
		return nil, fmt.Errorf("exactly: open state of %s/%d: the partition was taken away", topic, partition) // Set up again with the next assignment.
	}
	db, err := dir.open(topic, info.id, partition, end)
	if err != nil {
		return nil, err
	}
	var (
		route   func(string) int32
		onClose func(*store)
	)
	if own {
		route = func(key string) int32 { return a.route([]byte(key), info.partitions) }
		onClose = a.dropStore
	}
	st, err := newStore(db, topic, partition, route, onClose)
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	if own {
		a.mu.Lock()
		a.stores[partition], a.spread = st, info.partitions
		a.mu.Unlock()
	}
	return st, nil
}

func (a *Adapter) dropStore(st *store) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.stores[st.partition] == st {
		delete(a.stores, st.partition)
	}
}

// committed reads the group's table as of the last commit.
func (a *Adapter) committed(partition int32, key string) ([]byte, error) {
	st := a.openTable(partition)
	if st == nil {
		return nil, nil
	}
	return st.committed(key)
}

// openTable is an open partition of the group's table; nil: it is not held.
func (a *Adapter) openTable(partition int32) *store {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.stores[partition]
}

// openStores are the open partitions of the group's table.
func (a *Adapter) openStores() []*store {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Collect(maps.Values(a.stores))
}

// flushStores writes the overlays after a commit.
func (a *Adapter) flushStores() error {
	stores := a.openStores()
	var (
		wg         sync.WaitGroup
		keys, size = make([]int, len(stores)), make([]int, len(stores))
		errs       = make([]error, len(stores))
	)
	for i, st := range stores {
		wg.Go(func() { keys[i], size[i], errs[i] = st.flush() })
	}
	wg.Wait()
	var allKeys, allSize int
	for i := range stores {
		allKeys += keys[i]
		allSize += size[i]
	}
	a.cfg.Status.overlayKeys.Store(int64(allKeys))
	a.cfg.Status.overlayBytes.Store(int64(allSize))
	return errors.Join(errs...)
}
