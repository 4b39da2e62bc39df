package window

import (
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
)

// A Key is written as the Protobuf message OpenWindows of event/eventpb/state.proto, by
// hand: it is read and written with every event.
const (
	fieldShownAt = 1
	fieldGroup   = 2

	fieldAggregate = 1
	fieldWindow    = 2

	fieldStart     = 1
	fieldEnd       = 2
	fieldCount     = 3
	fieldShown     = 4
	fieldTold      = 5
	fieldBytesIn   = 6
	fieldBytesOut  = 7
	fieldPixels    = 8
	fieldMin       = 9
	fieldMax       = 10
	fieldUploaders = 11
	fieldLatency   = 12
	fieldStale     = 13
)

// Encode writes the key; nil where nothing is open.
func (k *Key) Encode() []byte {
	if k.Len() == 0 {
		k.bytes = 0
		return nil
	}
	b := make([]byte, 0, 64+48*k.Len())
	b = appendInt(b, fieldShownAt, k.ShownAtMS)
	for _, g := range k.groups {
		if len(g.windows) == 0 {
			continue
		}
		b = appendMessage(b, fieldGroup, func(b []byte) []byte {
			b = protowire.AppendTag(b, fieldAggregate, protowire.BytesType)
			b = protowire.AppendString(b, g.aggregate.name)
			for _, o := range g.windows {
				b = appendMessage(b, fieldWindow, o.append)
			}
			return b
		})
	}
	k.bytes = len(b)
	return b
}

func (o *open) append(b []byte) []byte {
	b = appendInt(b, fieldStart, o.StartMS)
	b = appendInt(b, fieldEnd, o.EndMS-o.StartMS)
	b = appendInt(b, fieldCount, o.Count)
	b = appendInt(b, fieldShown, o.shown)
	b = appendInt(b, fieldTold, int64(o.Told))
	b = appendInt(b, fieldBytesIn, o.BytesIn)
	b = appendInt(b, fieldBytesOut, o.BytesOut)
	b = appendInt(b, fieldPixels, o.Pixels)
	b = appendInt(b, fieldMin, o.BytesInMin)
	b = appendInt(b, fieldMax, o.BytesInMax)
	if o.Told&Uploaders != 0 {
		b = appendMessage(b, fieldUploaders, o.Uploaders.append)
	}
	if o.Told&LatencyMS != 0 {
		b = appendMessage(b, fieldLatency, o.LatencyMS.append)
	}
	for _, s := range o.stale {
		b = appendMessage(b, fieldStale, func(b []byte) []byte {
			b = appendInt(b, fieldStart, s.StartMS)
			b = appendInt(b, fieldEnd, s.EndMS-s.StartMS)
			return appendInt(b, fieldShown, s.shown)
		})
	}
	return b
}

func appendInt(b []byte, field protowire.Number, n int64) []byte {
	if n == 0 {
		return b
	}
	return protowire.AppendVarint(protowire.AppendTag(b, field, protowire.VarintType), uint64(n))
}

// appendMessage appends what f appends, with its length before it.
func appendMessage(b []byte, field protowire.Number, f func([]byte) []byte) []byte {
	b = protowire.AppendTag(b, field, protowire.BytesType)
	// Most messages are shorter than 128 bytes, and their length takes one.
	at := len(b)
	b = f(append(b, 0))
	n := len(b) - at - 1
	if n < 128 {
		b[at] = byte(n)
		return b
	}
	extra := protowire.SizeVarint(uint64(n)) - 1
	for range extra {
		b = append(b, 0)
	}
	copy(b[at+1+extra:], b[at+1:at+1+n])
	protowire.AppendVarint(b[:at], uint64(n))
	return b
}

// DecodeKey reads what Encode wrote, with the aggregates of a set: windows of
// others are counted and left out.
func DecodeKey(data []byte, set *Set) (*Key, error) {
	k := &Key{bytes: len(data)}
	err := fields(data, func(field protowire.Number, n int64, body []byte) error {
		switch field {
		case fieldShownAt:
			k.ShownAtMS = n
		case fieldGroup:
			return k.readGroup(body, set)
		default: // Of a later version.
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("window: decode open windows: %w", err)
	}
	return k, nil
}

func (k *Key) readGroup(data []byte, set *Set) error {
	g := new(group)
	err := fields(data, func(field protowire.Number, _ int64, body []byte) error {
		switch field {
		case fieldAggregate:
			g.aggregate = set.byName[string(body)]
		case fieldWindow:
			if g.aggregate == nil {
				k.undeclared++
				return nil
			}
			o := new(open)
			g.windows = append(g.windows, o)
			return o.read(body)
		default: // Of a later version.
		}
		return nil
	})
	if g.aggregate != nil {
		k.groups = append(k.groups, g)
	}
	return err
}

func (o *open) read(data []byte) error {
	err := fields(data, func(field protowire.Number, n int64, body []byte) error {
		switch field {
		case fieldStart:
			o.StartMS = n
		case fieldEnd:
			o.EndMS = n
		case fieldCount:
			o.Count = n
		case fieldShown:
			o.shown = n
		case fieldTold:
			o.Told = Measures(n)
		case fieldBytesIn:
			o.BytesIn = n
		case fieldBytesOut:
			o.BytesOut = n
		case fieldPixels:
			o.Pixels = n
		case fieldMin:
			o.BytesInMin = n
		case fieldMax:
			o.BytesInMax = n
		case fieldUploaders:
			o.Uploaders.raw = body
		case fieldLatency:
			o.LatencyMS.raw = body
		case fieldStale:
			var was open // Of it the bounds and what was shown are written.
			err := was.read(body)
			o.stale = append(o.stale, stale{was.Bounds, was.shown})
			return err
		default: // Of a later version.
		}
		return nil
	})
	o.EndMS += o.StartMS
	return err
}

// fields calls f with each field of a message: n of a varint, body of bytes.
func fields(data []byte, f func(field protowire.Number, n int64, body []byte) error) error {
	for len(data) > 0 {
		field, kind, n := protowire.ConsumeTag(data)
		if n < 0 {
			return protowire.ParseError(n)
		}
		data = data[n:]
		var (
			value uint64
			body  []byte
		)
		switch kind {
		case protowire.VarintType:
			value, n = protowire.ConsumeVarint(data)
		case protowire.BytesType:
			body, n = protowire.ConsumeBytes(data)
		default:
			return fmt.Errorf("field %d has wire type %d", field, kind)
		}
		if n < 0 {
			return protowire.ParseError(n)
		}
		data = data[n:]
		if err := f(field, int64(value), body); err != nil {
			return err
		}
	}
	return nil
}
