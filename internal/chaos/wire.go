package chaos

import (
	"encoding/binary"
	"errors"
	"io"
)

// The requests of Kafka's protocol that open and end transactions, commit offsets
// without one, or read.
const (
	produceKey         = 0
	fetchKey           = 1
	offsetCommitKey    = 8
	initProducerIDKey  = 22
	endTxnKey          = 26
	txnOffsetCommitKey = 28
)

// maxFrame bounds one request or response.
const maxFrame = 256 << 20

// readFrame reads one frame with its length.
func readFrame(r io.Reader) ([]byte, error) {
	var length [4]byte
	if _, err := io.ReadFull(r, length[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(length[:])
	if n > maxFrame {
		return nil, errors.New("chaos: a frame is too long")
	}
	frame := make([]byte, 4+n)
	copy(frame, length[:])
	_, err := io.ReadFull(r, frame[4:])
	return frame, err
}

// A request is what the proxy looks at of a request.
type request struct {
	key         int16
	correlation int32
	clientID    string
	// transactionalID is set for the requests that a transaction is made of.
	transactionalID string
}

// flexible is from which version on a request has compact strings.
var flexible = map[int16]int16{produceKey: 9, initProducerIDKey: 2, endTxnKey: 3, txnOffsetCommitKey: 3}

// parseRequest reads a request's header, and the transactional id that the
// requests of a transaction begin with.
func parseRequest(frame []byte) request {
	b := frame[4:]
	if len(b) < 10 {
		return request{key: -1}
	}
	r := request{key: int16(binary.BigEndian.Uint16(b)), correlation: int32(binary.BigEndian.Uint32(b[4:]))}
	version := int16(binary.BigEndian.Uint16(b[2:]))
	b = b[8:]
	if n := int16(binary.BigEndian.Uint16(b)); n >= 0 {
		if len(b) < 2+int(n) {
			return r
		}
		r.clientID = string(b[2:][:n])
		b = b[2+n:]
	} else {
		b = b[2:]
	}
	if from, known := flexible[r.key]; !known || version < from {
		return r
	}
	if len(b) == 0 || b[0] != 0 { // Tags, which clients do not send.
		return r
	}
	n, used := binary.Uvarint(b[1:])
	if used <= 0 || n < 1 || uint64(len(b)-1-used) < n-1 {
		return r
	}
	r.transactionalID = string(b[1+used:][:n-1])
	return r
}
