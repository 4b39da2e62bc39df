package windowcount

import (
	"fmt"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kgo"
	"google.golang.org/protobuf/proto"

	"github.com/tintype/tintype/event/eventpb"
)

// A Record is one committed record of the topic uploads.
type Record struct {
	Topic     uuid.UUID
	Partition int32
	Offset    int64
	// AppendedMS is when the broker appended it.
	AppendedMS int64
	// ClaimedMS is the event time that it claims; nil: none.
	ClaimedMS *int64
	// Tick says that it is a control record, which no window counts.
	Tick bool
	// Uploader is empty where nobody is named, as in a record that does not decode.
	Uploader string
	// Bytes is the length of a photo that came inline; 0 otherwise.
	Bytes int64
}

// ReadRecord reads a record of the topic of that id.
func ReadRecord(topic uuid.UUID, r *kgo.Record) (Record, error) {
	read := Record{Topic: topic, Partition: r.Partition, Offset: r.Offset, AppendedMS: r.Timestamp.UnixMilli()}
	for _, h := range r.Headers {
		if h.Key != "tintype-control" {
			continue
		}
		if string(h.Value) != "tick" {
			return read, fmt.Errorf("windowcount: a control record %q at %d/%d", h.Value, r.Partition, r.Offset)
		}
		tick := new(eventpb.Tick)
		if err := proto.Unmarshal(r.Value, tick); err != nil {
			return read, fmt.Errorf("windowcount: the tick at %d/%d: %w", r.Partition, r.Offset, err)
		}
		at := read.AppendedMS - tick.AllowanceMs
		read.Tick, read.ClaimedMS = true, &at
		return read, nil
	}
	upload := new(eventpb.Upload)
	if r.Value != nil && proto.Unmarshal(r.Value, upload) == nil {
		read.ClaimedMS, read.Uploader, read.Bytes = upload.UploadedAtMs, upload.Uploader, int64(len(upload.GetInline()))
	}
	return read, nil
}
