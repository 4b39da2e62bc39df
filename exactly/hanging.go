package exactly

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// A transaction hangs in a partition that did not get its marker, and whose
// coordinator has forgotten about it: nothing behind it is readable, for ever.
// Brokers do that. One that is killed when a transaction's end was decided, and
// whose markers were not written yet, goes on with them when it starts again; a
// partition whose leader it does not know at that moment it takes for deleted
// (Apache Kafka 4.3, TransactionMarkerChannelManager, "likely deleted already and
// hence can be skipped"). On a node by itself that is every other kill.
//
// So the members look after the partitions that their group writes to, its own
// offsets included, and write the marker that is missing: the outcome stands in
// the coordinator's log.

// hangingEvery is how often a member looks.
const hangingEvery = 5 * time.Second

// The topics that Kafka keeps for itself.
const (
	offsetsTopic      = "__consumer_offsets"
	transactionsTopic = "__transaction_state"
)

// hanging is a partition's transaction without a coordinator.
type hanging struct {
	producer kadm.DescribedProducer
	id       string // transactional id
}

// watchHanging looks for hanging transactions of the group until ctx ends.
func (m *member) watchHanging(ctx context.Context, group string) {
	log := m.a.cfg.Log
	told := false
	tick := time.NewTicker(hangingEvery)
	defer tick.Stop()
	for {
		asking, cancel := context.WithTimeout(ctx, adminTimeout)
		err := m.healHanging(asking, group)
		cancel()
		if err != nil && ctx.Err() == nil && !told && IsPermanent(err) {
			told = true
			log.Warn("cannot look after hanging transactions", slog.String("group", group), slog.Any("error", err))
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// healHanging ends the group's hanging transactions. Its own topics and the one
// that holds its offsets are looked at one after the other: the right to describe
// the one may be there without the other.
func (m *member) healHanging(ctx context.Context, group string) error {
	var own []string
	for _, edge := range m.a.graph.OutputStreams() {
		own = append(own, edge.Topic())
	}
	if loop := m.a.graph.LoopStream(); loop != nil {
		own = append(own, loop.Topic())
	}
	if table := m.a.tableName(); table != "" {
		own = append(own, table)
	}
	var err error
	if len(own) > 0 {
		err = m.healTopics(ctx, group, own...)
	}
	return errors.Join(err, m.healTopics(ctx, group, offsetsTopic))
}

func (m *member) healTopics(ctx context.Context, group string, topics ...string) error {
	written, err := m.written(ctx, group, topics)
	if err != nil {
		return err
	}
	open, err := m.open(ctx, written)
	if err != nil || len(open) == 0 {
		return err
	}
	suspects, err := m.abandoned(ctx, group, open)
	if err != nil || len(suspects) == 0 {
		return err
	}
	// What is open still was not ended between the two questions above.
	again, err := m.open(ctx, written)
	if err != nil {
		return err
	}
	still := map[kadm.DescribedProducer]bool{}
	for _, p := range again {
		still[identity(p)] = true
	}
	for _, h := range suspects {
		if !still[identity(h.producer)] {
			continue
		}
		if err := m.end(ctx, h); err != nil {
			return err
		}
	}
	return nil
}

// identity is what stays of a producer while its transaction in a partition does.
func identity(p kadm.DescribedProducer) kadm.DescribedProducer {
	return kadm.DescribedProducer{Topic: p.Topic, Partition: p.Partition, ProducerID: p.ProducerID, ProducerEpoch: p.ProducerEpoch, CurrentTxnStartOffset: p.CurrentTxnStartOffset}
}

// written are the partitions of topics that the group's transactions write to.
func (m *member) written(ctx context.Context, group string, names []string) (kadm.TopicsSet, error) {
	details, err := m.a.admin.ListTopicsWithInternal(ctx, names...)
	if err != nil {
		return nil, fmt.Errorf("exactly: describe the topics that %s writes to: %w", group, err)
	}
	set := kadm.TopicsSet{}
	for name, detail := range details {
		if detail.Err != nil {
			continue // It is told by whoever needs it.
		}
		if name == offsetsTopic {
			set.Add(name, javaPartition(group, len(detail.Partitions)))
			continue
		}
		for partition := range detail.Partitions {
			set.Add(name, partition)
		}
	}
	return set, nil
}

// open are the transactions that are open in partitions.
func (m *member) open(ctx context.Context, set kadm.TopicsSet) ([]kadm.DescribedProducer, error) {
	described, err := m.a.admin.DescribeProducers(ctx, set)
	if err != nil {
		return nil, fmt.Errorf("exactly: describe producers: %w", err)
	}
	var open []kadm.DescribedProducer
	for _, topic := range described {
		for _, partition := range topic.Partitions {
			for _, p := range partition.ActiveProducers {
				if p.CurrentTxnStartOffset >= 0 {
					open = append(open, p)
				}
			}
		}
	}
	return open, nil
}

// abandoned are the open transactions of the group that their coordinators do not
// know of.
func (m *member) abandoned(ctx context.Context, group string, open []kadm.DescribedProducer) ([]hanging, error) {
	producers := make([]int64, 0, len(open))
	for _, p := range open {
		producers = append(producers, p.ProducerID)
	}
	listed, err := m.a.admin.ListTransactions(ctx, producers, nil)
	if err != nil {
		return nil, fmt.Errorf("exactly: list transactions: %w", err)
	}
	byProducer, ids := map[int64]string{}, []string{}
	for id, t := range listed {
		if strings.HasPrefix(id, transactionalID(group, "")) {
			byProducer[t.ProducerID] = id
			ids = append(ids, id)
		}
	}
	if len(ids) == 0 {
		return nil, nil
	}
	described, err := m.a.admin.DescribeTransactions(ctx, ids...)
	if err != nil {
		return nil, fmt.Errorf("exactly: describe transactions: %w", err)
	}
	var found []hanging
	for _, p := range open {
		id, ours := byProducer[p.ProducerID]
		if !ours {
			continue
		}
		t, ok := described[id]
		if !ok || t.Err != nil || t.Topics.Lookup(p.Topic, p.Partition) {
			continue // It is not known, or it is under way.
		}
		found = append(found, hanging{producer: p, id: id})
	}
	return found, nil
}

// end writes the marker of a hanging transaction. It has the epoch of the
// transaction's own records: where the producer has written since, the broker
// refuses it.
func (m *member) end(ctx context.Context, h hanging) error {
	commit, err := m.outcome(ctx, h)
	if err != nil {
		return err
	}
	p := h.producer
	set := kadm.TopicsSet{}
	set.Add(p.Topic, p.Partition)
	responses, err := m.a.admin.WriteTxnMarkers(ctx, kadm.TxnMarkers{
		ProducerID: p.ProducerID, ProducerEpoch: p.ProducerEpoch, Commit: commit, CoordinatorEpoch: p.CoordinatorEpoch, Topics: set,
	})
	if err == nil {
		responses.EachPartition(func(r kadm.TxnMarkersPartitionResponse) { err = errors.Join(err, r.Err) })
	}
	if err != nil {
		return fmt.Errorf("exactly: end the hanging transaction of %s in %s/%d: %w", h.id, p.Topic, p.Partition, err)
	}
	m.a.cfg.Log.Warn("ended a transaction that the broker had forgotten", slog.String("transactional_id", h.id), slog.String("topic", p.Topic),
		slog.Int("partition", int(p.Partition)), slog.Int64("offset", p.CurrentTxnStartOffset), slog.Bool("committed", commit))
	return nil
}

// outcome reads off the coordinator's log how a hanging transaction was to end.
// One whose end was never decided is aborted.
func (m *member) outcome(ctx context.Context, h hanging) (commit bool, err error) {
	details, err := m.a.admin.ListTopicsWithInternal(ctx, transactionsTopic)
	if err == nil {
		err = details.Error()
	}
	if err != nil {
		return false, fmt.Errorf("exactly: describe %s: %w", transactionsTopic, err)
	}
	partition := javaPartition(h.id, len(details[transactionsTopic].Partitions))
	start, end, err := m.a.bounds(ctx, transactionsTopic, partition)
	if err != nil {
		return false, err
	}
	known := false
	err = Scan(ctx, m.a.client, Range{Topic: transactionsTopic, Partition: partition, From: start, End: end}, func(r *kgo.Record) {
		key, value := kmsg.NewTxnMetadataKey(), kmsg.NewTxnMetadataValue()
		if r.Value == nil || key.ReadFrom(r.Key) != nil || key.TransactionalID != h.id || value.ReadFrom(r.Value) != nil {
			return
		}
		// With KIP-890 the decision raises the epoch already.
		p := h.producer
		if value.ProducerID != p.ProducerID || (value.ProducerEpoch != p.ProducerEpoch && value.ProducerEpoch != p.ProducerEpoch+1) {
			return
		}
		switch value.State {
		case kmsg.TransactionStatePrepareCommit, kmsg.TransactionStatePrepareAbort:
			for _, topic := range value.Topics {
				if topic.Topic != p.Topic {
					continue
				}
				for _, in := range topic.Partitions {
					if in == p.Partition {
						known, commit = true, value.State == kmsg.TransactionStatePrepareCommit
					}
				}
			}
		default: // Nothing is decided by it.
		}
	})
	return commit && known, err
}

// javaPartition is where Kafka keeps what belongs to a group or a transactional
// id: by Java's hash of the string, without its sign (Utils.abs; the hash of keys has
// its sign bit masked instead).
func javaPartition(s string, n int) int32 {
	hash := int32(0)
	for _, c := range []byte(s) { // ASCII, as groups and instances here are.
		hash = 31*hash + int32(c)
	}
	if hash == math.MinInt32 {
		return 0
	}
	return max(hash, -hash) % int32(max(n, 1))
}
