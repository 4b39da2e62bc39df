package verify

import (
	"context"
	"errors"
	"fmt"
	"maps"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
)

// uploadsLog is the topic uploads, and how far extract had read it.
type uploadsLog struct {
	id uuid.UUID
	// read is the offset after the last record that extract has read, by partition.
	read map[int32]int64
}

// readLog notes how far extract has come.
func readLog(ctx context.Context, o Options) (uploadsLog, error) {
	admin, name := kadm.NewClient(o.Kafka), o.Topics.Uploads.Name
	l := uploadsLog{read: map[int32]int64{}}
	details, err := admin.ListTopics(ctx, name)
	if err == nil {
		err = details.Error()
	}
	if err != nil {
		return l, fmt.Errorf("verify: describe topic %s: %w", name, err)
	}
	committed, err := admin.FetchOffsets(ctx, o.Extract)
	if err != nil && !errors.Is(err, kerr.GroupIDNotFound) {
		return l, fmt.Errorf("verify: fetch offsets of group %s: %w", o.Extract, err)
	}
	l.id = uuid.UUID(details[name].ID)
	for partition := range details[name].Partitions {
		l.read[partition] = 0
		if at, ok := committed.Lookup(name, partition); ok {
			l.read[partition] = max(at.At, 0)
		}
	}
	return l, nil
}

// same reports whether extract has read nothing in between.
func (l uploadsLog) same(o uploadsLog) bool { return l.id == o.id && maps.Equal(l.read, o.read) }

// scope is the condition that selects the rows of what extract had read, so that
// what is loaded meanwhile is in no table's.
func (l uploadsLog) scope() string {
	read := make([]int64, len(l.read))
	for partition, offset := range l.read {
		read[partition] = offset
	}
	return fmt.Sprintf("(src_topic_id != '%s' OR src_offset < [%s][src_partition + 1])", l.id, list(read, integer))
}
