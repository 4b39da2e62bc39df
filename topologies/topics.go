package topologies

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/tintype/tintype/event"
)

// DefaultPartitions is the partition count of a new deployment.
const DefaultPartitions = 4

// EnsureTopics creates the deployment's topics that are missing, with
// replication min(3, brokers), and then checks all of them. Existing uploads
// decide the partition count; partitions is for new ones (0: the default). It
// returns the partition count.
func EnsureTopics(ctx context.Context, admin *kadm.Client, topics event.Topics, partitions int) (int, error) {
	details, err := admin.ListTopics(ctx, names(topics)...)
	if err != nil {
		return 0, fmt.Errorf("topologies: list topics: %w", err)
	}
	count := partitions
	if count <= 0 {
		count = DefaultPartitions
	}
	if uploads := details[topics.Uploads.Name]; uploads.Err == nil && len(uploads.Partitions) > 0 {
		count = len(uploads.Partitions)
	}
	brokers, err := admin.ListBrokers(ctx)
	if err != nil {
		return 0, fmt.Errorf("topologies: list brokers: %w", err)
	}
	replication := int16(min(3, len(brokers)))
	for _, topic := range topics.All() {
		if details[topic.Name].Err == nil && len(details[topic.Name].Partitions) > 0 {
			continue
		}
		_, err := admin.CreateTopic(ctx, int32(count), replication, topicConfig(topic), topic.Name)
		if err != nil && !errors.Is(err, kerr.TopicAlreadyExists) {
			return 0, fmt.Errorf("topologies: create topic %s: %w", topic.Name, err)
		}
	}
	return awaitTopics(ctx, admin, topics)
}

// awaitTopics checks until the brokers' metadata shows topics that were just
// created, for a few seconds.
func awaitTopics(ctx context.Context, admin *kadm.Client, topics event.Topics) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for {
		count, err := CheckTopics(ctx, admin, topics)
		var wrong *TopicsError
		if !errors.As(err, &wrong) || !wrong.missing {
			return count, err
		}
		select {
		case <-ctx.Done():
			return count, err
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// topicConfig is how a topic is created. Append time, not the client's claim,
// decides what retention deletes; photos do not compress.
func topicConfig(t event.Topic) map[string]*string {
	config := map[string]string{
		"message.timestamp.type": "LogAppendTime",
		"max.message.bytes":      strconv.Itoa(t.MaxMessageBytes),
		"compression.type":       "producer",
		"cleanup.policy":         "delete",
		"retention.ms":           "-1",
	}
	if t.Retention > 0 {
		config["retention.ms"] = strconv.FormatInt(t.Retention.Milliseconds(), 10)
	}
	if t.Compacted {
		config["cleanup.policy"] = "compact"
	}
	pointers := make(map[string]*string, len(config))
	for k, v := range config {
		pointers[k] = &v
	}
	return pointers
}

// CheckTopics checks that every topic is there with the partition count of
// uploads and stamps records with their append time. It returns that count, and
// one error that names all that is wrong.
func CheckTopics(ctx context.Context, admin *kadm.Client, topics event.Topics) (int, error) {
	details, err := admin.ListTopics(ctx, names(topics)...)
	if err != nil {
		return 0, fmt.Errorf("topologies: list topics: %w", err)
	}
	count := len(details[topics.Uploads.Name].Partitions)
	var wrong []error
	missing := false
	for _, topic := range topics.All() {
		switch d := details[topic.Name]; {
		case d.Err != nil || len(d.Partitions) == 0:
			missing = true
			wrong = append(wrong, fmt.Errorf("topic %s is missing: create it with %d partitions, or have tintype run do it (--create-topics, the default)",
				topic.Name, cmp.Or(count, DefaultPartitions)))
		case len(d.Partitions) != count:
			wrong = append(wrong, fmt.Errorf("topic %s has %d partitions where %s has %d: all topics of a deployment have one count, for life; "+
				"create the deployment under another name, or this topic anew", topic.Name, len(d.Partitions), topics.Uploads.Name, count))
		}
	}
	if len(wrong) > 0 {
		return count, &TopicsError{Problems: wrong, missing: missing}
	}
	configs, err := admin.DescribeTopicConfigs(ctx, names(topics)...)
	if err != nil {
		return count, fmt.Errorf("topologies: describe topics: %w", err)
	}
	for _, resource := range configs {
		for _, c := range resource.Configs {
			if c.Key == "message.timestamp.type" && c.MaybeValue() != "LogAppendTime" {
				wrong = append(wrong, fmt.Errorf("topic %s has message.timestamp.type=%s: set it to LogAppendTime, or retention follows what clients claim",
					resource.Name, c.MaybeValue()))
			}
		}
	}
	if len(wrong) > 0 {
		return count, &TopicsError{Problems: wrong}
	}
	return count, nil
}

// A TopicsError says what is wrong with a deployment's topics. Trying again
// does not help: a person must act.
type TopicsError struct {
	Problems []error
	missing  bool
}

// Error lists the problems.
func (e *TopicsError) Error() string {
	texts := make([]string, 0, len(e.Problems))
	for _, p := range e.Problems {
		texts = append(texts, p.Error())
	}
	return "topologies: " + strings.Join(texts, "; ")
}

func names(topics event.Topics) []string {
	all := topics.All()
	list := make([]string, 0, len(all))
	for _, t := range all {
		list = append(list, t.Name)
	}
	return list
}
