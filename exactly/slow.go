package exactly

import (
	"sync"

	"github.com/lovoo/goka"
)

// slowRecords are the records that alone exceeded the transaction timeout. They
// outlive the processor, which such a record may end by the broker's fencing.
type slowRecords struct {
	mu      sync.Mutex
	records map[recordID]bool
}

type slowKey struct{}

// TooSlow reports whether the record of a callback exceeded the transaction
// timeout by itself before, so that its work can never be committed: its
// preparation is left out, and the callback has to settle it some other way, as a
// dead letter. A record that is too slow again ends Run with a *TooSlowError.
func TooSlow(ctx goka.Context) bool {
	slow, ok := ctx.Context().Value(slowKey{}).(*slowRecords)
	return ok && slow.has(recordID{string(ctx.Topic()), ctx.Partition(), ctx.Offset()})
}

func (s *slowRecords) has(id recordID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.records[id]
}

// add reports whether the record is a new one.
func (s *slowRecords) add(id recordID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.records[id] {
		return false
	}
	if s.records == nil {
		s.records = map[recordID]bool{}
	}
	s.records[id] = true
	return true
}

// settled forgets the records below offset, which are committed.
func (s *slowRecords) settled(tp topicPartition, offset int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id := range s.records {
		if id.topic == tp.topic && id.partition == tp.partition && id.offset < offset {
			delete(s.records, id)
		}
	}
}
