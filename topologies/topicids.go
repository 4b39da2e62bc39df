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
}

func (t *topicIDs) assign(claims []exactly.Claim) {
	ids := make(map[string]uuid.UUID, 2)
	for _, claim := range claims {
		ids[claim.Topic] = uuid.UUID(claim.TopicID)
	}
	t.byName.Store(&ids)
}

// of is the id of a topic.
func (t *topicIDs) of(topic string) uuid.UUID { return (*t.byName.Load())[topic] }

// position is where the record of a callback stands.
func (t *topicIDs) position(ctx goka.Context) event.Position {
	return event.Position{TopicID: t.of(string(ctx.Topic())), Partition: ctx.Partition(), Offset: ctx.Offset()}
}
