package topologies

import (
	"errors"
	"fmt"
	"math"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/tintype/tintype/event"
	"github.com/tintype/tintype/event/eventpb"
	"github.com/tintype/tintype/transform/window"
)

// measureCodec reads a Measure as the event that windows take in, without making the
// message: stage windows reads several for each upload. It writes as the codec of the
// topic does.
type measureCodec struct {
	*event.Codec[*eventpb.Measure]
}

// readMeasure is what measureCodec reads.
type readMeasure struct {
	event window.Event
	raw   []byte
	err   error
}

// errNoStamp is the err of a measure that none of our stages wrote.
var errNoStamp = errors.New("topologies: a measure without a stamp")

// Decode implements goka.Codec; it never fails.
func (c measureCodec) Decode(data []byte) (any, error) {
	r := &readMeasure{raw: data}
	body, err := event.Unframe(data)
	if err == nil {
		err = r.read(body)
	}
	if err != nil {
		r.err = fmt.Errorf("topologies: decode measure: %w", err)
	}
	return r, nil
}

// stamp is the stamp of the measure, for who needs all of it.
func (c measureCodec) stamp(r *readMeasure) *eventpb.Stamp { return c.Read(r.raw).Message.GetStamp() }

// Fields of Measure and of Stamp in measure.proto and stamp.proto.
const (
	measureStamp    = 1
	measureUploader = 2
	measureBytesIn  = 3
	measureBytesOut = 4
	measurePixels   = 5
	measureLatency  = 6

	stampEventTime  = 2
	stampStreamTime = 4
)

// read takes in the fields of a Measure.
func (r *readMeasure) read(data []byte) error {
	v := &r.event.Value
	stamped := false
	for len(data) > 0 {
		field, kind, value, rest, err := nextField(data)
		if err != nil {
			return err
		}
		data = rest
		switch {
		case field == measureStamp && kind == protowire.BytesType:
			body, _ := protowire.ConsumeBytes(value)
			if err := r.readStamp(body); err != nil {
				return err
			}
			stamped = true
		case field == measureUploader && kind == protowire.BytesType:
			v.Uploader, _ = protowire.ConsumeString(value)
			if v.Uploader != "" {
				v.Told |= window.Uploaders
			}
		case field == measureBytesIn && kind == protowire.VarintType:
			v.BytesIn, v.Told = varint(value), v.Told|window.BytesIn|window.BytesInMin|window.BytesInMax
		case field == measureBytesOut && kind == protowire.VarintType:
			v.BytesOut, v.Told = varint(value), v.Told|window.BytesOut
		case field == measurePixels && kind == protowire.VarintType:
			v.Pixels, v.Told = varint(value), v.Told|window.Pixels
		case field == measureLatency && kind == protowire.Fixed64Type:
			bits, _ := protowire.ConsumeFixed64(value)
			v.LatencyMS, v.Told = math.Float64frombits(bits), v.Told|window.LatencyMS
		}
	}
	if !stamped {
		return errNoStamp
	}
	return nil
}

// readStamp takes in the times of a Stamp.
func (r *readMeasure) readStamp(data []byte) error {
	for len(data) > 0 {
		field, kind, value, rest, err := nextField(data)
		if err != nil {
			return err
		}
		data = rest
		switch {
		case field == stampEventTime && kind == protowire.VarintType:
			r.event.TimeMS = varint(value)
		case field == stampStreamTime && kind == protowire.VarintType:
			r.event.StreamTimeMS = varint(value)
		}
	}
	return nil
}

// nextField checks the first field of a message and returns where its value begins, and
// what is behind it.
func nextField(data []byte) (field protowire.Number, kind protowire.Type, value, rest []byte, err error) {
	field, kind, n := protowire.ConsumeTag(data)
	if n < 0 {
		return 0, 0, nil, nil, protowire.ParseError(n)
	}
	value = data[n:]
	if n = protowire.ConsumeFieldValue(field, kind, value); n < 0 {
		return 0, 0, nil, nil, protowire.ParseError(n)
	}
	return field, kind, value, value[n:], nil
}

// varint reads a number whose bytes were checked.
func varint(data []byte) int64 {
	n, _ := protowire.ConsumeVarint(data)
	return int64(n)
}
