package exactly

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/IBM/sarama"
	"github.com/lovoo/goka"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
)

const (
	adminTimeout  = 30 * time.Second
	loopRetention = 7 * 24 * time.Hour // goka's own hour loses loops while the group is down
	batchOverhead = 4096               // room for batch and record headers above MaxMessageBytes
)

type topicInfo struct {
	id         [16]byte
	partitions int
}

// topicManager is goka's, on the adapter's own connections.
type topicManager struct{ a *Adapter }

var _ goka.TopicManager = topicManager{}

// requestContext bounds one administrative step, and ends with the session.
func (a *Adapter) requestContext() (context.Context, context.CancelFunc) {
	a.mu.Lock()
	m := a.member
	a.mu.Unlock()
	return context.WithTimeout(m.context(), adminTimeout)
}

// topicInfo reads a topic's id and partition count, which must be gap-less.
func (a *Adapter) topicInfo(ctx context.Context, topic string) (topicInfo, error) {
	a.mu.Lock()
	info, ok := a.topics[topic]
	a.mu.Unlock()
	if ok {
		return info, nil
	}
	topics, err := a.admin.ListTopics(ctx, topic)
	if err != nil {
		return topicInfo{}, fmt.Errorf("exactly: describe topic %s: %w", topic, err)
	}
	t, ok := topics[topic]
	if !ok || errors.Is(t.Err, kerr.UnknownTopicOrPartition) || errors.Is(t.Err, kerr.UnknownTopicID) {
		return topicInfo{}, &TopicError{Topic: topic, Reason: "it does not exist", Missing: true}
	}
	if t.Err != nil {
		return topicInfo{}, fmt.Errorf("exactly: describe topic %s: %w", topic, t.Err)
	}
	info = topicInfo{id: t.ID, partitions: len(t.Partitions)}
	for p := range info.partitions {
		if _, ok := t.Partitions[int32(p)]; !ok {
			return topicInfo{}, &TopicError{Topic: topic, Reason: fmt.Sprintf("partition %d of %d is missing", p, info.partitions), Missing: true}
		}
	}
	a.mu.Lock()
	a.topics[topic] = info
	a.mu.Unlock()
	return info, nil
}

// forgetTopics makes the next topicInfo ask the broker.
func (a *Adapter) forgetTopics() {
	a.mu.Lock()
	defer a.mu.Unlock()
	clear(a.topics)
}

// EnsureTableExists checks the changelog, or creates it compacted.
func (t topicManager) EnsureTableExists(topic string, npar int) error {
	return t.ensure(topic, npar, 0, map[string]string{"cleanup.policy": "compact"})
}

// EnsureStreamExists checks the loop topic, or creates it.
func (t topicManager) EnsureStreamExists(topic string, npar int) error {
	return t.ensure(topic, npar, 0, map[string]string{
		"cleanup.policy": "delete",
		"retention.ms":   strconv.FormatInt(loopRetention.Milliseconds(), 10),
	})
}

// EnsureTopicExists checks a topic, or creates it with config.
func (t topicManager) EnsureTopicExists(topic string, npar, rfactor int, config map[string]string) error {
	return t.ensure(topic, npar, rfactor, config)
}

func (t topicManager) ensure(topic string, npar, replication int, config map[string]string) error {
	ctx, cancel := t.a.requestContext()
	defer cancel()
	return t.a.note(t.a.ensureTopic(ctx, topic, npar, replication, config))
}

func (a *Adapter) ensureTopic(ctx context.Context, topic string, npar, replication int, config map[string]string) error {
	info, err := a.topicInfo(ctx, topic)
	var missing *TopicError
	switch {
	case err == nil:
		return a.checkTopic(ctx, topic, npar, info, config)
	case !errors.As(err, &missing):
		return err
	case !a.cfg.CreateTopics:
		return &TopicError{Topic: topic, Reason: "it does not exist and Config.CreateTopics is off"}
	}
	if replication <= 0 {
		replication = a.cfg.Replication
	}
	if replication <= 0 {
		brokers, err := a.admin.ListBrokers(ctx)
		if err != nil {
			return fmt.Errorf("exactly: count brokers: %w", err)
		}
		replication = max(1, min(3, len(brokers)))
	}
	configs := map[string]*string{}
	for k, v := range config {
		configs[k] = new(v)
	}
	if a.cfg.MaxMessageBytes > defaultMaxMessageBytes {
		configs["max.message.bytes"] = new(strconv.Itoa(int(a.cfg.MaxMessageBytes) + batchOverhead))
	}
	resp, err := a.admin.CreateTopic(ctx, int32(npar), int16(replication), configs, topic)
	if err == nil {
		err = resp.Err
	}
	if err != nil && !errors.Is(err, kerr.TopicAlreadyExists) {
		return fmt.Errorf("exactly: create topic %s with %d partitions, replication %d: %w", topic, npar, replication, err)
	}
	return a.awaitTopic(ctx, topic, npar)
}

