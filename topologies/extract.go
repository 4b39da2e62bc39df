package topologies

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"

	"github.com/lovoo/goka"
	"google.golang.org/protobuf/proto"

	"github.com/tintype/tintype/blob"
	"github.com/tintype/tintype/event"
	"github.com/tintype/tintype/event/eventpb"
	"github.com/tintype/tintype/exactly"
	"github.com/tintype/tintype/extract"
	"github.com/tintype/tintype/transform/window"
)

// extractStage turns uploads into photos, and ends the way of repeats and of
// what is no photo.
type extractStage struct {
	*stageBase
	extractor *extract.Extractor
	times     streamTimes
	flow      *flow
	ticks     *ticker
}

// maxLoopBytes is the longest inline photo that passes the loop inside its
// record; longer ones pass it by reference.
const maxLoopBytes = 256 << 10

func newExtractStage(base *stageBase) *extractStage {
	s := &extractStage{stageBase: base, extractor: extract.New(base.Blobs, base.Limits), times: streamTimes{ahead: base.MaxAhead}}
	s.flow = &flow{stageBase: base, feeds: func(source int) []window.Task {
		return []window.Task{{Stage: string(event.StageExtract), Partition: int32(source)}} // Alone it reads the source, and re-keys it.
	}}
	s.flow.announcements = []*announcement{
		{topics: []string{LoopTopic(Group(s.Deployment, event.StageExtract))}, circular: true, vectors: s.read},
		{topics: []string{s.Topics.Photos.Name, s.Topics.Measures.Name}, vectors: s.passedOn},
	}
	s.ticks = newTicker(s)
	return s
}

// read is how far each task has read its own source.
func (s *extractStage) read() map[int32]window.Sources {
	all := map[int32]window.Sources{}
	for _, partition := range s.ids.partitions(s.Topics.Uploads.Name) {
		if at, ok := s.times.of(partition); ok {
			own := window.Sources{TopicID: s.ids.of(s.Topics.Uploads.Name), TimesMS: unknownTimes(s.partitions)}
			own.TimesMS[partition] = at
			all[partition] = own
		}
	}
	return all
}

// passedOn is how far each task has passed on every source: its own, which it reads,
// and all of them by way of the loop, where re-keyed records come from.
func (s *extractStage) passedOn() map[int32]window.Sources {
	all := s.flow.vectors()
	for partition, vector := range all {
		if vector.TopicID != s.ids.of(s.Topics.Uploads.Name) {
			delete(all, partition) // What is told of an older topic closes nothing.
			continue
		}
		at, ok := s.times.of(partition)
		if !ok {
			at = window.Unknown
		}
		vector.TimesMS[partition] = min(vector.TimesMS[partition], at)
	}
	return all
}

func (s *extractStage) graph() *goka.GroupGraph {
	return goka.DefineGroup(
		goka.Group(Group(s.Deployment, event.StageExtract)),
		goka.Input(goka.Stream(s.Topics.Uploads.Name), s.Codecs.Upload, s.upload),
		goka.Loop(s.Codecs.Rekeyed, s.rekeyed),
		goka.Persist(s.Codecs.SeenUpload),
		goka.Output(goka.Stream(s.Topics.Photos.Name), s.Codecs.Photo),
		goka.Output(goka.Stream(s.Topics.Developed.Name), s.Codecs.Developed),
		goka.Output(goka.Stream(s.Topics.DeadLetters.Name), s.Codecs.DeadLetter),
		goka.Output(goka.Stream(s.Topics.Measures.Name), s.Codecs.Measure),
		goka.Output(goka.Stream(s.Topics.Ticks.Name), s.Codecs.Ticked),
	)
}

func (s *extractStage) hooks() exactly.Hooks {
	hooks := s.flow.hooks(s.Topics.Uploads.Name)
	assigned := hooks.Assigned
	hooks.Assigned = func(ctx context.Context, claims []exactly.Claim) error {
		s.ticks.assign(claims)
		return errors.Join(assigned(ctx, claims), s.times.assign(s.Topics.Uploads.Name, claims))
	}
	hooks.Metadata = func(topic string, partition int32) string {
		mark := s.flow.marks.next(topic, partition)
		if topic != s.Topics.Uploads.Name {
			return writeMetadata("mark", mark)
		}
		return writeMetadata(streamTimeField, s.times.text(partition), "mark", mark)
	}
	return hooks
}

