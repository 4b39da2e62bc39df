package exactly

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Delivery is what a group promises about its records.
type Delivery string

// The deliveries.
const (
	// ExactlyOnce: outputs, tables and offsets are one Kafka transaction.
	ExactlyOnce Delivery = "exactly-once"
	// AtLeastOnce commits offsets once everything before them is done and acked.
	// Nothing is lost; what was in hand at a kill comes out, and counts, again.
	AtLeastOnce Delivery = "at-least-once"
	// AtMostOnce commits offsets before their records are delivered. Nothing
	// comes twice; what was in hand at a kill or an error is lost.
	AtMostOnce Delivery = "at-most-once"
)

// ParseDelivery reads what [Delivery] names; "" is ExactlyOnce.
func ParseDelivery(s string) (Delivery, error) {
	switch d := Delivery(s); d {
	case "":
		return ExactlyOnce, nil
	case ExactlyOnce, AtLeastOnce, AtMostOnce:
		return d, nil
	}
	return "", fmt.Errorf("exactly: there is no delivery %q: want %s, %s or %s", s, ExactlyOnce, AtLeastOnce, AtMostOnce)
}

// A link is how a member reads, writes and commits: this is all that the
// deliveries differ in, but for the moment of the commit.
type link interface {
	// begin opens a turn.
	begin() error
	poll(ctx context.Context, n int) kgo.Fetches
	produce(ctx context.Context, r *kgo.Record, promise func(*kgo.Record, error))
	// commit reports whether next is the group's now. A turn that it refuses,
	// since the partitions were taken away, is not an error.
	// A transaction commits the table's lineage, too.
	commit(ctx context.Context, next map[topicPartition]committedOffset, table *kmsg.TxnOffsetCommitRequestTopic) (bool, error)
	// abort goes back to the last commit, and undoes what the link can undo.
	abort(ctx context.Context) error
	client() *kgo.Client
	close()
}

// transactional is the link of ExactlyOnce.
type transactional struct {
	txn *kgo.GroupTransactSession
	id  string
	// produced says that the open transaction has records, not only offsets.
	produced *atomic.Bool
}

func (l transactional) begin() error {
	l.produced.Store(false)
	return l.txn.Begin()
}

func (l transactional) poll(ctx context.Context, n int) kgo.Fetches {
	return l.txn.PollRecords(ctx, n)
}

func (l transactional) produce(ctx context.Context, r *kgo.Record, promise func(*kgo.Record, error)) {
	l.produced.Store(true)
	l.txn.Produce(ctx, r, promise)
}

func (l transactional) commit(ctx context.Context, next map[topicPartition]committedOffset, table *kmsg.TxnOffsetCommitRequestTopic) (bool, error) {
	if !l.produced.Load() {
		l.awaitLast(ctx)
	}
	return l.txn.End(kgo.PreTxnCommitFnContext(ctx, func(request *kmsg.TxnOffsetCommitRequest) error {
		for i := range request.Topics {
			topic := &request.Topics[i]
			for k := range topic.Partitions {
				partition := &topic.Partitions[k]
				partition.Metadata = metadataOf(next, topic.Topic, partition.Partition, partition.Metadata)
			}
		}
		if table != nil {
			request.Topics = append(request.Topics, *table)
		}
		return nil
	}), kgo.TryCommit)
}

// awaitLast waits until the broker has done with the transaction before: its end
// is answered before its markers are written. Where the first thing that the next
// one asks for is to commit its offsets, a broker refuses that until then, and the
// client aborts the whole turn for it (CONCURRENT_TRANSACTIONS; it asks again when
// it produces). Whatever keeps this from working only means that abort.
func (l transactional) awaitLast(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, lastTimeout)
	defer cancel()
	admin := kadm.NewClient(l.txn.Client())
	for pause := time.Millisecond; ; pause *= 2 {
		described, err := admin.DescribeTransactions(ctx, l.id)
		if err != nil || !strings.HasPrefix(described[l.id].State, "Prepare") {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
	}
}

// lastTimeout bounds the wait for markers.
const lastTimeout = time.Second

// abort asks for the producer id afterwards: where the answer to the end left it
// in doubt, that is what ends the transaction on the broker. Tables are set up
// next, which waits for it.
func (l transactional) abort(ctx context.Context) error {
	if _, err := l.txn.End(ctx, kgo.TryAbort); err != nil {
		return err
	}
	_, _, err := l.txn.Client().ProducerID(ctx)
	return err
}

func (l transactional) client() *kgo.Client { return l.txn.Client() }

func (l transactional) close() { l.txn.Close() }

// plain is the link of the other two: an idempotent producer, and offsets that
// are committed by themselves.
type plain struct{ c *kgo.Client }

func (plain) begin() error { return nil }

func (l plain) poll(ctx context.Context, n int) kgo.Fetches { return l.c.PollRecords(ctx, n) }

func (l plain) produce(ctx context.Context, r *kgo.Record, promise func(*kgo.Record, error)) {
	l.c.Produce(ctx, r, promise)
}

func (l plain) commit(ctx context.Context, next map[topicPartition]committedOffset, _ *kmsg.TxnOffsetCommitRequestTopic) (bool, error) {
	offsets := map[string]map[int32]kgo.EpochOffset{}
	for tp, c := range next {
		if offsets[tp.topic] == nil {
			offsets[tp.topic] = map[int32]kgo.EpochOffset{}
		}
		offsets[tp.topic][tp.partition] = kgo.EpochOffset{Epoch: -1, Offset: c.offset}
	}
	ctx = kgo.PreCommitFnContext(ctx, func(request *kmsg.OffsetCommitRequest) error {
		for i := range request.Topics {
			topic := &request.Topics[i]
			for k := range topic.Partitions {
				partition := &topic.Partitions[k]
				partition.Metadata = metadataOf(next, topic.Topic, partition.Partition, partition.Metadata)
			}
		}
		return nil
	})
	var errs []error
	l.c.CommitOffsetsSync(ctx, offsets, func(_ *kgo.Client, _ *kmsg.OffsetCommitRequest, response *kmsg.OffsetCommitResponse, err error) {
		if err != nil {
			errs = append(errs, err)
			return
		}
		for _, topic := range response.Topics {
			for _, p := range topic.Partitions {
				if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
					errs = append(errs, fmt.Errorf("%s/%d: %w", topic.Topic, p.Partition, err))
				}
			}
		}
	})
	err := errors.Join(errs...)
	for _, taken := range []error{kerr.IllegalGeneration, kerr.RebalanceInProgress, kerr.UnknownMemberID, kerr.StaleMemberEpoch} {
		if errors.Is(err, taken) {
			return false, nil
		}
	}
	return err == nil, err
}

func (l plain) abort(context.Context) error {
	l.c.SetOffsets(l.c.CommittedOffsets())
	return nil
}

func (l plain) client() *kgo.Client { return l.c }

func (l plain) close() { l.c.Close() }

// metadataOf is the metadata to commit beside an offset.
func metadataOf(next map[topicPartition]committedOffset, topic string, partition int32, old *string) *string {
	c, ok := next[topicPartition{topic, partition}]
	if !ok {
		return old
	}
	return &c.metadata
}
