package native

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/ClickHouse/ch-go/compress"

	"github.com/tintype/tintype/cmd/chserver/internal/describe"
	"github.com/tintype/tintype/cmd/chserver/internal/engine"
	"github.com/tintype/tintype/cmd/chserver/internal/statement"
	"github.com/tintype/tintype/cmd/chserver/internal/wire"
)

// request is a query packet.
type request struct {
	id         string
	text       string
	compressed bool
	settings   map[string]string
	params     []engine.Param
}

// readRequest reads a query packet as the client's revision writes it.
func (c *client) readRequest() (*request, error) {
	in, q := c.in, &request{settings: map[string]string{}}
	q.id = in.String()
	if in.Byte() != 0 {
		c.skipClientInfo()
	}
	for in.Err() == nil {
		name := in.String()
		if name == "" {
			break
		}
		custom, value := in.Uvarint()&2 != 0, in.String()
		if custom {
			value = statement.Unquote(value)
		}
		q.settings[name] = value
	}
	if c.revision >= 54441 {
		_ = in.String() // The secret between servers.
	}
	_ = in.Uvarint() // The stage: always to the end.
	q.compressed = in.Uvarint() != 0
	q.text = in.String()
	for c.revision >= 54459 && in.Err() == nil {
		name := in.String()
		if name == "" {
			break
		}
		_ = in.Uvarint()
		q.params = append(q.params, engine.Param{Name: name, Value: statement.Unquote(in.String())})
	}
	return q, in.Err()
}

// skipClientInfo passes over what the client tells about itself.
func (c *client) skipClientInfo() {
	in := c.in
	_, _, _ = in.String(), in.String(), in.String() // Initial user, query id and address.
	if c.revision >= 54449 {
		in.Skip(8) // When the initial query began.
	}
	in.Skip(1)                                         // The interface: TCP.
	_, _, _ = in.String(), in.String(), in.String()    // User, host and name of the client.
	_, _, _ = in.Uvarint(), in.Uvarint(), in.Uvarint() // Its version.
	_ = in.String()                                    // The quota key.
	if c.revision >= 54448 {
		_ = in.Uvarint() // Depth of distributed queries.
	}
	_ = in.Uvarint() // Patch version.
	if c.revision >= 54442 && in.Byte() != 0 {
		in.Skip(24) // OpenTelemetry: trace and span.
		_ = in.String()
		in.Skip(1)
	}
	if c.revision >= 54453 {
		_, _, _ = in.Uvarint(), in.Uvarint(), in.Uvarint() // Parallel replicas.
	}
}

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
