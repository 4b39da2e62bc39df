// Package describe asks the engine for columns: of an answer without rows, and
// of the table that an INSERT writes.
package describe

import (
	"fmt"

	"github.com/tintype/tintype/cmd/chserver/internal/engine"
	"github.com/tintype/tintype/cmd/chserver/internal/statement"
	"github.com/tintype/tintype/cmd/chserver/internal/wire"
)

// Answer returns the columns of a statement's answer.
func Answer(conn *engine.Conn, s statement.Statement, params []engine.Param) ([]wire.Column, error) {
	if !s.ReturnsRows() {
		return nil, nil
	}
	columns, _, err := run(conn, "DESCRIBE ("+s.Text+"\n) SETTINGS print_pretty_type_names = 0", params)
	return columns, err
}

// Target returns the columns that an INSERT expects, in its order.
func Target(conn *engine.Conn, insert *statement.Insert) ([]wire.Column, error) {
	columns, kinds, err := run(conn, "DESCRIBE "+insert.Target+" SETTINGS describe_compact_output = 0, print_pretty_type_names = 0", nil)
	if err != nil {
		return nil, err
	}
	named := statement.Columns(insert.Columns)
	if len(named) == 0 || named[0] == "*" {
		var writable []wire.Column
		for i, c := range columns {
			if kinds[i] != "ALIAS" && kinds[i] != "MATERIALIZED" && kinds[i] != "EPHEMERAL" {
				writable = append(writable, c)
			}
		}
		return writable, nil
	}
	byName := make(map[string]wire.Column, len(columns))
	for _, c := range columns {
		byName[c.Name] = c
	}
	expected := make([]wire.Column, 0, len(named))
	for _, name := range named {
		c, ok := byName[name]
		if !ok {
			return nil, &engine.Error{Code: 16, Message: fmt.Sprintf("No such column %s in %s. (NO_SUCH_COLUMN_IN_TABLE)", name, insert.Target)}
		}
		expected = append(expected, c)
	}
	return expected, nil
}

// run returns the columns that a DESCRIBE names, with how they get their values.
func run(conn *engine.Conn, sql string, params []engine.Param) (columns []wire.Column, kinds []string, err error) {
	r, err := conn.Query(sql, "Native", params...)
	if err != nil {
		return nil, nil, err
	}
	defer r.Free()
	for block, err := range wire.Blocks(r.Bytes()) {
		if err != nil {
			return nil, nil, err
		}
		types := block.Strings("type")
		defaults := block.Strings("default_type")
		for i, name := range block.Strings("name") {
			columns = append(columns, wire.Column{Name: name, Type: types[i]})
			kind := ""
			if i < len(defaults) {
				kind = defaults[i]
			}
			kinds = append(kinds, kind)
		}
	}
	return columns, kinds, nil
}
