package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"iter"
)

// Revision is the protocol's that is spoken here: the first with native query
// parameters and elapsed times.
const Revision = 54460

// The protocol revisions that change how a block is written.
const (
	// RevisionBlockInfo puts the block's info before it.
	RevisionBlockInfo = 51903
	// RevisionCustomSerialization puts a flag behind each column's type.
	RevisionCustomSerialization = 54454
)

// A Column is a name with its type.
type Column struct{ Name, Type string }

// A Block is a part of a table: its columns, and for each the bytes of its data
// as they came.
type Block struct {
	Columns []Column
	Rows    uint64
	data    [][]byte
}

const (
	maxColumns = 100_000
	maxRows    = 100_000_000
)

// ReadBlock reads one block as a revision writes it (0: without info and
// flags).
func (r *Reader) ReadBlock(revision int) (*Block, error) {
	if revision >= RevisionBlockInfo {
		r.skipInfo()
	}
	columns, b := r.Uvarint(), &Block{Rows: r.Uvarint()}
	if columns > maxColumns || b.Rows > maxRows {
		r.fail(fmt.Errorf("wire: read block: %d columns of %d rows", columns, b.Rows))
	}
	for range columns {
		c := Column{Name: r.String(), Type: r.String()}
		if revision >= RevisionCustomSerialization && r.Byte() != 0 {
			r.fail(errors.New("wire: read block: custom serialization is not supported"))
		}
		if r.err != nil {
			return nil, r.err
		}
		s, err := shapeOf(c.Type, 0)
		if err != nil {
			return nil, err
		}
		r.kept = nil
		if b.Rows > 0 {
			s.keepState(r)
			s.keepData(r, b.Rows)
		}
		b.Columns, b.data = append(b.Columns, c), append(b.data, r.kept)
	}
	return b, r.err
}

// Blocks yields what the engine wrote in its native format: blocks at revision 0.
func Blocks(data []byte) iter.Seq2[*Block, error] {
	return func(yield func(*Block, error) bool) {
		r := NewReader(bytes.NewReader(data))
		for {
			if _, err := r.Peek(); errors.Is(err, io.EOF) {
				return
			}
			block, err := r.ReadBlock(0)
			if !yield(block, err) || err != nil {
				return
			}
		}
	}
}

// skipInfo passes over numbered fields until 0.
func (r *Reader) skipInfo() {
	for r.err == nil {
		switch field := r.Uvarint(); field {
		case 0:
			return
		case 1:
			r.Skip(1)
		case 2:
			r.Skip(4)
		default:
			r.fail(fmt.Errorf("wire: read block: unknown info %d", field))
		}
	}
}

// Append writes the block as a revision wants it.
func (b *Block) Append(out []byte, revision int) []byte {
	if revision >= RevisionBlockInfo {
		out = append(out, 1, 0, 2, 0xff, 0xff, 0xff, 0xff, 0)
	}
	out = binary.AppendUvarint(out, uint64(len(b.Columns)))
	out = binary.AppendUvarint(out, b.Rows)
	for i, c := range b.Columns {
		out = AppendString(AppendString(out, c.Name), c.Type)
		if revision >= RevisionCustomSerialization {
			out = append(out, 0)
		}
		if b.data != nil {
			out = append(out, b.data[i]...)
		}
	}
	return out
}

// Strings reads a column of strings by name, as DESCRIBE answers.
func (b *Block) Strings(name string) []string {
	for i, c := range b.Columns {
		if c.Name != name || c.Type != "String" {
			continue
		}
		values := make([]string, 0, b.Rows)
		for data := b.data[i]; len(data) > 0; {
			n, width := binary.Uvarint(data)
			values = append(values, string(data[width:width+int(n)]))
			data = data[width+int(n):]
		}
		return values
	}
	return nil
}