// awaitTopic waits until the metadata shows a topic that was just created.
func (a *Adapter) awaitTopic(ctx context.Context, topic string, npar int) error {
	for {
		info, err := a.topicInfo(ctx, topic)
		var missing *TopicError
		if err == nil && info.partitions != npar {
			return &TopicError{Topic: topic, Reason: fmt.Sprintf("it has %d partitions, the inputs have %d", info.partitions, npar)}
		}
		if err == nil || !errors.As(err, &missing) {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("exactly: wait for topic %s: %w", topic, ctx.Err())
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func (a *Adapter) checkTopic(ctx context.Context, topic string, npar int, info topicInfo, config map[string]string) error {
	if info.partitions != npar {
		return &TopicError{Topic: topic, Reason: fmt.Sprintf("it has %d partitions, the inputs have %d", info.partitions, npar)}
	}
	if config["cleanup.policy"] != "compact" {
		return nil
	}
	described, err := a.admin.DescribeTopicConfigs(ctx, topic)
	if err != nil || len(described) != 1 || described[0].Err != nil {
		return nil //nolint:nilerr // the right to describe configs is not needed to run
	}
	for _, c := range described[0].Configs {
		if c.Key == "cleanup.policy" && c.Value != nil && !slices.Contains(strings.Split(*c.Value, ","), "compact") {
			return &TopicError{Topic: topic, Reason: fmt.Sprintf("cleanup.policy is %q: a table must be compacted, or it loses its state", *c.Value)}
		}
	}
	return nil
}

// Partitions returns all partitions of topic.
func (t topicManager) Partitions(topic string) ([]int32, error) {
	ctx, cancel := t.a.requestContext()
	defer cancel()
	info, err := t.a.topicInfo(ctx, topic)
	if err != nil {
		return nil, t.a.note(err)
	}
	ps := make([]int32, info.partitions)
	for p := range ps {
		ps[p] = int32(p)
	}
	return ps, nil
}

// GetOffset returns the first offset, or for sarama.OffsetNewest the offset after
// the last committed data record (see lastData).
func (t topicManager) GetOffset(topic string, partition int32, at int64) (int64, error) {
	a := t.a
	a.mu.Lock()
	m := a.member
	a.mu.Unlock()
	// An open transaction of a peer may have to time out first.
	ctx, cancel := context.WithTimeout(m.context(), adminTimeout+2*a.cfg.TransactionTimeout)
	defer cancel()
	var (
		offset int64
		err    error
	)
	switch at {
	case sarama.OffsetOldest:
		offset, _, err = a.bounds(ctx, topic, partition)
	case sarama.OffsetNewest:
		offset, err = a.newest(ctx, topic, partition)
	default:
		err = permanent(fmt.Errorf("exactly: look up offset of %s/%d: time %d is not supported", topic, partition, at))
	}
	return offset, a.note(err)
}

// Close does nothing: the connections are the adapter's.
func (topicManager) Close() error { return nil }

// bounds returns the first offset and the one after the last, committed or not.
func (a *Adapter) bounds(ctx context.Context, topic string, partition int32) (start, end int64, err error) {
	starts, err := a.admin.ListStartOffsets(ctx, topic)
	if err == nil {
		start, err = lookup(starts, topic, partition)
	}
	if err != nil {
		return 0, 0, fmt.Errorf("exactly: list first offset of %s/%d: %w", topic, partition, err)
	}
	ends, err := a.admin.ListEndOffsets(ctx, topic)
	if err == nil {
		end, err = lookup(ends, topic, partition)
	}
	if err != nil {
		return 0, 0, fmt.Errorf("exactly: list last offset of %s/%d: %w", topic, partition, err)
	}
	return start, end, nil
}

func lookup(offsets kadm.ListedOffsets, topic string, partition int32) (int64, error) {
	o, ok := offsets.Lookup(topic, partition)
	if !ok {
		return 0, kerr.UnknownTopicOrPartition
	}
	return o.Offset, o.Err
}
