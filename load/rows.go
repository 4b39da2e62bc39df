package load

import (
	"encoding/hex"
	"math"
	"time"

	"github.com/google/uuid"

	"github.com/tintype/tintype/event"
	"github.com/tintype/tintype/event/eventpb"
)

// Each row type has the columns of its table that come of the record; what an
// insert adds is in lease.

// loaded are the columns that every table has: the record that the row was made of.
type loaded struct {
	LoadTopicID   uuid.UUID `ch:"load_topic_id"`
	LoadPartition int32     `ch:"load_partition"`
	LoadOffset    int64     `ch:"load_offset"`
	// letter: the record is a dead letter; small: the row has been made smaller.
	letter, small bool
}

func loadedAt(at event.Position) loaded {
	return loaded{LoadTopicID: at.TopicID, LoadPartition: at.Partition, LoadOffset: at.Offset}
}

func (l *loaded) ofLetter() bool { return l.letter }

// shrinks reports, once, whether the row is one to be made smaller.
func (l *loaded) shrinks() bool {
	once := l.letter && !l.small
	l.small = true
	return once
}

func (l *loaded) loadPosition() (Partition, int64) {
	return Partition{TopicID: l.LoadTopicID, Partition: l.LoadPartition}, l.LoadOffset
}

// positions are the columns of a table whose rows have an origin.
type positions struct {
	loaded
	SrcTopicID   uuid.UUID `ch:"src_topic_id"`
	SrcPartition int32     `ch:"src_partition"`
	SrcOffset    int64     `ch:"src_offset"`
}

// lease is what an insert adds to its rows, by the server's clock.
type lease struct {
	LoadedAt  time.Time `ch:"loaded_at"`
	LoadLease time.Time `ch:"load_lease"`
}

func (l *lease) grant(by lease) { *l = by }

type uploadRow struct {
	positions
	lease
	UploadID       string     `ch:"upload_id"`
	Uploader       string     `ch:"uploader"`
	Filename       string     `ch:"filename"`
	EventTime      *time.Time `ch:"event_time"`
	UploadedAt     *time.Time `ch:"uploaded_at"`
	Outcome        string     `ch:"outcome"`
	DuplicateOf    *string    `ch:"duplicate_of"`
	SHA256         *string    `ch:"sha256"`
	Format         *string    `ch:"format"`
	Width          *uint32    `ch:"width"`
	Height         *uint32    `ch:"height"`
	Bytes          *uint64    `ch:"bytes"`
	BytesOut       *uint64    `ch:"bytes_out"`
	Orientation    *uint8     `ch:"orientation"`
	CameraMake     *string    `ch:"camera_make"`
	CameraModel    *string    `ch:"camera_model"`
	LensModel      *string    `ch:"lens_model"`
	TakenAtLocal   *time.Time `ch:"taken_at_local"`
	TakenOffsetMin *int16     `ch:"taken_offset_min"`
	TakenAtUTC     *time.Time `ch:"taken_at_utc"`
	Latitude       *float64   `ch:"latitude"`
	Longitude      *float64   `ch:"longitude"`
	ISO            *uint32    `ch:"iso"`
	ExposureS      *float64   `ch:"exposure_s"`
	FNumber        *float64   `ch:"f_number"`
	FocalLengthMM  *float64   `ch:"focal_length_mm"`
	PHash          *uint64    `ch:"phash"`
	Spec           *string    `ch:"spec"`
	KernelPath     *string    `ch:"kernel_path"`
	ExtractMS      *float32   `ch:"extract_ms"`
	TransformMS    *float32   `ch:"transform_ms"`
	Animated       *bool      `ch:"animated"`
	AppendTime     *time.Time `ch:"append_time"`
	StreamTime     *time.Time `ch:"stream_time"`
	RedriveOf      *string    `ch:"redrive_of"`
}

type renditionRow struct {
	positions
	lease
	SHA256    string     `ch:"sha256"`
	Name      string     `ch:"name"`
	Spec      string     `ch:"spec"`
	Width     uint32     `ch:"width"`
	Height    uint32     `ch:"height"`
	Bytes     uint64     `ch:"bytes"`
	Key       string     `ch:"key"`
	EventTime *time.Time `ch:"event_time"`
}

type deadLetterRow struct {
	positions
	lease
	UploadID  string     `ch:"upload_id"`
	Stage     string     `ch:"stage"`
	Reason    string     `ch:"reason"`
	Detail    string     `ch:"detail"`
	Raw       *string    `ch:"raw"`
	EventTime *time.Time `ch:"event_time"`
	FailedAt  time.Time  `ch:"failed_at"`
}

func positionsOf(at event.Position, stamp *eventpb.Stamp) positions {
	origin := event.PositionOf(stamp.GetOrigin())
	return positions{loaded: loadedAt(at), SrcTopicID: origin.TopicID, SrcPartition: origin.Partition, SrcOffset: origin.Offset}
}

