package topologies

import (
	"context"
	"errors"

	"github.com/google/uuid"
	"github.com/lovoo/goka"

	"github.com/tintype/tintype/event"
	"github.com/tintype/tintype/event/eventpb"
	"github.com/tintype/tintype/exactly"
	"github.com/tintype/tintype/load"
)

// loadStage hands records to the loader and has it flush before each commit.
type loadStage struct {
	*stageBase
	loader *load.Loader
}

func newLoadStage(base *stageBase) *loadStage {
	group := Group(base.Deployment, event.StageLoad)
	return &loadStage{stageBase: base, loader: load.NewLoader(base.ClickHouse, load.Config{Group: group, Log: base.Log})}
}

func (s *loadStage) graph() *goka.GroupGraph {
	return goka.DefineGroup(
		goka.Group(Group(s.Deployment, event.StageLoad)),
		goka.Input(goka.Stream(s.Topics.Developed.Name), s.Codecs.Developed, s.developed),
		goka.Input(goka.Stream(s.Topics.DeadLetters.Name), s.Codecs.DeadLetter, s.deadLetter),
	)
}

func (s *loadStage) hooks() exactly.Hooks {
	hooks := s.baseHooks()
	assigned := hooks.Assigned
	hooks.Assigned = func(ctx context.Context, claims []exactly.Claim) error {
		held := make([]load.Partition, 0, len(claims))
		for _, claim := range claims {
			held = append(held, load.Partition{TopicID: uuid.UUID(claim.TopicID), Partition: claim.Partition})
		}
		return errors.Join(assigned(ctx, claims), s.loader.Assigned(ctx, held))
	}
	hooks.BeforeCommit = s.loader.Flush
	return hooks
}

func (s *loadStage) developed(ctx goka.Context, value any) {
	record := value.(*event.Decoded[*eventpb.Developed])
	if record.Err != nil {
		s.foreign(ctx, record.Err)
		return
	}
	s.tally.fate(record.Message.Outcome)
	s.loader.Developed(s.ids.position(ctx), record.Message)
}

func (s *loadStage) deadLetter(ctx goka.Context, value any) {
	record := value.(*event.Decoded[*eventpb.DeadLetter])
	if record.Err != nil {
		s.foreign(ctx, record.Err)
		return
	}
	s.loader.DeadLetter(s.ids.position(ctx), record.Message)
}
