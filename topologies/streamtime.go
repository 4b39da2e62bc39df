package topologies

import (
	"fmt"
	"strconv"
	"strings"
	"sync"

	"github.com/tintype/tintype/exactly"
)

// streamTimes holds the stream time of each source partition that is assigned:
// the greatest event time so far, in Unix milliseconds. It travels in the
// metadata of the committed offset, so that a stamp depends on the log alone,
// not on who reads it or how often.
//
// goka calls partitions concurrently and each of them in order; the commit
// reads between two polls.
type streamTimes struct {
	mu    sync.Mutex
	times map[int32]int64
}

// metadataPrefix names the version of what stands in an offset's metadata.
const metadataPrefix = "tintype1 stream_time_ms="

// none is the stream time of a partition that was never read.
const none = int64(-1 << 63)

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
		raw, ok := strings.CutPrefix(claim.Metadata, metadataPrefix)
		at, err := strconv.ParseInt(raw, 10, 64)
		if !ok || err != nil {
			return exactly.Permanent(fmt.Errorf("topologies: the committed offset %d of %s/%d has no stream time: another program committed it; "+
				"delete the group's offsets and its tables to read the log anew", claim.Offset, claim.Topic, claim.Partition))
		}
		s.times[claim.Partition] = at
	}
	return nil
}

// advance takes in a record's claimed event time (nil: it claims none) and
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

// metadata is what is committed beside an offset of the source topic.
func (s *streamTimes) metadata(partition int32) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	at, ok := s.times[partition]
	if !ok {
		at = none
	}
	return metadataPrefix + strconv.FormatInt(at, 10)
}
