package topologies

import (
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/tintype/tintype/exactly"
	"github.com/tintype/tintype/transform/window"
)

// streamTimes holds the stream time of each source partition that is assigned:
// the greatest event time so far, in Unix milliseconds. It travels in the
// metadata of the committed offset, so that a stamp depends on the log alone,
// not on who reads it or how often.
//
// goka calls partitions concurrently and each of them in order; the commit
// reads between two polls.
type streamTimes struct {
	// ahead is how far an event time may be ahead of its append time.
	ahead time.Duration

	mu    sync.Mutex
	times map[int32]int64
}

// none is the stream time of a partition that was never read.
const none = window.Unknown

// streamTimeField is its name in an offset's metadata.
const streamTimeField = "stream_time_ms"

// assign takes over the partitions held of the source topic, at their last
// commit. An offset without a stream time is refused: whoever committed it did
// not run this program, and the stamps after it would be wrong.
func (s *streamTimes) assign(source string, claims []exactly.Claim) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.times = map[int32]int64{}
	for _, claim := range claims {
		if claim.Topic != source {
			continue
		}
		if claim.Offset < 0 {
			s.times[claim.Partition] = none
			continue
		}
		at, err := strconv.ParseInt(readMetadata(claim.Metadata)[streamTimeField], 10, 64)
		if err != nil {
			return exactly.Permanent(fmt.Errorf("topologies: the committed offset %d of %s/%d has no stream time: another program committed it; "+
				"delete the group's offsets and its tables to read the log anew", claim.Offset, claim.Topic, claim.Partition))
		}
		s.times[claim.Partition] = at
	}
	return nil
}

// clamp judges a claimed event time, once and by the log alone: one that is ahead of
// its append time would make all punctual records after it late, so that it becomes
// the append time; one before 1970 is in no window, and becomes 1970.
func (s *streamTimes) clamp(claimed, appendTime int64) int64 {
	if claimed > appendTime+s.ahead.Milliseconds() {
		return appendTime
	}
	return max(claimed, 0)
}

// advance takes in a record's claimed event time, clamped (nil: it claims none), and
// returns its event time and the stream time, this record included. A record
// without event time takes the stream time so far and never advances it, the
// append time where there is none yet.
func (s *streamTimes) advance(partition int32, claimed *int64, appendTime int64) (eventTime, streamTime int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now, ok := s.times[partition]
	if !ok {
		now = none
	}
	switch {
	case claimed != nil:
		eventTime = *claimed
	case now != none:
		return now, now
	default:
		return appendTime, appendTime
	}
	streamTime = max(now, eventTime)
	s.times[partition] = streamTime
	return eventTime, streamTime
}

// text is a partition's stream time for the metadata of its offset.
func (s *streamTimes) text(partition int32) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	at, ok := s.times[partition]
	if !ok {
		at = none
	}
	return strconv.FormatInt(at, 10)
}

// of is the stream time of a partition; false where there is none.
func (s *streamTimes) of(partition int32) (int64, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	at, ok := s.times[partition]
	return at, ok && at != none
}
