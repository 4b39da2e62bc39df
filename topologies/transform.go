package topologies

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/lovoo/goka"

	"github.com/tintype/tintype/blob"
	"github.com/tintype/tintype/event"
	"github.com/tintype/tintype/event/eventpb"
	"github.com/tintype/tintype/exactly"
	"github.com/tintype/tintype/transform/dedupe"
	"github.com/tintype/tintype/transform/pixel"
)

// transformStage renders first sightings and recognises the later ones.
type transformStage struct {
	*stageBase
	spec   string
	render *renderer
}

func newTransformStage(base *stageBase) *transformStage {
	return &transformStage{stageBase: base, spec: pixel.SpecID(base.Specs), render: newRenderer(base.Config)}
}

func (s *transformStage) graph() *goka.GroupGraph {
	return goka.DefineGroup(
		goka.Group(Group(s.Deployment, event.StageTransform)),
		goka.Input(goka.Stream(s.Topics.Photos.Name), s.Codecs.Photo, s.photo),
		goka.Persist(s.Codecs.Sightings),
		goka.Output(goka.Stream(s.Topics.Developed.Name), s.Codecs.Developed),
		goka.Output(goka.Stream(s.Topics.DeadLetters.Name), s.Codecs.DeadLetter),
	)
}

func (s *transformStage) hooks() exactly.Hooks {
	return s.baseHooks()
}

// photo decides between an original and a duplicate, and ends the upload's way.
func (s *transformStage) photo(ctx goka.Context, value any) {
	if s.trouble.met() != nil {
		return
	}
	record := value.(*event.Decoded[*eventpb.Photo])
	if record.Err != nil {
		s.foreign(ctx, record.Err)
		return
	}
	photo := record.Message
	detached := context.WithoutCancel(ctx.Context())
	state := s.sightings(ctx)
	first := dedupe.Find(state, s.spec)
	started := s.Now()
	if first != nil {
		confirmed, err := s.confirmed(detached, first)
		if err != nil {
			s.trouble.meet(err)
			return
		}
		if confirmed {
			s.develop(ctx, photo, first, started)
			return
		}
	}
	sighting, err := s.sight(detached, photo)
	if refusal, ok := event.AsRefusal(err); ok {
		took := milliseconds(s.Now().Sub(started))
		s.die(ctx, death{
			stamp: photo.Stamp, sender: photo.Sender, facts: photo.Facts, rawKey: photo.Key, refusal: refusal,
			extractMS: &photo.ExtractMs, transformMS: &took,
		})
		return
	}
	if err != nil {
		s.trouble.meet(err)
		return
	}
	if first != nil { // Seen before, but its renditions were gone: the first sighting stays the first.
		sighting.UploadId, sighting.EventTimeMs, sighting.Origin = first.UploadId, first.EventTimeMs, first.Origin
	}
	ctx.SetValue(dedupe.Remember(state, s.spec, sighting))
	s.develop(ctx, photo, sighting, started)
}

// develop emits the fate of a photo with renditions: the upload of the first
// sighting is the original.
func (s *transformStage) develop(ctx goka.Context, photo *eventpb.Photo, sighting *eventpb.Sighting, started time.Time) {
	took := s.Now().Sub(started)
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

// sight renders a photo and stores its renditions.
func (s *transformStage) sight(ctx context.Context, photo *eventpb.Photo) (*eventpb.Sighting, error) {
	src, err := s.Blobs.Get(ctx, photo.Key, photo.Facts.GetBytes())
	if errors.Is(err, blob.ErrNotFound) || errors.Is(err, blob.ErrTooLarge) {
		return nil, event.Refuse(event.ReasonOriginalMissing, "%v", err)
	}
	if err != nil {
		return nil, err
	}
	encoded, report, err := s.render.render(ctx, src, photo.Facts)
	if err != nil {
		return nil, err
	}
	sighting := &eventpb.Sighting{
		UploadId: photo.Sender.GetUploadId(), EventTimeMs: photo.Stamp.GetEventTimeMs(), Origin: photo.Stamp.GetOrigin(),
		Phash: report.PHash, KernelPath: report.KernelPath,
	}
	sha := hex.EncodeToString(photo.Facts.GetSha256())
	for _, e := range encoded {
		key := blob.RenditionKey(sha, e.Name, s.spec)
		if err := s.Blobs.Put(ctx, key, e.Data, "image/jpeg"); err != nil {
			return nil, err
		}
		sighting.Renditions = append(sighting.Renditions, &eventpb.Rendition{
			Name: e.Name, Width: int32(e.Width), Height: int32(e.Height), Bytes: int64(len(e.Data)), Key: key,
		})
	}
	return sighting, nil
}
