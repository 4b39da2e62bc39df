package native

import (
	"github.com/tintype/tintype/cmd/chserver/internal/engine"
	"github.com/tintype/tintype/cmd/chserver/internal/statement"
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
