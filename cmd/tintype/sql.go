package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
)

// sqlCommand runs one statement.
type sqlCommand struct {
	clickHouseFlag
	Query  string `arg:"" help:"The statement, or - to read it from stdin."`
	Output string `short:"o" env:"-" help:"table, json (one object a line) or csv." enum:"table,json,csv" default:"table"`
}

// Help shows examples.
func (sqlCommand) Help() string {
	return "Examples:\n  tintype sql 'SELECT outcome, count() FROM uploads GROUP BY outcome'\n  tintype sql -o csv 'SELECT * FROM renditions LIMIT 10'"
}

// Run implements the command.
func (c *sqlCommand) Run(e *env) error {
	query := c.Query
	if query == "-" {
		data, err := io.ReadAll(e.stdin)
		if err != nil {
			return fmt.Errorf("sql: read stdin: %w", err)
		}
		query = string(data)
	}
	if strings.TrimSpace(query) == "" {
		return &usageError{errors.New("sql: the statement is empty")}
	}
	conn, err := c.connect(e.ctx)
	if err != nil {
		return err
	}
	return errors.Join(printQuery(e.ctx, conn, query, c.Output, e.stdout), conn.Close())
}
