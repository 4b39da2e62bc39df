package event

import "github.com/tintype/tintype/event/eventpb"

// Codecs are the codecs of all topics and tables.
type Codecs struct {
	Upload       *Codec[*eventpb.Upload]
	Rekeyed      *Codec[*eventpb.Rekeyed]
	Photo        *Codec[*eventpb.Photo]
	Developed    *Codec[*eventpb.Developed]
	DeadLetter   *Codec[*eventpb.DeadLetter]
	SeenUpload   *Codec[*eventpb.SeenUpload]
	Sightings    *Codec[*eventpb.Sightings]
	Measure      *Codec[*eventpb.Measure]
	WindowResult *Codec[*eventpb.WindowResult]
	LateUpload   *Codec[*eventpb.LateUpload]
	Ticked       *Codec[*eventpb.Ticked]
	Wake         *Codec[*eventpb.Wake]
}

// NewCodecs returns codecs that write plain Protobuf.
func NewCodecs() *Codecs {
	return &Codecs{
		Upload:       NewCodec(func() *eventpb.Upload { return new(eventpb.Upload) }),
		Rekeyed:      NewCodec(func() *eventpb.Rekeyed { return new(eventpb.Rekeyed) }),
		Photo:        NewCodec(func() *eventpb.Photo { return new(eventpb.Photo) }),
		Developed:    NewCodec(func() *eventpb.Developed { return new(eventpb.Developed) }),
		DeadLetter:   NewCodec(func() *eventpb.DeadLetter { return new(eventpb.DeadLetter) }),
		SeenUpload:   NewCodec(func() *eventpb.SeenUpload { return new(eventpb.SeenUpload) }),
		Sightings:    NewCodec(func() *eventpb.Sightings { return new(eventpb.Sightings) }),
		Measure:      NewCodec(func() *eventpb.Measure { return new(eventpb.Measure) }),
		WindowResult: NewCodec(func() *eventpb.WindowResult { return new(eventpb.WindowResult) }),
		LateUpload:   NewCodec(func() *eventpb.LateUpload { return new(eventpb.LateUpload) }),
		Ticked:       NewCodec(func() *eventpb.Ticked { return new(eventpb.Ticked) }),
		Wake:         NewCodec(func() *eventpb.Wake { return new(eventpb.Wake) }),
	}
}

// OutcomeName returns the word for an outcome in ClickHouse and on the command
// line: original, duplicate, repeat, dead, lost.
func OutcomeName(o eventpb.Outcome) string {
	switch o {
	case eventpb.Outcome_OUTCOME_ORIGINAL:
		return "original"
	case eventpb.Outcome_OUTCOME_DUPLICATE:
		return "duplicate"
	case eventpb.Outcome_OUTCOME_REPEAT:
		return "repeat"
	case eventpb.Outcome_OUTCOME_DEAD:
		return "dead"
	case eventpb.Outcome_OUTCOME_LOST:
		return "lost"
	case eventpb.Outcome_OUTCOME_UNSPECIFIED:
	}
	return ""
}
