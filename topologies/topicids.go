package topologies

import (
	"sync/atomic"

	"github.com/google/uuid"
	"github.com/lovoo/goka"

	"github.com/tintype/tintype/event"
	"github.com/tintype/tintype/exactly"
)

// topicIDs knows the ids of the topics that a group reads, as of its last
// assignment.
type topicIDs struct {
	byName atomic.Pointer[map[string]uuid.UUID]
	held   atomic.Pointer[map[string][]int32]
}

func (t *topicIDs) assign(claims []exactly.Claim) {
	ids := make(map[string]uuid.UUID, 2)
	held := make(map[string][]int32, 2)
	for _, claim := range claims {
		ids[claim.Topic] = uuid.UUID(claim.TopicID)
		held[claim.Topic] = append(held[claim.Topic], claim.Partition)
	}
	t.byName.Store(&ids)
	t.held.Store(&held)
}

// partitions are the partitions of a topic that are held.
func (t *topicIDs) partitions(topic string) []int32 { return (*t.held.Load())[topic] }

// of is the id of a topic.
func (t *topicIDs) of(topic string) uuid.UUID { return (*t.byName.Load())[topic] }

// position is where the record of a callback stands.
func (t *topicIDs) position(ctx goka.Context) event.Position {
	return event.Position{TopicID: t.of(string(ctx.Topic())), Partition: ctx.Partition(), Offset: ctx.Offset()}
}
