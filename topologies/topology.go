package topologies

import (
	"fmt"
	"strings"

	"github.com/lovoo/goka"

	"github.com/tintype/tintype/event"
)

// Topology prints a deployment's graph as it is wired in the code: each group
// with its inputs, table, loop and outputs, then each topic with its key, event
// time and retention.
func Topology(deployment string, topics event.Topics) string {
	base := &stageBase{Config: Config{Deployment: deployment, Topics: topics, Codecs: event.NewCodecs()}}
	graphs := []*goka.GroupGraph{
		(&extractStage{stageBase: base}).graph(), (&transformStage{stageBase: base}).graph(), newWindowsStage(base).graph(), (&loadStage{stageBase: base}).graph(),
	}
	var b strings.Builder
	for _, g := range graphs {
		fmt.Fprintf(&b, "group %s\n", g.Group())
		for _, edge := range g.InputStreams() {
			fmt.Fprintf(&b, "  input   %s\n", edge.Topic())
		}
		if loop := g.LoopStream(); loop != nil {
			fmt.Fprintf(&b, "  loop    %s\n", loop.Topic())
		}
		if table := g.GroupTable(); table != nil {
			fmt.Fprintf(&b, "  table   %s (compacted)\n", table.Topic())
		}
		for _, edge := range g.OutputStreams() {
			fmt.Fprintf(&b, "  output  %s\n", edge.Topic())
		}
		if g.Group() == goka.Group(Group(deployment, event.StageLoad)) {
			b.WriteString("  sink    ClickHouse: uploads, renditions, dead_letters, windows, late_uploads, ticks\n")
		}
		b.WriteString("\n")
	}
	for _, t := range topics.All() {
		retention := "for ever"
		if t.Retention > 0 {
			retention = fmt.Sprintf("%.0f days", t.Retention.Hours()/24)
		}
		fmt.Fprintf(&b, "topic %s\n  message    %s\n  key        %s\n  event time %s\n  kept       %s\n  record     up to %d bytes\n",
			t.Name, t.Message, t.Key, t.EventTime, retention, t.MaxMessageBytes)
	}
	return b.String()
}
