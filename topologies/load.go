package topologies

import (
	"context"
	"errors"
	"log/slog"
	"time"

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

// releaseTimeout bounds a courtesy to the next owner, who waits out a lease
// otherwise.
const releaseTimeout = 2 * time.Second

func newLoadStage(base *stageBase) *loadStage {
	group := Group(base.Deployment, event.StageLoad)
	return &loadStage{stageBase: base, loader: load.NewLoader(base.ClickHouse, load.Config{Group: group, Instance: base.Instance, Log: base.Log})}
}

// graph reads the dead letters that it writes: those rows are made when they are
// committed, like any other's.
func (s *loadStage) graph() *goka.GroupGraph {
	return goka.DefineGroup(
		goka.Group(Group(s.Deployment, event.StageLoad)),
		goka.Input(goka.Stream(s.Topics.Developed.Name), s.Codecs.Developed, s.developed),
		goka.Input(goka.Stream(s.Topics.DeadLetters.Name), s.Codecs.DeadLetter, s.deadLetter),
		goka.Output(goka.Stream(s.Topics.DeadLetters.Name), s.Codecs.DeadLetter),
	)
}

func (s *loadStage) hooks() exactly.Hooks {
	hooks := s.baseHooks()
	assigned, committed := hooks.Assigned, hooks.Committed
	hooks.Assigned = func(ctx context.Context, claims []exactly.Claim) error {
		return errors.Join(assigned(ctx, claims), sinkError(s.loader.Assigned(ctx, partitionsOf(claims))))
	}
	hooks.EndWith = func(topic string, partition int32) (int64, bool) {
		return s.loader.EndWith(load.Partition{TopicID: s.ids.of(topic), Partition: partition})
	}
	hooks.BeforeCommit = func(ctx context.Context) error { return sinkError(s.loader.Flush(ctx)) }
	hooks.Committed = func() {
		committed()
		s.loader.Committed()
	}
	hooks.Revoked = func(claims []exactly.Claim) {
		s.released(func(ctx context.Context) error { return s.loader.Revoked(ctx, partitionsOf(claims)) })
	}
	return hooks
}

// close gives up what is held at the end: a drain keeps its assignment until it
// leaves the group, so that nothing is revoked.
func (s *loadStage) close() { s.released(s.loader.Close) }

func (s *loadStage) released(release func(context.Context) error) {
	ctx, cancel := context.WithTimeout(context.Background(), releaseTimeout)
	defer cancel()
	if err := release(ctx); err != nil {
		s.Log.Warn("the next owner has to wait out the lease", slog.String("stage", string(s.name)), slog.Any("error", err))
	}
}

func partitionsOf(claims []exactly.Claim) []load.Partition {
	held := make([]load.Partition, 0, len(claims))
	for _, claim := range claims {
		held = append(held, load.Partition{TopicID: uuid.UUID(claim.TopicID), Partition: claim.Partition})
	}
	return held
}

// sinkError marks what only a person can heal.
func sinkError(err error) error {
	if load.IsPermanent(err) {
		return exactly.Permanent(err)
	}
	return err
}

func (s *loadStage) developed(ctx goka.Context, value any) {
	record := value.(*event.Decoded[*eventpb.Developed])
	if record.Err != nil {
		s.foreign(ctx, record.Err)
		return
	}
	if record.Message.Outcome == eventpb.Outcome_OUTCOME_UNSPECIFIED {
		s.foreign(ctx, errors.New("topologies: a fate without an outcome"))
		return
	}
	refusal := s.loader.Developed(s.ids.position(ctx), record.Message)
	if refusal == nil {
		s.tally.fate(record.Message.Outcome)
		return
	}
	s.tally.dead(refusal.Reason)
	ctx.Emit(goka.Stream(s.Topics.DeadLetters.Name), record.Message.GetSender().GetUploadId(), s.letter(record.Message, refusal))
}

// letter carries a fate whose rows were refused past ClickHouse: identity, outcome
// and times, and nothing else that might be what was refused.
func (s *loadStage) letter(d *eventpb.Developed, refusal *event.Refusal) *eventpb.DeadLetter {
	return &eventpb.DeadLetter{
		Stamp: d.Stamp, Outcome: &d.Outcome, Stage: string(s.name), Reason: string(refusal.Reason), Detail: refusal.Detail, FailedAtMs: s.Now().UnixMilli(),
		Sender: &eventpb.Sender{UploadId: d.GetSender().GetUploadId(), UploadedAtMs: d.GetSender().UploadedAtMs, RedriveOf: d.GetSender().GetRedriveOf()},
	}
}

func (s *loadStage) deadLetter(ctx goka.Context, value any) {
	record := value.(*event.Decoded[*eventpb.DeadLetter])
	if record.Err != nil {
		s.foreign(ctx, record.Err)
		return
	}
	if record.Message.GetOutcome() != eventpb.Outcome_OUTCOME_UNSPECIFIED { // The loader's own: now its fate is loaded.
		s.tally.fate(record.Message.GetOutcome())
	}
	s.loader.DeadLetter(s.ids.position(ctx), record.Message)
}
