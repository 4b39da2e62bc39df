// Package wire reads and writes ClickHouse's native encoding: varints, strings,
// and blocks, whose end nothing tells but the types of their columns.
package wire

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// maxStringBytes bounds a string of the protocol itself (not of the data).
const maxStringBytes = 256 << 20

// A Reader reads the encoding. While it records, what it reads is kept.
type Reader struct {
	r   *bufio.Reader
	err error
	// kept collects the bytes of a block's data as they are.
	kept []byte
}

// NewReader reads from r.
func NewReader(r io.Reader) *Reader { return &Reader{r: bufio.NewReaderSize(r, 64<<10)} }

// Read implements io.Reader, for a decompressor on top.
func (r *Reader) Read(p []byte) (int, error) { return r.r.Read(p) }

// Err is the first error met; after it every read gives zeros.
func (r *Reader) Err() error { return r.err }

// Peek waits for the next byte and leaves it.
func (r *Reader) Peek() (byte, error) {
	b, err := r.r.Peek(1)
	if err != nil {
		return 0, err
	}
	return b[0], nil
}

func (r *Reader) fail(err error) {
	if r.err == nil {
		r.err = err
	}
}

// Byte reads one byte.
func (r *Reader) Byte() byte {
	if r.err != nil {
		return 0
	}
	b, err := r.r.ReadByte()
	if err != nil {
		r.fail(err)
	}
	return b
}

// Uvarint reads an unsigned varint.
func (r *Reader) Uvarint() uint64 {
	if r.err != nil {
		return 0
	}
	v, err := binary.ReadUvarint(r.r)
	if err != nil {
		r.fail(err)
	}
	return v
}

// String reads a string with its length before it.
func (r *Reader) String() string {
	n := r.Uvarint()
	if n > maxStringBytes {
		r.fail(fmt.Errorf("wire: read string: %d bytes", n))
	}
	if r.err != nil || n == 0 {
		return ""
	}
	b, err := r.grow(nil, int(n))
	if err != nil {
		r.fail(err)
		return ""
	}
	return string(b)
}

// grow reads n bytes behind b. A length is only a claim: memory is taken as the
// bytes come.
func (r *Reader) grow(b []byte, n int) ([]byte, error) {
	for n > 0 {
		step := min(n, growth)
		b = append(b, make([]byte, step)...)
		if _, err := io.ReadFull(r.r, b[len(b)-step:]); err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return b, err
		}
		n -= step
	}
	return b, nil
}

// growth is how much memory a claim gets at once.
const growth = 1 << 20

// Skip passes over n bytes.
func (r *Reader) Skip(n int) {
	if r.err != nil {
		return
	}
	if _, err := r.r.Discard(n); err != nil {
		r.fail(err)
	}
}

// maxColumnBytes bounds one run of data within a column.
const maxColumnBytes = 2 << 30

// errTooLong refuses data that could only be a broken or hostile block.
var errTooLong = errors.New("wire: read block: a column of over 2 GiB")

// keep reads n bytes of data and keeps them; it returns them until the next
// keep.
func (r *Reader) keep(n uint64) []byte {
	if n > maxColumnBytes {
		r.fail(errTooLong)
	}
	if r.err != nil {
		return nil
	}
	start := len(r.kept)
	var err error
	if r.kept, err = r.grow(r.kept, int(n)); err != nil {
		r.fail(err)
		return nil
	}
	return r.kept[start:]
}

// keepUvarint reads a varint of the data and keeps it.
func (r *Reader) keepUvarint() uint64 {
	v := r.Uvarint()
	r.kept = binary.AppendUvarint(r.kept, v)
	return v
}

// keepUint64 reads a fixed number of the data and keeps it.
func (r *Reader) keepUint64() uint64 {
	b := r.keep(8)
	if b == nil {
		return 0
	}
	return binary.LittleEndian.Uint64(b)
}

// AppendString writes a string with its length before it.
func AppendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}
