package audit

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/tintype/tintype/exactly"
)

// partitionKey names a partition of uploads.
type partitionKey struct {
	topic     uuid.UUID
	partition int32
}

// bounds are the offsets of one partition of the log, as of the audit's begin.
type bounds struct {
	// from is where the audit begins, start the log's first offset.
	from, start int64
	// read is the offset after the last record that extract has read, end the
	// one after the last stable record.
	read, end int64
}

// uploadsLog is the topic uploads as it is.
type uploadsLog struct {
	name       string
	id         uuid.UUID
	partitions map[int32]bounds
}

// readLog notes where the log begins and how far extract has come.
func readLog(ctx context.Context, o Options) (uploadsLog, error) {
	admin := kadm.NewClient(o.Kafka)
	name := o.Topics.Uploads.Name
	l := uploadsLog{name: name, partitions: map[int32]bounds{}}
	details, err := admin.ListTopics(ctx, name)
	if err == nil {
		err = details.Error()
	}
	if err != nil {
		return l, fmt.Errorf("audit: describe topic %s: %w", name, err)
	}
	l.id = uuid.UUID(details[name].ID)
	starts, err := admin.ListStartOffsets(ctx, name)
	if err == nil {
		err = starts.Error()
	}
	if err != nil {
		return l, fmt.Errorf("audit: list first offsets of %s: %w", name, err)
	}
	// The group first: what it has read lies below the end that is asked for next.
	committed, err := admin.FetchOffsets(ctx, o.Extract)
	if err != nil && !errors.Is(err, kerr.GroupIDNotFound) {
		return l, fmt.Errorf("audit: fetch offsets of group %s: %w", o.Extract, err)
	}
	ends, err := admin.ListCommittedOffsets(ctx, name)
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		return l, fmt.Errorf("audit: list last offsets of %s: %w", name, err)
	}
	var since kadm.ListedOffsets
	if !o.Since.IsZero() {
		if since, err = admin.ListOffsetsAfterMilli(ctx, o.Since.UnixMilli(), name); err == nil {
			err = since.Error()
		}
		if err != nil {
			return l, fmt.Errorf("audit: list offsets of %s since %s: %w", name, o.Since.Format(time.RFC3339), err)
		}
	}
	for partition := range details[name].Partitions {
		b := bounds{}
		if at, ok := starts.Lookup(name, partition); ok {
			b.start = at.Offset
		}
		if at, ok := ends.Lookup(name, partition); ok {
			b.end = at.Offset
		}
		b.read = b.start
		if at, ok := committed.Lookup(name, partition); ok && at.At >= 0 {
			b.read = at.At
		}
		if at, ok := since.Lookup(name, partition); ok {
			b.from = at.Offset
			if b.from < 0 { // Nothing is that new.
				b.from = b.end
			}
		}
		l.partitions[partition] = b
	}
	return l, nil
}

// scope is the condition that selects the rows to audit: those of offsets that
// extract had read, so that what is loaded meanwhile is in no table's.
func (l uploadsLog) scope(since time.Time) string {
	parts := make([]string, 0, len(l.partitions)+1)
	if since.IsZero() {
		parts = append(parts, fmt.Sprintf("src_topic_id != '%s'", l.id))
	}
	for _, partition := range slices.Sorted(maps.Keys(l.partitions)) {
		b := l.partitions[partition]
		parts = append(parts, fmt.Sprintf("(src_topic_id = '%s' AND src_partition = %d AND src_offset >= %d AND src_offset < %d)", l.id, partition, b.from, b.read))
	}
	return "(" + strings.Join(parts, " OR ") + ")"
}

// beyond is the condition of rows of offsets that extract had not read.
func (l uploadsLog) beyond() string {
	parts := []string{"0"}
	for _, partition := range slices.Sorted(maps.Keys(l.partitions)) {
		parts = append(parts, fmt.Sprintf("(src_partition = %d AND src_offset >= %d)", partition, l.partitions[partition].read))
	}
	known := fmt.Sprintf("src_partition >= %d", len(l.partitions))
	return fmt.Sprintf("src_topic_id = '%s' AND (%s OR %s)", l.id, strings.Join(parts, " OR "), known)
}

// awaitArrival waits until what extract had read has passed the stages behind
// it. It reports what it waits for when the time is over.
func awaitArrival(ctx context.Context, o Options) (drained bool, behind string, err error) {
	ctx, cancel := context.WithTimeout(ctx, max(o.Wait, time.Second))
	defer cancel()
	for _, hop := range []struct {
		group  string
		topics []string
	}{
		{o.Extract, []string{o.ExtractLoop}},
		{o.Transform, []string{o.Topics.Photos.Name}},
		{o.Load, []string{o.Topics.Developed.Name, o.Topics.DeadLetters.Name}},
		// A dead letter of the loader itself.
		{o.Load, []string{o.Topics.DeadLetters.Name}},
	} {
		for _, topic := range hop.topics {
			drained, behind, err = awaitGroup(ctx, o, hop.group, topic)
			if err != nil || !drained {
				return false, behind, err
			}
		}
	}
	return true, "", nil
}

// awaitGroup waits until a group has read what a topic holds now.
func awaitGroup(ctx context.Context, o Options, group, topic string) (drained bool, behind string, err error) {
	admin := kadm.NewClient(o.Kafka)
	ends, err := admin.ListCommittedOffsets(ctx, topic)
	if err == nil {
		err = ends.Error()
	}
	if errors.Is(err, kerr.UnknownTopicOrPartition) {
		return true, "", nil // A loop that was never needed.
	}
	if err != nil {
		return false, "", fmt.Errorf("audit: list last offsets of %s: %w", topic, err)
	}
	for pause := 20 * time.Millisecond; ; pause = min(2*pause, 500*time.Millisecond) {
		lag, err := exactly.Behind(ctx, o.Kafka, group)
		if err != nil {
			if ctx.Err() != nil {
				return false, fmt.Sprintf("group %s does not answer", group), nil
			}
			return false, "", err
		}
		waiting := int64(0)
		for partition, end := range ends[topic] {
			if end.Offset == 0 {
				continue
			}
			at, ok := lag.Lag.Lookup(topic, partition)
			switch {
			case !ok:
				waiting += end.Offset
			case at.Commit.At < end.Offset && at.Lag > 0:
				waiting += min(at.Lag, end.Offset-max(at.Commit.At, 0))
			}
		}
		if waiting == 0 {
			return true, "", nil
		}
		select {
		case <-ctx.Done():
			return false, fmt.Sprintf("group %s is %d records of %s behind", group, waiting, topic), nil
		case <-time.After(pause):
		}
	}
}
