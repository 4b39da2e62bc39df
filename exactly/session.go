package exactly

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/IBM/sarama"
	"github.com/twmb/franz-go/pkg/kgo"
)

// session works on one assignment, until it is taken away, a transaction is
// aborted, or the process drains. Tables are recovered at its start and closed
// at its end, which drops the overlay of a transaction that did not commit.
type session struct {
	m       *member
	a       *Adapter
	as      assignment
	handler sarama.ConsumerGroupHandler

	// preparation is nil where there is nothing to prepare.
	preparation *preparation

	ctx    context.Context // goka's callbacks run under it
	cancel context.CancelFunc
	claims map[topicPartition]*claim
	exited chan struct{} // holds a token when a claim has ended
	wg     sync.WaitGroup

	// outstanding counts the records that are delivered and not yet marked.
	outstanding atomic.Int64
	// marked holds a token when outstanding has reached 0.
	marked chan struct{}

	// troubled asks for a pause before the next session, progressed says that a
	// transaction committed.
	troubled, progressed bool
}

func newSession(m *member, as assignment, handler sarama.ConsumerGroupHandler) *session {
	s := &session{
		m: m, a: m.a, as: as, handler: handler, claims: map[topicPartition]*claim{},
		exited: make(chan struct{}, 1), marked: make(chan struct{}, 1),
	}
	parent := context.WithValue(m.ctx, slowKey{}, &m.a.budget.slow)
	if plan := m.a.cfg.Prepare; plan != nil {
		s.preparation = newPreparation(plan, m.a.committed, &s.wg)
		parent = context.WithValue(parent, preparationKey{}, s.preparation)
	}
	s.ctx, s.cancel = context.WithCancel(parent)
	return s
}

// run returns nil when the session is over and another one may begin.
func (s *session) run(drain context.Context) (err error) {
	defer s.cancel()
	if s.m.entered != s.as.generation { // An abort changes nothing of it.
		if s.a.cfg.Delivery == ExactlyOnce {
			ctx, cancel := s.a.requestContext()
			s.m.fenceAbsent(ctx, string(s.a.graph.Group()))
			cancel()
		}
		if err := s.checkInputs(); err != nil {
			return err
		}
		s.m.entered = s.as.generation
	}
	if err := s.handler.Setup(s); err != nil {
		return s.failed(err, s.handler.Cleanup(s))
	}
	if hook := s.a.cfg.Hooks.Assigned; hook != nil {
		if err := hook(s.ctx, s.claimList()); err != nil {
			if IsPermanent(err) {
				return errors.Join(err, s.handler.Cleanup(s))
			}
			s.troubled = true
			s.a.cfg.Log.Error("the hook Assigned failed, trying again", slog.Any("error", err))
			return s.failedCleanup(s.handler.Cleanup(s))
		}
	}
	s.start()
	if !s.m.current(s.as) {
		return s.stop(errAborted)
	}
	s.a.cfg.Status.partitions.Store(int64(len(s.claims)))
	s.a.cfg.Status.ready.Store(true)
	for {
		if err := s.transaction(drain); err != nil {
			return s.stop(err)
		}
	}
}

// Reasons for a session to end that are no failures.
var (
	errAborted = errors.New("exactly: transaction aborted")
	errDrained = errors.New("exactly: drained")
)

// stop ends the session. Whatever the open transaction did is undone.
func (s *session) stop(reason error) error {
	s.cancel()
	s.awaitCallbacks()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(s.ctx), adminTimeout)
	defer cancel()
	// Promises of emits end now, so that goka does not wait for them.
	abortErr := s.m.link.client().AbortBufferedRecords(ctx)
	cleanupErr := s.handler.Cleanup(s)
	s.a.cfg.Status.inFlight.Add(-s.outstanding.Load())
	endErr := s.m.link.abort(ctx)
	if hook := s.a.cfg.Hooks.Revoked; hook != nil && !s.m.current(s.as) {
		hook(s.claimList())
	}
	cause := s.a.takeCause()
	switch {
	case errors.Is(reason, errDrained), errors.Is(reason, errAborted):
		if errors.Is(reason, errAborted) {
			s.a.cfg.Status.aborted.Add(1)
		}
		if err := errors.Join(abortErr, endErr); err != nil {
			return fmt.Errorf("exactly: abort the transaction: %w", err)
		}
		return nil
	case errors.Is(reason, errClaimEnded):
		if cause != nil {
			return cause
		}
		return &CallbackError{Err: errors.Join(reason, cleanupErr)}
	}
	return reason
}

// awaitCallbacks waits for goka's callbacks and for tasks to return. Nothing can
// end one that does not, so that it is named again and again.
func (s *session) awaitCallbacks() {
	ended := make(chan struct{})
	go func() {
		s.wg.Wait()
		close(ended)
	}()
	began, tick := time.Now(), time.NewTicker(adminTimeout)
	defer tick.Stop()
	for {
		select {
		case <-ended:
			return
		case <-tick.C:
			err := fmt.Errorf("exactly: a callback or task has not returned %v after its session ended", time.Since(began).Round(time.Second))
			s.a.cfg.Status.setError(err)
			s.a.cfg.Log.Error("waiting for callbacks", slog.Int64("records", s.outstanding.Load()), slog.Any("error", err))
		}
	}
}

