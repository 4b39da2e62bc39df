package exactly

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// A table's lineage is the inputs that its partition was built from, by topic
// id. It is committed with the offsets, as metadata of an offset in the group's
// own changelog: brokers forget a group's offsets of a topic that is deleted, and
// a topic of the same name is another topic. By its lineage an input that was
// created anew, whose first record is next, is told from an offset that was lost,
// where reading on would count records again.
type lineage map[string]uuid.UUID

// lineagePrefix names the version of what stands in the metadata.
const lineagePrefix = "exactly1"

// String lists the topics by name.
func (l lineage) String() string {
	parts := []string{lineagePrefix}
	for _, topic := range slices.Sorted(maps.Keys(l)) {
		parts = append(parts, topic+"="+l[topic].String())
	}
	return strings.Join(parts, " ")
}

// parseLineage reads what String wrote; nil where there is nothing to read.
func parseLineage(metadata string) lineage {
	parts := strings.Fields(metadata)
	if len(parts) == 0 || parts[0] != lineagePrefix {
		return nil
	}
	l := lineage{}
	for _, part := range parts[1:] {
		topic, text, _ := strings.Cut(part, "=")
		id, err := uuid.Parse(text)
		if err != nil {
			return nil
		}
		l[topic] = id
	}
	return l
}

// lineageOf is what to commit of the table's partitions that a transaction's
// records belong to; nil where there is no table.
func (s *session) lineageOf(next map[topicPartition]committedOffset) *kmsg.TxnOffsetCommitRequestTopic {
	table := s.a.tableName()
	if table == "" {
		return nil
	}
	topic := kmsg.NewTxnOffsetCommitRequestTopic()
	topic.Topic, topic.TopicID = table, s.m.ids[table]
	touched := map[int32]bool{}
	for tp := range next {
		touched[tp.partition] = true
	}
	for _, st := range s.a.openStores() {
		if !touched[st.partition] {
			continue
		}
		l := lineage{}
		for name := range s.as.claims {
			if _, read := next[topicPartition{name, st.partition}]; read || s.as.committed[topicPartition{name, st.partition}].offset >= 0 {
				l[name] = s.m.ids[name]
			}
		}
		partition := kmsg.NewTxnOffsetCommitRequestTopicPartition()
		metadata := l.String()
		// Where the changelog stands, so that no tool shows a lag that grows.
		partition.Partition, partition.Offset, partition.Metadata = st.partition, st.position(), &metadata
		topic.Partitions = append(topic.Partitions, partition)
	}
	return &topic
}

// checkInputs learns the topics' ids and checks the lineage by them. What looks
// like a lost offset is looked at again, since the ids that a client shows are a
// little old: that of an input that was created anew may be the old one's still.
func (s *session) checkInputs() error {
	for again := false; ; again = true {
		s.a.forgetTopics()
		if err := s.learnTopics(); err != nil {
			return err
		}
		err := s.checkLineage()
		if _, lost := errors.AsType[*MissingOffsetError](err); !lost || again {
			return err
		}
		select {
		case <-s.ctx.Done():
			return s.ctx.Err()
		case <-time.After(4 * metadataAge):
		}
	}
}

// checkLineage refuses an input without an offset whose records are in the table
// already, and begins an input that was created anew at its beginning.
func (s *session) checkLineage() error {
	table := s.a.tableName()
	if table == "" || s.a.cfg.Delivery != ExactlyOnce {
		return nil
	}
	ctx, cancel := s.a.requestContext()
	defer cancel()
	group := string(s.a.graph.Group())
	offsets, err := s.a.admin.FetchOffsetsForTopics(ctx, group, table)
	if err != nil {
		return fmt.Errorf("exactly: fetch the lineage of %s: %w", table, err)
	}
	partitions := map[int32]bool{}
	for tp := range s.as.committed {
		partitions[tp.partition] = true
	}
	for partition := range partitions {
		at, _ := offsets.Lookup(table, partition)
		if err := s.checkPartition(ctx, table, partition, parseLineage(at.Metadata)); err != nil {
			return err
		}
	}
	return nil
}

func (s *session) checkPartition(ctx context.Context, table string, partition int32, known lineage) error {
	var without []string // Inputs that have no offset of their own.
	for name := range s.as.claims {
		tp := topicPartition{name, partition}
		c, claimed := s.as.committed[tp]
		if !claimed {
			continue
		}
		id, named := known[name]
		anew := named && id != s.m.ids[name]
		if c.offset >= 0 && anew {
			// The broker has not forgotten the old topic's offset.
			if err := s.begin(ctx, tp); err != nil {
				return err
			}
		}
		if anew {
			s.a.cfg.Log.Warn("an input was created anew and is read from its beginning", slog.String("topic", name), slog.Int("partition", int(partition)))
		}
		if c.offset < 0 && !anew && (named || known == nil) {
			without = append(without, name)
		}
	}
	if len(without) == 0 || (known == nil && len(without) < len(s.as.claims)) {
		return nil // Without a lineage, one input that was read speaks for all.
	}
	start, end, err := s.a.bounds(ctx, table, partition)
	if err == nil && end > start {
		end, err = s.a.newest(ctx, table, partition)
	}
	if err != nil {
		return err
	}
	if end > start {
		return &MissingOffsetError{Group: string(s.a.graph.Group()), Table: table, Partition: partition}
	}
	return nil
}

// begin moves an input to its first record.
func (s *session) begin(ctx context.Context, tp topicPartition) error {
	start, _, err := s.a.bounds(ctx, tp.topic, tp.partition)
	if err != nil {
		return err
	}
	s.m.link.client().SetOffsets(map[string]map[int32]kgo.EpochOffset{tp.topic: {tp.partition: {Epoch: -1, Offset: start}}})
	s.as.committed[tp] = committedOffset{offset: noOffset}
	s.m.commitTo(s.as, map[topicPartition]committedOffset{tp: s.as.committed[tp]})
	return nil
}

// learnTopics asks for the ids of the inputs and of the table.
func (s *session) learnTopics() error {
	ctx, cancel := s.a.requestContext()
	defer cancel()
	names := slices.Collect(maps.Keys(s.as.claims))
	if table := s.a.tableName(); table != "" {
		names = append(names, table)
	}
	for _, name := range names {
		info, err := s.a.topicInfo(ctx, name)
		if err != nil {
			return err
		}
		s.m.ids[name] = info.id
	}
	return nil
}
