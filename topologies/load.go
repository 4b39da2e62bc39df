package topologies

import (
	"context"
	"errors"
	"fmt"
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
		goka.Input(goka.Stream(s.Topics.WindowResults.Name), s.Codecs.WindowResult, s.window),
		goka.Input(goka.Stream(s.Topics.Late.Name), s.Codecs.LateUpload, s.late),
		goka.Input(goka.Stream(s.Topics.Ticks.Name), s.Codecs.Ticked, s.tick),
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

func (s *loadStage) window(ctx goka.Context, value any) {
	record := value.(*event.Decoded[*eventpb.WindowResult])
	if record.Err != nil {
		s.foreign(ctx, record.Err)
		return
	}
	w, at := record.Message, s.ids.position(ctx)
	if w.Aggregate == "" {
		s.foreign(ctx, errors.New("topologies: a result without an aggregate"))
		return
	}
	// No upload's stamp is its own, so it is told by where it stands.
	stamp := &eventpb.Stamp{Origin: at.Proto(), EventTimeMs: w.WindowStartMs}
	s.refused(ctx, stamp, s.loader.Window(at, w), fmt.Sprintf("%s, key %q, window from %d to %d ms, revision %d", w.Aggregate, w.Key, w.WindowStartMs, w.WindowEndMs, w.Revision))
}

func (s *loadStage) late(ctx goka.Context, value any) {
	record := value.(*event.Decoded[*eventpb.LateUpload])
	if record.Err != nil {
		s.foreign(ctx, record.Err)
		return
	}
	l, at := record.Message, s.ids.position(ctx)
	if l.Aggregate == "" || l.Stamp == nil {
		s.foreign(ctx, errors.New("topologies: a late upload without an aggregate or a stamp"))
		return
	}
	// An upload may be late for many windows, and be refused itself, so the record
	// is told by where it stands.
	stamp := &eventpb.Stamp{Origin: at.Proto(), EventTimeMs: l.Stamp.EventTimeMs, AppendTimeMs: l.Stamp.AppendTimeMs, StreamTimeMs: l.Stamp.StreamTimeMs}
	s.refused(ctx, stamp, s.loader.Late(at, l), fmt.Sprintf("upload at %s, %s, key %q, window from %d ms", event.PositionOf(l.Stamp.Origin), l.Aggregate, l.Key, l.WindowStartMs))
}

func (s *loadStage) tick(ctx goka.Context, value any) {
	record := value.(*event.Decoded[*eventpb.Ticked])
	if record.Err != nil {
		s.foreign(ctx, record.Err)
		return
	}
	t := record.Message
	if t.Stamp == nil {
		s.foreign(ctx, errors.New("topologies: a tick without a stamp"))
		return
	}
	s.refused(ctx, t.Stamp, s.loader.Tick(s.ids.position(ctx), t), "tick")
}

// refused makes a record that is no fate a dead letter, where ClickHouse refuses its
// row. There is no outcome to keep, so that nothing but the dead letter is left of it.
func (s *loadStage) refused(ctx goka.Context, stamp *eventpb.Stamp, refusal *event.Refusal, what string) {
	if refusal == nil {
		return
	}
	s.tally.dead(refusal.Reason)
	ctx.Emit(goka.Stream(s.Topics.DeadLetters.Name), event.PositionOf(stamp.Origin).String(), &eventpb.DeadLetter{
		Stamp: stamp, Stage: string(s.name), Reason: string(refusal.Reason), Detail: refusal.Detail + " (" + what + ")", FailedAtMs: s.Now().UnixMilli(),
	})
}
