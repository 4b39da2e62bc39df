package topologies

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/lovoo/goka"
	"google.golang.org/protobuf/proto"

	"github.com/tintype/tintype/blob"
	"github.com/tintype/tintype/event"
	"github.com/tintype/tintype/event/eventpb"
	"github.com/tintype/tintype/exactly"
	"github.com/tintype/tintype/transform/dedupe"
	"github.com/tintype/tintype/transform/pixel"
	"github.com/tintype/tintype/transform/window"
)

// transformStage renders first sightings and recognises the later ones.
type transformStage struct {
	*stageBase
	spec     string
	renderer *renderer
	flow     *flow
}

func newTransformStage(base *stageBase) *transformStage {
	s := &transformStage{stageBase: base, spec: pixel.SpecID(base.Specs), renderer: newRenderer(base.Config, base.memory)}
	s.flow = &flow{stageBase: base, feeds: func(int) []window.Task { return tasksOf(event.StageExtract, base.partitions) }}
	s.flow.announcements = []*announcement{{topics: []string{s.Topics.Measures.Name}, vectors: s.flow.vectors}}
	return s
}

func (s *transformStage) graph() *goka.GroupGraph {
	return goka.DefineGroup(
		goka.Group(Group(s.Deployment, event.StageTransform)),
		goka.Input(goka.Stream(s.Topics.Photos.Name), s.Codecs.Photo, s.photo),
		goka.Persist(s.Codecs.Sightings),
		goka.Output(goka.Stream(s.Topics.Developed.Name), s.Codecs.Developed),
		goka.Output(goka.Stream(s.Topics.DeadLetters.Name), s.Codecs.DeadLetter),
		goka.Output(goka.Stream(s.Topics.Measures.Name), s.Codecs.Measure),
	)
}

func (s *transformStage) hooks() exactly.Hooks { return s.flow.hooks(s.Topics.Photos.Name) }

// A making is what a photo's renditions came to.
type making struct {
	// known says that an earlier sighting has them, in the blob store too.
	known      bool
	renditions []*eventpb.Rendition
	phash      uint64
	kernelPath string
	took       time.Duration
}

// prepare makes the renditions of the photos in hand, each of a hash once.
func (s *transformStage) prepare(in exactly.Input) *exactly.Task {
	if controlOf(in.Headers) != "" {
		return nil
	}
	record := s.Codecs.Photo.Read(in.Value)
	if record.Err != nil {
		return nil
	}
	return &exactly.Task{
		Key: in.Key + " " + s.spec,
		Do: func(ctx context.Context) (any, error) {
			value, err := in.Committed()
			if err != nil {
				return nil, err
			}
			return s.make(ctx, record.Message, dedupe.Find(s.Codecs.Sightings.Read(value).Message, s.spec))
		},
	}
}

// made is what was prepared, or what is made now where the state was another
// then. first is the first sighting by the live state.
func (s *transformStage) made(ctx goka.Context, photo *eventpb.Photo, first *eventpb.Sighting) (*making, error) {
	value, ok, err := exactly.Prepared(ctx)
	if m, _ := value.(*making); ok && (err != nil || !m.known || first != nil) {
		return m, err
	}
	return s.make(context.WithoutCancel(ctx.Context()), photo, first)
}

// make confirms the renditions of a first sighting, or renders the photo.
func (s *transformStage) make(ctx context.Context, photo *eventpb.Photo, first *eventpb.Sighting) (*making, error) {
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	if first != nil {
		if known, err := s.confirmed(ctx, first); known || err != nil {
			return &making{known: known}, err
		}
	}
	return s.render(ctx, photo)
}

