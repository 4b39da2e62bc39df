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
	// read is the offset after the last record that extract has read, at most end,
	// the one after the last stable record that the audit is about.
	read, end int64
	// unread is how many offsets retention took before extract had read them.
	unread int64
}

// uploadsLog is the topic uploads as it is.
type uploadsLog struct {
	name       string
	id         uuid.UUID
	partitions map[int32]bounds
}

// readLog notes where the log begins and how far extract has come. What is behind
// the ends that were waited for came after the audit began; none: up to where it
// ends now.
func readLog(ctx context.Context, o Options, awaited kadm.ListedOffsets) (uploadsLog, error) {
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
		if at, ok := awaited.Lookup(name, partition); ok {
			b.end = min(b.end, at.Offset)
		}
		b.read = b.start
		if at, ok := committed.Lookup(name, partition); ok && at.At >= 0 {
			b.read = min(at.At, b.end) // A log that lost its tail ends before what was read.
			b.unread = max(b.start-b.read, 0)
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
		parts = append(parts, fmt.Sprintf("(src_topic_id != '%s' AND src_offset >= 0)", l.id))
	}
	for _, partition := range slices.Sorted(maps.Keys(l.partitions)) {
		b := l.partitions[partition]
		parts = append(parts, fmt.Sprintf("(src_topic_id = '%s' AND src_partition = %d AND src_offset >= %d AND src_offset < %d)", l.id, partition, b.from, b.read))
	}
	return "(" + strings.Join(parts, " OR ") + ")"
}

// beyond is the condition of rows of offsets that extract had not read.
func (l uploadsLog) beyond() string {
	parts := []string{"src_offset < 0"}
	for _, partition := range slices.Sorted(maps.Keys(l.partitions)) {
		parts = append(parts, fmt.Sprintf("(src_partition = %d AND src_offset >= %d)", partition, l.partitions[partition].read))
	}
	parts = append(parts, "src_partition < 0", fmt.Sprintf("src_partition >= %d", len(l.partitions)))
	return fmt.Sprintf("src_topic_id = '%s' AND (%s)", l.id, strings.Join(parts, " OR "))
}
