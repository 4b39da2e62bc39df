package event

import (
	"encoding/binary"
	"errors"
	"fmt"

	"google.golang.org/protobuf/proto"
)

// A Decoded is what a codec makes of a record's value. It is never nil and
// never an error: a stage that meets Err ends the record's way in order.
type Decoded[M proto.Message] struct {
	// Message is the decoded message; the nil M when Err is set.
	Message M
	// Raw is the value as it came; nil for a null value.
	Raw []byte
	// Err says why Raw is no M; [ErrNull] for a null value.
	Err error
}

// ErrNull is the Err of a null value.
var ErrNull = errors.New("event: null value")

// Codec reads and writes values of one message. Decoding never fails, since
// goka stops a processor for good at a value that does not decode. It takes
// both plain Protobuf and Confluent wire framing (the two cannot be confused:
// no Protobuf message begins with the byte 0). Encoding is deterministic.
// A Codec is safe for concurrent use.
type Codec[M proto.Message] struct {
	newMessage func() M
	header     []byte
}

// NewCodec makes a codec for the messages that newMessage makes.
func NewCodec[M proto.Message](newMessage func() M) *Codec[M] {
	return &Codec[M]{newMessage: newMessage}
}

// Framed returns a codec that writes the Confluent wire framing: a zero byte,
// the schema id, and the index of the message in its schema file.
func (c *Codec[M]) Framed(schemaID uint32) *Codec[M] {
	header := make([]byte, 1, 6)
	header = binary.BigEndian.AppendUint32(header, schemaID)
	header = append(header, messageIndex(c.newMessage())...)
	return &Codec[M]{newMessage: c.newMessage, header: header}
}

// messageIndex encodes which message of its file m is, as zigzag varints; the
// first one is the single byte 0.
func messageIndex(m proto.Message) []byte {
	index := m.ProtoReflect().Descriptor().Index()
	if index == 0 {
		return []byte{0}
	}
	return binary.AppendVarint(binary.AppendVarint(nil, 1), int64(index))
}

// Encode writes a message of type M. It fails on any other type.
func (c *Codec[M]) Encode(value any) ([]byte, error) {
	m, ok := value.(M)
	if !ok {
		return nil, fmt.Errorf("event: encode %T: want %T", value, c.newMessage())
	}
	data, err := proto.MarshalOptions{Deterministic: true}.MarshalAppend(append([]byte(nil), c.header...), m)
	if err != nil {
		return nil, fmt.Errorf("event: encode %T: %w", value, err)
	}
	return data, nil
}

// Decode returns a *[Decoded] of M and never an error.
func (c *Codec[M]) Decode(data []byte) (any, error) {
	return c.Read(data), nil
}

// Read is Decode with its type.
func (c *Codec[M]) Read(data []byte) *Decoded[M] {
	d := &Decoded[M]{Raw: data}
	if data == nil {
		d.Err = ErrNull
		return d
	}
	body, err := Unframe(data)
	if err != nil {
		d.Err = err
		return d
	}
	m := c.newMessage()
	if err := proto.Unmarshal(body, m); err != nil {
		d.Err = fmt.Errorf("event: decode %s: %w", m.ProtoReflect().Descriptor().Name(), err)
		return d
	}
	d.Message = m
	return d
}

// Unframe strips the Confluent header of a value, if there is one.
func Unframe(data []byte) ([]byte, error) {
	if len(data) == 0 || data[0] != 0 {
		return data, nil
	}
	if len(data) < 6 {
		return nil, errors.New("event: decode frame: shorter than its header")
	}
	rest := data[5:]
	count, n := binary.Varint(rest)
	if n <= 0 || count < 0 || count > 8 {
		return nil, errors.New("event: decode frame: message index out of range")
	}
	rest = rest[n:]
	for range count {
		_, n := binary.Varint(rest)
		if n <= 0 {
			return nil, errors.New("event: decode frame: message index cut short")
		}
		rest = rest[n:]
	}
	return rest, nil
}
