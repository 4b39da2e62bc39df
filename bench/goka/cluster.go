package gokabench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// create makes a topic of its own name, and waits until every broker shows it.
func (b *bench) create(ctx context.Context, what string) (string, error) {
	return b.createNamed(ctx, b.name(what), nil)
}

func (b *bench) createNamed(ctx context.Context, name string, config map[string]*string) (string, error) {
	if _, err := b.admin.CreateTopic(ctx, int32(b.Partitions), 1, config, name); err != nil {
		return "", fmt.Errorf("create topic %s: %w", name, err)
	}
	return name, until(ctx, "topic "+name+" to appear", func() (bool, error) {
		topics, err := b.admin.ListTopics(ctx, name)
		if err != nil {
			return false, err
		}
		return topics[name].Err == nil && len(topics[name].Partitions) == b.Partitions, nil
	})
}

// until waits for something that only asking can tell.
func until(ctx context.Context, what string, ok func() (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		done, err := ok()
		if done || err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("wait for %s: %w", what, ctx.Err())
		}
	}
}

// fill writes n records by a client, and returns when all are acknowledged.
func fill(ctx context.Context, client *kgo.Client, n int, record func(i int) *kgo.Record) error {
	var mu sync.Mutex
	var failed error
	for i := range n {
		client.Produce(ctx, record(i), func(_ *kgo.Record, err error) {
			if err != nil {
				mu.Lock()
				failed = errors.Join(failed, err)
				mu.Unlock()
			}
		})
	}
	if err := client.Flush(ctx); err != nil {
		return fmt.Errorf("fill: %w", err)
	}
	mu.Lock()
	defer mu.Unlock()
	return failed
}

// committed is how many records of a topic that has no gaps a group has settled.
func (b *bench) committed(ctx context.Context, group, topic string) (int64, error) {
	offsets, err := b.admin.FetchOffsetsForTopics(ctx, group, topic)
	if err != nil {
		if errors.Is(err, kerr.GroupIDNotFound) || errors.Is(err, kerr.CoordinatorNotAvailable) || errors.Is(err, kerr.NotCoordinator) {
			return 0, nil // The group is only just coming to be.
		}
		return 0, fmt.Errorf("fetch the offsets of %s: %w", group, err)
	}
	sum := int64(0)
	for _, o := range offsets.Offsets()[topic] {
		sum += max(o.At, 0)
	}
	return sum, nil
}

// clean deletes what the run made.
func (b *bench) clean(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	topics, err := b.admin.ListTopics(ctx)
	if err != nil {
		return fmt.Errorf("bench: list topics to delete: %w", err)
	}
	var own []string
	for _, name := range topics.Names() {
		if strings.HasPrefix(name, b.prefix) {
			own = append(own, name)
		}
	}
	if _, err := b.admin.DeleteTopics(ctx, own...); err != nil {
		return fmt.Errorf("bench: delete topics: %w", err)
	}
	groups, err := b.admin.ListGroups(ctx)
	if err != nil {
		return fmt.Errorf("bench: list groups to delete: %w", err)
	}
	for _, name := range groups.Groups() {
		if strings.HasPrefix(name, b.prefix) {
			if _, err := b.admin.DeleteGroup(ctx, name); err != nil && !errors.Is(err, kerr.GroupIDNotFound) {
				return fmt.Errorf("bench: delete group %s: %w", name, err)
			}
		}
	}
	return nil
}

// sink hands every committed record of a topic to take, with the time of its
// arrival, until the returned function is called. It reads from the end on.
func (b *bench) sink(ctx context.Context, topic string, take func(r *kgo.Record, at time.Time)) (stop func(), err error) {
	ends, err := b.admin.ListEndOffsets(ctx, topic)
	if err != nil {
		return nil, fmt.Errorf("find the end of %s: %w", topic, err)
	}
	start := map[string]map[int32]kgo.Offset{topic: {}}
	ends.Each(func(o kadm.ListedOffset) { start[topic][o.Partition] = kgo.NewOffset().At(o.Offset) })
	client, err := kgo.NewClient(kgo.SeedBrokers(b.Brokers...), kgo.ConsumePartitions(start), kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", topic, err)
	}
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() {
		for ctx.Err() == nil {
			fetches := client.PollFetches(ctx)
			at := time.Now()
			fetches.EachRecord(func(r *kgo.Record) { take(r, at) })
		}
	})
	return func() { cancel(); wg.Wait(); client.Close() }, nil
}

// tempDir makes a folder for state; the returned function removes it.
func (b *bench) tempDir() (dir string, remove func(*error), err error) {
	dir, err = os.MkdirTemp(b.Dir, "state-")
	if err != nil {
		return "", nil, fmt.Errorf("make a folder for state: %w", err)
	}
	return dir, func(err *error) { *err = errors.Join(*err, os.RemoveAll(dir)) }, nil
}
