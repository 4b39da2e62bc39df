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
// or -1.
func lastData(ctx context.Context, client *kgo.Client, topic string, partition int32, from, end int64) (int64, error) {
	last := int64(-1)
	err := Scan(ctx, client, Range{Topic: topic, Partition: partition, From: from, End: end}, func(r *kgo.Record) {
		if !r.Attrs.IsControl() {
			last = r.Offset
		}
	})
	return last, err
}

// A Range is a part of a partition: the offsets in [From, End).
type Range struct {
	Topic     string
	Partition int32
	From, End int64
	// FetchBytes bounds what one request reads, but for a single batch that is
	// larger; 0: 8 MiB.
	FetchBytes int32
}

// Scan calls f with the committed records of a range in order, and with the
// control records, which end transactions. Offsets that it leaves out are of
// aborted records, or were compacted away. It sends its own fetch requests,
// because only they tell the position behind batches that hold nothing. The range
// must lie below the last stable offset.
func Scan(ctx context.Context, client *kgo.Client, in Range, f func(*kgo.Record)) error {
	if in.FetchBytes == 0 {
		in.FetchBytes = fetchBytes
	}
	for at := in.From; at < in.End; {
		fp, next, err := fetch(ctx, client, in, at)
		if err != nil {
			return fmt.Errorf("exactly: read %s/%d at %d: %w", in.Topic, in.Partition, at, err)
		}
		for _, r := range fp.Records {
			if r.Offset >= at && r.Offset < in.End {
				f(r)
			}
		}
		if next <= at {
			// The log ends here though its end is further on: the last batches
			// were removed by compaction.
			return nil
		}
		at = next
	}
	return nil
}

// fetch reads committed records at offset once and returns the next offset.
func fetch(ctx context.Context, client *kgo.Client, in Range, offset int64) (kgo.FetchPartition, int64, error) {
	for tries := 0; ; tries++ {
		fp, next, err := fetchOnce(ctx, client, in, offset)
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

func fetchOnce(ctx context.Context, client *kgo.Client, in Range, offset int64) (kgo.FetchPartition, int64, error) {
	topic, partition := in.Topic, in.Partition
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
	rp.Partition, rp.FetchOffset, rp.PartitionMaxBytes = partition, offset, in.FetchBytes
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
	opts := kgo.ProcessFetchPartitionOpts{Offset: offset, IsolationLevel: kgo.ReadCommitted(), Topic: topic, Partition: partition, KeepControlRecords: true}
	fp, next := kgo.ProcessFetchPartition(opts, part, kgo.DefaultDecompressor(), nil)
	if fp.Err != nil {
		return fp, next, fp.Err
	}
	return fp, next, nil
}