// run sends ticks until ctx ends.
func (s *extractStage) run(ctx context.Context) error { return s.ticks.run(ctx) }

// upload reads a record of the log: it stamps it, and works on it here if this
// is the partition of its key.
func (s *extractStage) upload(ctx goka.Context, value any) {
	if s.trouble.met() != nil {
		return
	}
	record := value.(*event.Decoded[*eventpb.Upload])
	s.flow.sourced.Store(true)
	if controlOf(ctx.Headers()) == event.ControlTick {
		s.tick(ctx, record.Raw)
		return
	}
	s.flow.data.Store(true)
	origin := s.ids.position(ctx)
	appended := ctx.Timestamp().UnixMilli()
	var claimed *int64
	if record.Err == nil && record.Message.UploadedAtMs != nil {
		at := s.times.clamp(record.Message.GetUploadedAtMs(), appended)
		if claimed = &at; at != record.Message.GetUploadedAtMs() {
			s.tally.clamped()
		}
	}
	eventTime, streamTime := s.times.advance(ctx.Partition(), claimed, appended)
	s.ticks.read(ctx.Partition(), appended, streamTime)
	stamp := &eventpb.Stamp{Origin: origin.Proto(), EventTimeMs: eventTime, AppendTimeMs: appended, StreamTimeMs: streamTime}

	upload, err := admit(record, origin)
	if refusal, ok := event.AsRefusal(err); ok {
		key, err := s.keep(ctx, record.Raw)
		if err != nil {
			s.trouble.meet(err)
			return
		}
		s.die(ctx, death{stamp: stamp, sender: senderOf(upload), rawKey: key, refusal: refusal})
		return
	}
	if ctx.Key() == upload.UploadId && partitionOf(ctx.Key(), s.partitions) == ctx.Partition() {
		s.work(ctx, stamp, upload)
		return
	}
	s.rekey(ctx, stamp, upload)
}

// tick moves the stream time of an idle partition. Its row keeps every offset of
// uploads accounted for, and lets SQL recompute the stream time.
func (s *extractStage) tick(ctx goka.Context, value []byte) {
	var tick eventpb.Tick
	if err := proto.Unmarshal(value, &tick); err != nil {
		s.Log.Warn("a tick that does not decode has no allowance", slog.Any("error", err))
	}
	appended := ctx.Timestamp().UnixMilli()
	at := s.times.clamp(appended-max(tick.AllowanceMs, 0), appended)
	eventTime, streamTime := s.times.advance(ctx.Partition(), &at, appended)
	s.ticks.read(ctx.Partition(), appended, streamTime)
	s.tally.tick()
	ctx.Emit(goka.Stream(s.Topics.Ticks.Name), ctx.Key(), &eventpb.Ticked{Stamp: &eventpb.Stamp{
		Origin: s.ids.position(ctx).Proto(), EventTimeMs: eventTime, AppendTimeMs: appended, StreamTimeMs: streamTime,
	}})
}

// rekey sends a record that came without its key, or to another partition than
// its key's, through the loop to where the state of its key is.
func (s *extractStage) rekey(ctx goka.Context, stamp *eventpb.Stamp, upload *eventpb.Upload) {
	if inline := upload.GetInline(); len(inline) > maxLoopBytes {
		key, err := s.keep(ctx, inline)
		if err != nil {
			s.trouble.meet(err)
			return
		}
		sum := sha256.Sum256(inline)
		upload.Body = &eventpb.Upload_Reference{Reference: &eventpb.Reference{Key: key, Sha256: sum[:], Bytes: int64(len(inline))}}
	}
	s.tally.rekeyed()
	ctx.Loopback(upload.UploadId, &eventpb.Rekeyed{Stamp: stamp, Upload: upload})
}

// rekeyed works on a record that passed the loop.
func (s *extractStage) rekeyed(ctx goka.Context, value any) {
	if s.trouble.met() != nil {
		return
	}
	record := value.(*event.Decoded[*eventpb.Rekeyed])
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
	s.work(ctx, record.Message.GetStamp(), record.Message.GetUpload())
}

