package main

import (
	"fmt"

	"github.com/tintype/tintype/event"
	"github.com/tintype/tintype/topologies"
)

// topologyCommand prints the graph.
type topologyCommand struct {
	nameFlags
}

// Help shows an example.
func (topologyCommand) Help() string {
	return "Example:\n  tintype topology"
}

// Run implements the command.
func (c *topologyCommand) Run(e *env) error {
	_, err := fmt.Fprint(e.stdout, topologies.Topology(c.Deployment, event.TopicsOf(c.Deployment, c.UploadsTopic)))
	return err
}
