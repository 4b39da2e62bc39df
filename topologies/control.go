package topologies

import (
	"github.com/google/uuid"
	"github.com/lovoo/goka"
	"google.golang.org/protobuf/proto"

	"github.com/tintype/tintype/event"
	"github.com/tintype/tintype/event/eventpb"
	"github.com/tintype/tintype/exactly"
	"github.com/tintype/tintype/transform/window"
)

// controlOf is which control record a callback has; "" for any other record.
func controlOf(headers goka.Headers) event.Control {
	return event.Control(headers[event.ControlHeader])
}

// control makes a control record for one partition of a topic.
func (s *stageBase) control(kind event.Control, topic string, partition int, m proto.Message) (exactly.Record, error) {
	value, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	return exactly.Record{
		Topic: topic, Key: event.ControlKey(partition, s.partitions, partitionOf), Value: value,
		Headers: goka.Headers{event.ControlHeader: []byte(kind)},
	}, err
}

// vectorProto is a task's vector as it is sent; unknown sources are left out.
func vectorProto(task window.Task, s window.Sources) *eventpb.TaskWatermarks {
	m := &eventpb.TaskWatermarks{Stage: task.Stage, Partition: task.Partition}
	for i, t := range s.TimesMS {
		if t != window.Unknown {
			m.Sources = append(m.Sources, &eventpb.SourceTime{Partition: int32(i), StreamTimeMs: t})
		}
	}
	return m
}

// hear reads a record of watermarks and calls f with each task's vector. What does
// not decode, or has no place here, is passed over: none of our stages wrote it.
func (s *stageBase) hear(value []byte, f func(window.Task, window.Sources)) error {
	var m eventpb.Watermarks
	if err := proto.Unmarshal(value, &m); err != nil {
		return err
	}
	topic, err := uuid.FromBytes(m.TopicId)
	if err != nil {
		return err
	}
	for _, task := range m.Tasks {
		sources := window.Sources{TopicID: topic, TimesMS: unknownTimes(s.partitions)}
		for _, source := range task.Sources {
			if i := int(source.Partition); i >= 0 && i < s.partitions {
				sources.TimesMS[i] = source.StreamTimeMs
			}
		}
		f(window.Task{Stage: task.Stage, Partition: task.Partition}, sources)
	}
	return nil
}

// unknownTimes are the times of sources of which nothing is known.
func unknownTimes(n int) []int64 {
	times := make([]int64, n)
	for i := range times {
		times[i] = window.Unknown
	}
	return times
}
