package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/tintype/tintype/load"
)

// reportCommand runs one of load's queries.
type reportCommand struct {
	clickHouseFlag
	Name   string `arg:"" optional:"" help:"The report; none lists them."`
	Output string `short:"o" env:"-" help:"table, json (one object a line) or csv." enum:"table,json,csv" default:"table"`
}

// Help shows examples.
func (reportCommand) Help() string {
	return "Examples:\n  tintype report\n  tintype report freshness\n  tintype report cameras -o json"
}

// Run implements the command.
func (c *reportCommand) Run(e *env) error {
	reports := load.Reports()
	if c.Name == "" {
		for _, r := range reports {
			if _, err := fmt.Fprintf(e.stdout, "%-20s %s\n", r.Name, r.Title); err != nil {
				return err
			}
		}
		return nil
	}
	names := make([]string, 0, len(reports))
	for _, r := range reports {
		if r.Name == c.Name {
			conn, err := c.connect(e.ctx)
			if err != nil {
				return err
			}
			return errors.Join(printQuery(e.ctx, conn, r.SQL, c.Output, e.stdout), conn.Close())
		}
		names = append(names, r.Name)
	}
	return &usageError{fmt.Errorf("there is no report %q: want one of %s", c.Name, strings.Join(names, ", "))}
}