// work ends a repeat, and extracts anything else.
func (s *extractStage) work(ctx goka.Context, stamp *eventpb.Stamp, upload *eventpb.Upload) {
	sender := senderOf(upload)
	if s.taken(ctx, stamp) && upload.RedriveOf == nil {
		s.end(ctx, &eventpb.Developed{Stamp: stamp, Sender: sender, Outcome: eventpb.Outcome_OUTCOME_REPEAT})
		return
	}
	ctx.SetValue(&eventpb.SeenUpload{EventTimeMs: stamp.GetEventTimeMs()})
	if exactly.TooSlow(ctx) {
		s.die(ctx, death{stamp: stamp, sender: sender, refusal: s.refuseSlow(), rawKey: upload.GetReference().GetKey()})
		return
	}
	started := s.Now()
	original, err := s.extract(context.WithoutCancel(ctx.Context()), upload)
	took := milliseconds(s.Now().Sub(started))
	if err != nil {
		refusal, ok := event.AsRefusal(err)
		if !ok {
			s.trouble.meet(err)
			return
		}
		dead := death{stamp: stamp, sender: sender, refusal: refusal, extractMS: &took}
		if original != nil {
			dead.facts, dead.rawKey = original.Facts, original.Key
		}
		s.die(ctx, dead)
		return
	}
	s.tally.stageDone(s.Now().Sub(started))
	ctx.Emit(goka.Stream(s.Topics.Photos.Name), hex.EncodeToString(original.Facts.Sha256), &eventpb.Photo{
		Stamp: stamp, Sender: sender, Key: original.Key, Facts: original.Facts, ExtractMs: took,
	})
}

// extract waits for room for what a reference names, then extracts. Bytes that
// came inline are in hand already.
func (s *extractStage) extract(ctx context.Context, upload *eventpb.Upload) (*extract.Original, error) {
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	release, err := s.memory.take(ctx, max(upload.GetReference().GetBytes(), 0))
	if err != nil {
		return nil, err
	}
	defer release()
	return s.extractor.Extract(ctx, upload)
}

// taken reports whether the record's upload id was taken not longer than the TTL
// before, in event time.
func (s *extractStage) taken(ctx goka.Context, stamp *eventpb.Stamp) bool {
	value := ctx.Value()
	if value == nil {
		return false
	}
	state := value.(*event.Decoded[*eventpb.SeenUpload])
	if state.Err != nil {
		ctx.Fail(fmt.Errorf("topologies: table of extract: key %q: %w", ctx.Key(), state.Err))
	}
	return stamp.GetEventTimeMs()-state.Message.GetEventTimeMs() <= s.RepeatTTL.Milliseconds()
}

// admit checks what a record claims to be. The upload that it returns always
// has an id; a refusal may come with it.
func admit(record *event.Decoded[*eventpb.Upload], origin event.Position) (*eventpb.Upload, error) {
	if record.Err != nil {
		upload := &eventpb.Upload{UploadId: origin.UploadID()}
		if errors.Is(record.Err, event.ErrNull) {
			return upload, event.Refuse(event.ReasonEmptyRecord, "the record's value is null")
		}
		return upload, event.Refuse(event.ReasonNotProtobuf, "%v", record.Err)
	}
	upload := record.Message
	if len(upload.UploadId) > event.MaxUploadIDBytes {
		long := upload.UploadId
		upload.UploadId = origin.UploadID()
		return upload, event.Refuse(event.ReasonInvalidUpload, "the upload id has %d bytes, more than %d", len(long), event.MaxUploadIDBytes)
	}
	if upload.UploadId == "" {
		upload.UploadId = origin.UploadID()
	}
	return upload, nil
}

// keep stores bytes by their hash and returns the key; "" where there is
// nothing to keep.
func (s *extractStage) keep(ctx goka.Context, raw []byte) (string, error) {
	if len(raw) == 0 {
		return "", nil
	}
	sum := sha256.Sum256(raw)
	key := blob.OriginalKey(hex.EncodeToString(sum[:]))
	return key, s.Blobs.Put(context.WithoutCancel(ctx.Context()), key, raw, "application/octet-stream")
}

// senderOf is the part of an upload that travels on.
func senderOf(upload *eventpb.Upload) *eventpb.Sender {
	return &eventpb.Sender{
		UploadId: upload.GetUploadId(), Uploader: upload.GetUploader(), Filename: upload.GetFilename(),
		UploadedAtMs: upload.UploadedAtMs, RedriveOf: upload.GetRedriveOf(),
	}
}
