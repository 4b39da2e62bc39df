package chaos

import (
	"context"
	"encoding/binary"
	"sync"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// stalls hold back what some instances fetch of one topic: their stage stands still
// and keeps its partitions, for its heartbeats pass.
type stalls struct {
	mu sync.Mutex
	// topic is the topic's id.
	topic [16]byte
	// shut are the instances that are held back, until their channels are closed; held
	// counts the requests that were.
	shut map[string]chan struct{}
	held map[string]int
}

func newStalls() *stalls {
	return &stalls{shut: map[string]chan struct{}{}, held: map[string]int{}}
}

func (s *stalls) of(topic [16]byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.topic = topic
}

// begin holds back an instance until end is called, which returns how many requests
// were held; nil where the instance is held back already.
func (s *stalls) begin(instance string) (end func() int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.shut[instance] != nil {
		return nil
	}
	open := make(chan struct{})
	s.shut[instance], s.held[instance] = open, 0
	return func() int {
		s.mu.Lock()
		defer s.mu.Unlock()
		close(open)
		delete(s.shut, instance)
		return s.held[instance]
	}
}

// some reports whether any request of an instance is held.
func (s *stalls) some(instance string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.held[instance] > 0
}

// pass returns when a fetch of an instance, on a connection that has named these
// topics, may pass.
func (s *stalls) pass(ctx context.Context, instance string, named map[[16]byte]bool) {
	s.mu.Lock()
	open, shut := s.shut[instance]
	if shut = shut && named[s.topic]; shut {
		s.held[instance]++
	}
	s.mu.Unlock()
	if !shut {
		return
	}
	select {
	case <-open:
	case <-ctx.Done():
	}
}

// fetchedByID is from which version on a fetch has the ids of topics.
const fetchedByID = 13

// fetched are the topics that a fetch names: once on a connection, and again where
// something has changed.
func fetched(frame []byte) [][16]byte {
	const header = 4 + 8 // The length, key, version and correlation.
	if len(frame) < header+2 {
		return nil
	}
	version := int16(binary.BigEndian.Uint16(frame[6:]))
	body := frame[header+2:]
	if n := int16(binary.BigEndian.Uint16(frame[header:])); n > 0 {
		body = body[min(int(n), len(body)):]
	}
	if version < fetchedByID || len(body) == 0 || body[0] != 0 { // Tags, which clients do not send.
		return nil
	}
	r := kmsg.NewPtrFetchRequest()
	r.SetVersion(version)
	if r.ReadFrom(body[1:]) != nil {
		return nil
	}
	topics := make([][16]byte, 0, len(r.Topics))
	for _, t := range r.Topics {
		topics = append(topics, t.TopicID)
	}
	return topics
}

// stallTransform holds back what a worker's transform reads, or the next one's, where
// that one reads nothing: it may be dead, or paused.
func (l *lab) stallTransform(ctx context.Context, f Fault) error {
	running := l.workers[:l.options.Workers]
	for i := range running {
		instance, err := running[(f.Worker+i)%len(running)].instance()
		if err != nil {
			continue // It has never run.
		}
		end := l.kafka.stalls.begin(instance)
		if end == nil {
			continue // Another stall is under way.
		}
		wait(ctx, aim)
		if l.kafka.stalls.some(instance) {
			wait(ctx, f.For-aim)
		}
		if end() > 0 {
			return nil
		}
	}
	return errMissed
}
