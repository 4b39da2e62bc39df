package native

import (
	"fmt"
	"slices"
	"time"

	"github.com/tintype/tintype/cmd/chserver/internal/describe"
	"github.com/tintype/tintype/cmd/chserver/internal/engine"
	"github.com/tintype/tintype/cmd/chserver/internal/statement"
	"github.com/tintype/tintype/cmd/chserver/internal/wire"
)

// insert takes the blocks of an INSERT.
func (c *client) insert(q *request, s statement.Statement) error {
	began := time.Now()
	columns, err := describe.Target(c.session.Conn, s.Insert)
	if err != nil {
		return c.exception(err)
	}
	if err := c.data(&wire.Block{Columns: columns}, q.compressed); err != nil {
		return err
	}
	if err := c.flush(); err != nil {
		return err
	}
	i := &inserting{client: c, request: q, text: s.Text, columns: columns}
	defer i.free()
	ended, err := i.take()
	if err != nil || !ended {
		return err
	}
	progress, err := i.done()
	if err != nil {
		return c.exception(err)
	}
	return c.end(progress, began)
}

// inserting is an INSERT whose blocks come in. The engine's insert is opened with
// the first rows, so that a statement which is prepared and left costs nothing.
type inserting struct {
	*client
	request *request
	text    string
	columns []wire.Column
	insert  *engine.Insert
	failed  error
	// refused says that the engine has not seen what failed.
	refused bool
}

// take reads blocks up to the empty one; false when the client cancelled.
func (i *inserting) take() (bool, error) {
	for {
		packet := i.in.Uvarint()
		if err := i.in.Err(); err != nil {
			i.cancel()
			return false, err
		}
		switch packet {
		case clientCancel:
			i.cancel()
			i.number(serverEnd)
			return false, i.flush()
		case clientData:
		default:
			i.cancel()
			return false, fmt.Errorf("native: packet %d within an INSERT", packet)
		}
		block, err := i.readData(i.request.compressed)
		if err != nil {
			i.cancel()
			return false, err
		}
		if len(block.Columns) == 0 {
			return true, nil
		}
		if i.failed == nil && block.Rows > 0 {
			i.failed = i.add(block)
		}
	}
}

// add hands a block to the engine, which would pass over columns that the
// client was not told of, and make up those that are missing.
func (i *inserting) add(block *wire.Block) error {
	for _, c := range block.Columns {
		if !slices.ContainsFunc(i.columns, func(known wire.Column) bool { return known.Name == c.Name }) {
			i.refused = true
			return &engine.Error{Code: 16, Message: "No such column " + c.Name + " in the INSERT. (NO_SUCH_COLUMN_IN_TABLE)"}
		}
	}
	if len(block.Columns) != len(i.columns) {
		i.refused = true
		return &engine.Error{Code: 8, Message: fmt.Sprintf("the INSERT has %d columns, a block of it %d. (THERE_IS_NO_COLUMN)", len(i.columns), len(block.Columns))}
	}
	if i.insert == nil {
		insert, err := i.session.Insert(i.text, "Native", i.request.params...)
		if err != nil {
			return err
		}
		i.insert = insert
	}
	return i.insert.Append(block.Append(nil, 0))
}

// done inserts; the engine's own error says more than a failed append.
func (i *inserting) done() (engine.Progress, error) {
	if i.insert == nil {
		return engine.Progress{}, i.failed
	}
	if i.refused {
		i.cancel()
		return engine.Progress{}, i.failed
	}
	progress, err := i.insert.Done()
	if err == nil {
		err = i.failed
	}
	return progress, err
}

func (i *inserting) cancel() {
	if i.insert != nil {
		i.insert.Cancel()
	}
}

func (i *inserting) free() {
	if i.insert != nil {
		i.insert.Free()
	}
}