func uploadRowOf(at event.Position, d *eventpb.Developed) *uploadRow {
	row := &uploadRow{
		positions: positionsOf(at, d.Stamp),
		UploadID:  d.GetSender().GetUploadId(), Uploader: d.GetSender().GetUploader(), Filename: d.GetSender().GetFilename(),
		UploadedAt: timeOf(d.GetSender().UploadedAtMs), Outcome: event.OutcomeName(d.Outcome), DuplicateOf: d.DuplicateOf,
		PHash: d.Phash, Spec: d.Spec, KernelPath: d.KernelPath, ExtractMS: float32Of(d.ExtractMs), TransformMS: float32Of(d.TransformMs),
	}
	if d.Outcome != eventpb.Outcome_OUTCOME_LOST { // Nobody has read a lost record.
		row.EventTime, row.AppendTime, row.StreamTime = stampTime(d.Stamp.GetEventTimeMs()), stampTime(d.Stamp.GetAppendTimeMs()), stampTime(d.Stamp.GetStreamTimeMs())
	}
	if redriven := d.GetSender().GetRedriveOf(); redriven != nil {
		text := event.PositionOf(redriven).String()
		row.RedriveOf = &text
	}
	if d.Outcome == eventpb.Outcome_OUTCOME_ORIGINAL && len(d.Renditions) > 0 {
		var n uint64
		for _, r := range d.Renditions {
			n += unsigned(r.Bytes)
		}
		row.BytesOut = &n
	}
	if d.Facts != nil {
		row.facts(d.Facts)
	}
	return row
}

// refusedRowOf is the row of a fate whose own row was refused: identity, outcome
// and times, off the dead letter that tells of it.
func refusedRowOf(at event.Position, d *eventpb.DeadLetter) *uploadRow {
	row := uploadRowOf(at, &eventpb.Developed{
		Stamp: d.Stamp, Outcome: d.GetOutcome(),
		Sender: &eventpb.Sender{UploadId: d.GetSender().GetUploadId(), UploadedAtMs: d.GetSender().UploadedAtMs, RedriveOf: d.GetSender().GetRedriveOf()},
	})
	row.letter = true
	return row
}

// shrink leaves out the sender's own claims.
func (r *uploadRow) shrink() bool {
	if !r.shrinks() {
		return false
	}
	r.UploadedAt, r.RedriveOf = nil, nil
	return true
}

// shrink is for dead letters.
func (r *renditionRow) shrink() bool { return false }

// shrink leaves out what was written for people.
func (r *deadLetterRow) shrink() bool {
	if !r.shrinks() {
		return false
	}
	r.Detail, r.Raw = "", nil
	return true
}

// facts fills what the photo told; zero is unknown where zero cannot be.
func (r *uploadRow) facts(f *eventpb.Facts) {
	if len(f.Sha256) > 0 {
		sha := hex.EncodeToString(f.Sha256)
		r.SHA256 = &sha
	}
	if f.Bytes > 0 {
		n := uint64(f.Bytes)
		r.Bytes = &n
	}
	r.CameraMake, r.CameraModel, r.LensModel = f.CameraMake, f.CameraModel, f.LensModel
	r.Latitude, r.Longitude = f.Latitude, f.Longitude
	r.ISO, r.ExposureS, r.FNumber, r.FocalLengthMM = f.Iso, f.ExposureS, f.FNumber, f.FocalLengthMm
	r.TakenAtLocal = timeOf(f.TakenAtLocalMs)
	if f.TakenOffsetMin != nil {
		minutes := int16(*f.TakenOffsetMin)
		r.TakenOffsetMin = &minutes
		if r.TakenAtLocal != nil {
			utc := r.TakenAtLocal.Add(-time.Duration(minutes) * time.Minute)
			r.TakenAtUTC = &utc
		}
	}
	if f.Format != "" { // Known even where the format is not developed.
		format := f.Format
		r.Format = &format
	}
	if f.Format == "" || f.Width <= 0 || f.Height <= 0 {
		return // The guards spoke before there was more to know.
	}
	width, height, orientation, animated := uint32(f.Width), uint32(f.Height), uint8(f.Orientation), f.Animated
	r.Width, r.Height, r.Orientation, r.Animated = &width, &height, &orientation, &animated
}

func renditionRowsOf(at event.Position, d *eventpb.Developed) []*renditionRow {
	rows := make([]*renditionRow, 0, len(d.Renditions))
	for _, r := range d.Renditions {
		rows = append(rows, &renditionRow{
			positions: positionsOf(at, d.Stamp), SHA256: hex.EncodeToString(d.GetFacts().GetSha256()), Name: r.Name, Spec: d.GetSpec(),
			Width: uint32(r.Width), Height: uint32(r.Height), Bytes: uint64(r.Bytes), Key: r.Key, EventTime: stampTime(d.Stamp.GetEventTimeMs()),
		})
	}
	return rows
}

func deadLetterRowOf(at event.Position, d *eventpb.DeadLetter) *deadLetterRow {
	row := &deadLetterRow{
		positions: positionsOf(at, d.Stamp), UploadID: d.GetSender().GetUploadId(), Stage: d.Stage, Reason: d.Reason, Detail: d.Detail,
		Raw: d.RawKey, EventTime: stampTime(d.Stamp.GetEventTimeMs()), FailedAt: *stampTime(d.FailedAtMs),
	}
	row.letter = true
	return row
}

// The range of a DateTime64(3) on its way to the server: a claimed time outside of
// it is shown as its end, since it would wrap around to a wrong one. The client
// counts nanoseconds, which end in 2262, before the server's own 2299.
var (
	earliest = time.Date(1900, 1, 1, 0, 0, 0, 0, time.UTC)
	latest   = time.UnixMilli(math.MaxInt64 / int64(time.Millisecond))
)

func stampTime(ms int64) *time.Time { return timeOf(&ms) }

// unsigned is a number that is never negative.
func unsigned(n int64) uint64 { return uint64(max(n, 0)) }

func timeOf(ms *int64) *time.Time {
	if ms == nil {
		return nil
	}
	t := time.UnixMilli(min(max(*ms, earliest.UnixMilli()), latest.UnixMilli())).UTC()
	return &t
}

func float32Of(f *float64) *float32 {
	if f == nil {
		return nil
	}
	narrow := float32(*f)
	return &narrow
}