// photo decides between an original and a duplicate, and ends the upload's way.
func (s *transformStage) photo(ctx goka.Context, value any) {
	if s.trouble.met() != nil {
		return
	}
	record := value.(*event.Decoded[*eventpb.Photo])
	if controlOf(ctx.Headers()) == event.ControlWatermarks {
		if err := s.flow.watermarks(ctx.Partition(), record.Raw); err != nil {
			s.foreign(ctx, err)
		}
		return
	}
	s.flow.data.Store(true)
	if record.Err != nil {
		s.foreign(ctx, record.Err)
		return
	}
	photo := record.Message
	if exactly.TooSlow(ctx) {
		s.die(ctx, death{
			stamp: photo.Stamp, sender: photo.Sender, facts: photo.Facts, rawKey: photo.Key, refusal: s.refuseSlow(), extractMS: &photo.ExtractMs,
		})
		return
	}
	state := s.sightings(ctx)
	first := dedupe.Find(state, s.spec)
	started := s.Now()
	m, err := s.made(ctx, photo, first)
	took := s.Now().Sub(started)
	if refusal, ok := event.AsRefusal(err); ok {
		tookMS := milliseconds(took + m.took)
		s.die(ctx, death{
			stamp: photo.Stamp, sender: photo.Sender, facts: photo.Facts, rawKey: photo.Key, refusal: refusal,
			extractMS: &photo.ExtractMs, transformMS: &tookMS,
		})
		return
	}
	if err != nil {
		s.trouble.meet(err)
		return
	}
	if m.known {
		s.develop(ctx, photo, first, took)
		return
	}
	sighting := &eventpb.Sighting{
		UploadId: photo.Sender.GetUploadId(), EventTimeMs: photo.Stamp.GetEventTimeMs(), Origin: photo.Stamp.GetOrigin(),
		Renditions: m.renditions, Phash: m.phash, KernelPath: m.kernelPath,
	}
	if first != nil { // Seen before: the first sighting stays the first.
		sighting.UploadId, sighting.EventTimeMs, sighting.Origin = first.UploadId, first.EventTimeMs, first.Origin
	}
	if !proto.Equal(sighting, first) { // Equal where both are in hand: the first one's making serves both.
		ctx.SetValue(dedupe.Remember(state, s.spec, sighting))
		took += m.took
	}
	s.develop(ctx, photo, sighting, took)
}

// develop emits the fate of a photo with renditions: the upload of the first
// sighting is the original.
func (s *transformStage) develop(ctx goka.Context, photo *eventpb.Photo, sighting *eventpb.Sighting, took time.Duration) {
	s.tally.stageDone(took)
	tookMS := milliseconds(took)
	fate := &eventpb.Developed{
		Stamp: photo.Stamp, Sender: photo.Sender, Outcome: eventpb.Outcome_OUTCOME_ORIGINAL, Facts: photo.Facts,
		Renditions: sighting.Renditions, Spec: &s.spec, Phash: &sighting.Phash, KernelPath: &sighting.KernelPath,
		ExtractMs: &photo.ExtractMs, TransformMs: &tookMS,
	}
	if event.PositionOf(sighting.Origin) != event.PositionOf(photo.Stamp.GetOrigin()) {
		fate.Outcome = eventpb.Outcome_OUTCOME_DUPLICATE
		fate.DuplicateOf = &sighting.UploadId
	}
	s.end(ctx, fate)
}

// sightings is the state of the record's content hash; nil where there is none.
func (s *transformStage) sightings(ctx goka.Context) *eventpb.Sightings {
	value := ctx.Value()
	if value == nil {
		return nil
	}
	state := value.(*event.Decoded[*eventpb.Sightings])
	if state.Err != nil {
		ctx.Fail(fmt.Errorf("topologies: table of transform: key %q: %w", ctx.Key(), state.Err))
	}
	return state.Message
}

// confirmed reports whether the blob store still has a sighting's renditions.
func (s *transformStage) confirmed(ctx context.Context, sighting *eventpb.Sighting) (bool, error) {
	for _, rendition := range sighting.Renditions {
		ok, err := s.Blobs.Has(ctx, rendition.Key)
		if !ok || err != nil {
			return false, err
		}
	}
	return true, nil
}

// render renders a photo and stores its renditions. With an error it tells how
// long it took.
func (s *transformStage) render(ctx context.Context, photo *eventpb.Photo) (m *making, err error) {
	m = new(making)
	started := s.Now()
	defer func() { m.took = s.Now().Sub(started) }()
	src, err := s.original(ctx, photo)
	if errors.Is(err, blob.ErrNotFound) || errors.Is(err, blob.ErrTooLarge) {
		return m, event.Refuse(event.ReasonOriginalMissing, "%v", err)
	}
	if err != nil {
		return m, err
	}
	encoded, report, err := s.renderer.render(ctx, src, photo.Facts)
	if err != nil {
		return m, err
	}
	m.phash, m.kernelPath = report.PHash, report.KernelPath
	sha := hex.EncodeToString(photo.Facts.GetSha256())
	for _, e := range encoded {
		key := blob.RenditionKey(sha, e.Name, s.spec)
		if err := s.Blobs.Put(ctx, key, e.Data, "image/jpeg"); err != nil {
			return m, err
		}
		m.renditions = append(m.renditions, &eventpb.Rendition{
			Name: e.Name, Width: int32(e.Width), Height: int32(e.Height), Bytes: int64(len(e.Data)), Key: key,
		})
	}
	return m, nil
}

// original reads a photo's bytes. Their room is given back before rendering
// takes room for them and for itself at once.
func (s *transformStage) original(ctx context.Context, photo *eventpb.Photo) ([]byte, error) {
	release, err := s.memory.take(ctx, photo.Facts.GetBytes())
	if err != nil {
		return nil, err
	}
	defer release()
	return s.Blobs.Get(ctx, photo.Key, photo.Facts.GetBytes())
}
