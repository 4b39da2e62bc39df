package exactly

import (
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// fetchError names what keeps a partition from being read.
func (s *session) fetchError(fe kgo.FetchError) error {
	var loss *kgo.ErrDataLoss
	if fe.Topic == "" { // Of the group, not of a partition.
		return fmt.Errorf("exactly: read the inputs: %w", fe.Err)
	}
	if !errors.Is(fe.Err, kerr.OffsetOutOfRange) && !errors.As(fe.Err, &loss) {
		return fmt.Errorf("exactly: read %s/%d: %w", fe.Topic, fe.Partition, fe.Err)
	}
	ctx, cancel := s.a.requestContext()
	defer cancel()
	start, end, err := s.a.bounds(ctx, fe.Topic, fe.Partition)
	if err != nil {
		return errors.Join(fe.Err, err)
	}
	return &OffsetOutOfRangeError{
		Topic: fe.Topic, Partition: fe.Partition, Committed: s.as.committed[topicPartition{fe.Topic, fe.Partition}].offset, Earliest: start, Latest: end,
	}
}
