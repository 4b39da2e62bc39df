package native

import (
	"errors"
	"fmt"
	"time"

	"github.com/ClickHouse/ch-go/compress"

	"github.com/tintype/tintype/cmd/chserver/internal/describe"
	"github.com/tintype/tintype/cmd/chserver/internal/engine"
	"github.com/tintype/tintype/cmd/chserver/internal/statement"
	"github.com/tintype/tintype/cmd/chserver/internal/wire"
)

// query runs one statement. An error ends the connection; what is wrong with
// the statement is told to the client.
func (c *client) query() error {
	q, err := c.readRequest()
	if err != nil {
		return err
	}
	c.compressed = q.compressed
	if q.compressed && c.compressor == nil {
		c.compressor = compress.NewWriter(compress.LevelZero, compress.LZ4)
	}
	external, err := c.externalTables(q)
	if err != nil {
		return err
	}
	if external {
		return c.exception(statement.NotImplemented("external tables"))
	}
	s := statement.Parse(q.text)
	if err := statement.Check(s); err != nil {
		return c.exception(err)
	}
	if err := c.session.Apply(q.id, q.settings); err != nil {
		return c.exception(err)
	}
	if s.Insert != nil && s.Inline == "" {
		return c.insert(q, s)
	}
	if s.Insert != nil {
		s.Text = q.text // Its data stands in it.
	}
	return c.answer(q, s)
}

// externalTables reads data packets up to the empty one, and reports whether
// there was any.
func (c *client) externalTables(q *request) (bool, error) {
	for found := false; ; {
		if packet := c.in.Uvarint(); packet != clientData || c.in.Err() != nil {
			return false, errors.Join(c.in.Err(), fmt.Errorf("native: packet %d where data was due", packet))
		}
		block, err := c.readData(q.compressed)
		if err != nil {
			return false, err
		}
		if len(block.Columns) == 0 {
			return found, nil
		}
		found = true
	}
}

// answer runs a statement and sends its rows.
func (c *client) answer(q *request, s statement.Statement) error {
	began := time.Now()
	defer c.watch()()
	a := &answering{client: c, compressed: q.compressed}
	var progress engine.Progress
	var err error
	if s.Streams() {
		progress, err = a.stream(q, s)
	} else {
		progress, err = a.whole(q, s)
	}
	if err == nil && !a.began && s.ReturnsRows() {
		var columns []wire.Column
		if columns, err = describe.Answer(c.session.Conn, s, q.params); err == nil {
			err = a.header(columns)
		}
	}
	var broken *sendError
	switch {
	case errors.As(err, &broken):
		return broken.err
	case err != nil:
		return c.exception(err)
	}
	return c.end(progress, began)
}

// sendError is a client that cannot be reached, as against a statement that
// failed.
type sendError struct{ err error }

func (e *sendError) Error() string { return e.err.Error() }

// answering sends the blocks of one answer.
type answering struct {
	*client
	compressed bool
	// began says that the columns were sent.
	began bool
}

// header sends the columns, in a block without rows.
func (a *answering) header(columns []wire.Column) error {
	a.began = true
	if err := a.data(&wire.Block{Columns: columns}, a.compressed); err != nil {
		return &sendError{err}
	}
	return nil
}

// blocks sends what the engine wrote in its native format.
func (a *answering) blocks(data []byte, zone func([]wire.Column)) error {
	for block, err := range wire.Blocks(data) {
		if err != nil {
			return statement.NotImplemented(err.Error())
		}
		zone(block.Columns)
		if !a.began {
			if err := a.header(block.Columns); err != nil {
				return err
			}
		}
		if err := a.data(block, a.compressed); err != nil {
			return &sendError{err}
		}
	}
	return nil
}

func (a *answering) whole(q *request, s statement.Statement) (engine.Progress, error) {
	r, err := a.session.Query(s.Text, "Native", q.params...)
	if err != nil {
		return engine.Progress{}, err
	}
	defer r.Free()
	return r.Progress(), a.blocks(r.Bytes(), func([]wire.Column) {})
}

func (a *answering) stream(q *request, s statement.Statement) (engine.Progress, error) {
	var total engine.Progress
	stream, err := a.session.Stream(s.Text, "Native", q.params...)
	if err != nil {
		return total, err
	}
	defer stream.Free()
	zone := a.zones(q, s)
	for {
		r, err := stream.Next()
		if r == nil || err != nil {
			return total, err
		}
		p := r.Progress() // The engine leaves some out: a lower bound.
		total.Rows, total.Bytes = total.Rows+p.Rows, total.Bytes+p.Bytes
		err = a.blocks(r.Bytes(), zone)
		r.Free()
		if err == nil {
			if sendErr := a.flush(); sendErr != nil {
				err = &sendError{sendErr}
			}
		}
		if err != nil {
			stream.Cancel()
			return total, err
		}
	}
}

// zones restores what the engine leaves out at revision 0: the time zone of a
// DateTime column. It asks the engine only when there is such a column.
func (a *answering) zones(q *request, s statement.Statement) func([]wire.Column) {
	var known []wire.Column
	asked := false
	return func(columns []wire.Column) {
		for i := range columns {
			if columns[i].Type != "DateTime" {
				continue
			}
			if !asked {
				asked = true
				known = a.askZones(q, s)
			}
			if i < len(known) {
				columns[i].Type = known[i].Type
			}
		}
	}
}

// askZones describes the statement on another connection, since this one is
// streaming.
func (a *answering) askZones(q *request, s statement.Statement) []wire.Column {
	other, err := a.server.Open(a.session.Database)
	if err != nil {
		return nil // The column keeps the server's zone.
	}
	defer other.Close()
	columns, err := describe.Answer(other.Conn, s, q.params)
	if err != nil {
		return nil // The same.
	}
	return columns
}