// failed names the cause of a setup that goka reports as text.
func (s *session) failed(err, cleanupErr error) error {
	if cause := s.a.takeCause(); cause != nil {
		return cause
	}
	return fmt.Errorf("exactly: set up the partitions: %w", errors.Join(err, cleanupErr))
}

func (s *session) failedCleanup(err error) error {
	if err == nil {
		return nil
	}
	return s.failed(err, nil)
}

// claimList tells the hooks what is held, in a stable order.
func (s *session) claimList() []Claim {
	var list []Claim
	for tp, c := range s.as.committed {
		list = append(list, Claim{Topic: tp.topic, TopicID: s.m.ids[tp.topic], Partition: tp.partition, Offset: c.offset, Metadata: c.metadata})
	}
	slices.SortFunc(list, func(a, b Claim) int {
		if a.Topic != b.Topic {
			if a.Topic < b.Topic {
				return -1
			}
			return 1
		}
		return int(a.Partition - b.Partition)
	})
	return list
}

// start begins to hand records to goka.
func (s *session) start() {
	for topic, partitions := range s.as.claims {
		for _, p := range partitions {
			c := &claim{topic: topic, partition: p, messages: make(chan *sarama.ConsumerMessage, claimBuffer)}
			c.done.Store(noOffset)
			s.claims[topicPartition{topic, p}] = c
			if s.preparation != nil {
				c.queue = make(chan *kgo.Record, s.a.cfg.MaxPollRecords)
				s.wg.Go(func() { s.feed(c) })
			}
			s.wg.Go(func() {
				if err := s.handler.ConsumeClaim(s, c); err != nil {
					_ = s.a.note(err) // It ends the session below.
				}
				select {
				case s.exited <- struct{}{}:
				default:
				}
			})
		}
	}
}

// feed hands the records of one partition to goka, in order, as they are
// prepared.
func (s *session) feed(c *claim) {
	for {
		var r *kgo.Record
		select {
		case r = <-c.queue:
		case <-s.ctx.Done():
			return
		}
		select {
		case <-s.preparation.find(recordID{r.Topic, r.Partition, r.Offset}).done:
		case <-s.ctx.Done():
			return
		}
		select {
		case c.messages <- message(r):
		case <-s.ctx.Done():
			return
		}
	}
}

// claimBuffer is how many records of a partition may wait for goka.
const claimBuffer = 256

// Claims implements sarama.ConsumerGroupSession.
func (s *session) Claims() map[string][]int32 { return s.as.claims }

// MemberID implements sarama.ConsumerGroupSession.
func (s *session) MemberID() string {
	id, _ := s.m.link.client().GroupMetadata()
	return id
}

// GenerationID implements sarama.ConsumerGroupSession.
func (s *session) GenerationID() int32 {
	_, generation := s.m.link.client().GroupMetadata()
	return generation
}

// MarkOffset settles one record; goka calls it once for each, in the order of
// each partition, with the offset that follows it.
func (s *session) MarkOffset(topic string, partition int32, offset int64, _ string) {
	s.claims[topicPartition{topic, partition}].done.Store(offset - 1)
	s.a.cfg.Status.inFlight.Add(-1)
	if s.outstanding.Add(-1) == 0 {
		select {
		case s.marked <- struct{}{}:
		default:
		}
	}
}

// MarkMessage settles one record.
func (s *session) MarkMessage(m *sarama.ConsumerMessage, metadata string) {
	s.MarkOffset(m.Topic, m.Partition, m.Offset+1, metadata)
}

// ResetOffset is not supported; goka never calls it.
func (s *session) ResetOffset(string, int32, int64, string) {}

// Commit does nothing: transactions commit.
func (s *session) Commit() {}

// Context is what goka's partitions run under.
func (s *session) Context() context.Context { return s.ctx }

// claim is one partition as goka consumes it.
type claim struct {
	topic     string
	partition int32
	messages  chan *sarama.ConsumerMessage
	// done is the last record that was marked; -1: none was.
	done atomic.Int64
	// queue holds the records that are being prepared: all that are in hand fit.
	queue chan *kgo.Record
}

// Topic implements sarama.ConsumerGroupClaim.
func (c *claim) Topic() string { return c.topic }

// Partition implements sarama.ConsumerGroupClaim.
func (c *claim) Partition() int32 { return c.partition }

// InitialOffset implements sarama.ConsumerGroupClaim; goka only logs it.
func (c *claim) InitialOffset() int64 { return -1 }

// HighWaterMarkOffset implements sarama.ConsumerGroupClaim; goka does not ask.
func (c *claim) HighWaterMarkOffset() int64 { return 0 }

// Messages implements sarama.ConsumerGroupClaim.
func (c *claim) Messages() <-chan *sarama.ConsumerMessage { return c.messages }

// message turns a record into what goka reads.
func message(r *kgo.Record) *sarama.ConsumerMessage {
	m := &sarama.ConsumerMessage{
		Topic: r.Topic, Partition: r.Partition, Offset: r.Offset, Key: r.Key, Value: r.Value, Timestamp: r.Timestamp,
	}
	for _, h := range r.Headers {
		m.Headers = append(m.Headers, &sarama.RecordHeader{Key: []byte(h.Key), Value: h.Value})
	}
	return m
}
