package exactly

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// newest returns the offset after the last committed data record. goka ends a
// recovery when it sees offset newest-1, so that neither the high watermark
// (control markers sit below it) nor the last stable offset (an open transaction
// may hold it back) will do: wait until the last stable offset has reached the
// high watermark of now, then look for the last record below.
func (a *Adapter) newest(ctx context.Context, topic string, partition int32) (int64, error) {
	start, end, err := a.bounds(ctx, topic, partition)
	if err != nil {
		return 0, err
	}
	for pause := 10 * time.Millisecond; ; pause = min(2*pause, 250*time.Millisecond) {
		stable, err := a.admin.ListCommittedOffsets(ctx, topic)
		if err != nil {
			return 0, fmt.Errorf("exactly: list stable offset of %s/%d: %w", topic, partition, err)
		}
		lso, err := lookup(stable, topic, partition)
		if err != nil {
			return 0, fmt.Errorf("exactly: list stable offset of %s/%d: %w", topic, partition, err)
		}
		if lso >= end {
			break
		}
		select {
		case <-ctx.Done():
			return 0, fmt.Errorf("exactly: wait for open transactions of %s/%d: stable to %d of %d: %w", topic, partition, lso, end, ctx.Err())
		case <-time.After(pause):
		}
	}
	for back := int64(16); ; back *= 8 {
		from := max(start, end-back)
		last, err := lastData(ctx, a.client, topic, partition, from, end)
		if err != nil {
			return 0, err
		}
		if last >= 0 {
			return last + 1, nil
		}
		if from == start {
			return start, nil // nothing but markers and aborted records
		}
	}
}

// lastData returns the offset of the last committed data record in [from, end),
// or -1. It sends its own fetch requests, because only they tell the position
// behind batches that hold nothing (markers, aborted, compacted away).
func lastData(ctx context.Context, client *kgo.Client, topic string, partition int32, from, end int64) (int64, error) {
	last := int64(-1)
	for at := from; at < end; {
		fp, next, err := fetch(ctx, client, topic, partition, at)
		if err != nil {
			return 0, fmt.Errorf("exactly: read tail of %s/%d at %d: %w", topic, partition, at, err)
		}
		for _, r := range fp.Records {
			if r.Offset < end {
				last = r.Offset
			}
		}
		if next <= at {
			// The log ends here though its end is further on: the last batches
			// were removed by compaction.
			return last, nil
		}
		at = next
	}
	return last, nil
}

// fetch reads committed records at offset once and returns the next offset.
func fetch(ctx context.Context, client *kgo.Client, topic string, partition int32, offset int64) (kgo.FetchPartition, int64, error) {
	for tries := 0; ; tries++ {
		fp, next, err := fetchOnce(ctx, client, topic, partition, offset)
		if err == nil || tries == 10 || (!kerr.IsRetriable(err) && !errors.Is(err, errNoLeader)) {
			return fp, next, err
		}
		select {
		case <-ctx.Done():
			return fp, next, err
		case <-time.After(100 * time.Millisecond):
		}
	}
}

var errNoLeader = errors.New("no leader")

func fetchOnce(ctx context.Context, client *kgo.Client, topic string, partition int32, offset int64) (kgo.FetchPartition, int64, error) {
	topics, err := kadm.NewClient(client).ListTopics(ctx, topic)
	if err != nil {
		return kgo.FetchPartition{}, offset, err
	}
	t := topics[topic]
	detail, ok := t.Partitions[partition]
	if !ok || detail.Leader < 0 {
		return kgo.FetchPartition{}, offset, errNoLeader
	}
	req := kmsg.NewPtrFetchRequest()
	req.MaxWaitMillis = 0
	req.MinBytes = 1
	req.MaxBytes = 32 << 20
	req.IsolationLevel = 1
	req.SessionEpoch = -1
	rt := kmsg.NewFetchRequestTopic()
	rt.Topic, rt.TopicID = topic, t.ID
	rp := kmsg.NewFetchRequestTopicPartition()
	rp.Partition, rp.FetchOffset, rp.PartitionMaxBytes = partition, offset, 8<<20
	rt.Partitions = append(rt.Partitions, rp)
	req.Topics = append(req.Topics, rt)
	raw, err := client.Broker(int(detail.Leader)).RetriableRequest(ctx, req)
	if err != nil {
		return kgo.FetchPartition{}, offset, err
	}
	resp := raw.(*kmsg.FetchResponse)
	if err := kerr.ErrorForCode(resp.ErrorCode); err != nil {
		return kgo.FetchPartition{}, offset, err
	}
	if len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != 1 {
		return kgo.FetchPartition{}, offset, fmt.Errorf("fetch response has %d topics", len(resp.Topics))
	}
	part := &resp.Topics[0].Partitions[0]
	if err := kerr.ErrorForCode(part.ErrorCode); err != nil {
		return kgo.FetchPartition{}, offset, err
	}
	opts := kgo.ProcessFetchPartitionOpts{Offset: offset, IsolationLevel: kgo.ReadCommitted(), Topic: topic, Partition: partition}
	fp, next := kgo.ProcessFetchPartition(opts, part, kgo.DefaultDecompressor(), nil)
	if fp.Err != nil {
		return fp, next, fp.Err
	}
	return fp, next, nil
}
