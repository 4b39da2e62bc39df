package event

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"

	"github.com/google/uuid"

	"github.com/tintype/tintype/event/eventpb"
)

// Position names one record for ever: the topic's id (KIP-516), so that a
// topic created anew under an old name is another topic, its partition and its
// offset there. The position of an upload record is the origin of all that
// comes of it.
type Position struct {
	TopicID   uuid.UUID
	Partition int32
	Offset    int64
}

// PositionOf reads a position off its event; the zero Position when p is nil
// or its topic id is not 16 bytes long.
func PositionOf(p *eventpb.Position) Position {
	id, err := uuid.FromBytes(p.GetTopicId())
	if err != nil {
		return Position{}
	}
	return Position{TopicID: id, Partition: p.GetPartition(), Offset: p.GetOffset()}
}

// Proto returns the position as it is written in events.
func (p Position) Proto() *eventpb.Position {
	id := p.TopicID
	return &eventpb.Position{TopicId: id[:], Partition: p.Partition, Offset: p.Offset}
}

// String returns topic-id/partition/offset; [ParsePosition] reads it back.
func (p Position) String() string {
	return fmt.Sprintf("%s/%d/%d", p.TopicID, p.Partition, p.Offset)
}

// ParsePosition reads what [Position.String] wrote.
func ParsePosition(s string) (Position, error) {
	parts := strings.Split(s, "/")
	if len(parts) != 3 {
		return Position{}, fmt.Errorf("event: parse position %q: want topic-id/partition/offset", s)
	}
	id, err := uuid.Parse(parts[0])
	if err != nil {
		return Position{}, fmt.Errorf("event: parse position %q: %w", s, err)
	}
	partition, err := strconv.ParseInt(parts[1], 10, 32)
	if err != nil {
		return Position{}, fmt.Errorf("event: parse position %q: %w", s, err)
	}
	offset, err := strconv.ParseInt(parts[2], 10, 64)
	if err != nil {
		return Position{}, fmt.Errorf("event: parse position %q: %w", s, err)
	}
	return Position{TopicID: id, Partition: int32(partition), Offset: offset}, nil
}

// UploadID derives an upload id (a UUIDv8, RFC 9562) for a record that names
// none. The same record always gets the same id, and no other record does.
func (p Position) UploadID() string {
	b := make([]byte, 0, 28)
	b = append(b, p.TopicID[:]...)
	b = binary.BigEndian.AppendUint32(b, uint32(p.Partition))
	b = binary.BigEndian.AppendUint64(b, uint64(p.Offset))
	id := uuid.NewSHA1(uploadIDSpace, b)
	id[6] = id[6]&0x0f | 0x80
	return id.String()
}

// uploadIDSpace keeps derived upload ids apart from other name-based UUIDs.
var uploadIDSpace = uuid.MustParse("6f1c0d52-5b6e-4c1c-9d0b-5f6d1a3a7e10")
