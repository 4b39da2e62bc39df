package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/tintype/tintype/exactly"
	"github.com/tintype/tintype/internal/chaos"
)

// Three deliveries stand side by side, and each with the reason why it failed.
func TestChaosPrint(t *testing.T) {
	t.Parallel()
	var results []*chaos.Result
	for i, delivery := range []exactly.Delivery{exactly.AtMostOnce, exactly.AtLeastOnce, exactly.ExactlyOnce} {
		results = append(results, &chaos.Result{
			Delivery: delivery, AuditOK: true, Hits: chaos.Hits{Kills: 2, Open: 2, Either: 2},
			Recount: &chaos.Recount{Uploads: 30_000, FatesMissing: 17 * (i % 2)}, Windows: &chaos.WindowsCount{Windows: 1}, VerifyOK: true,
		})
	}
	c := &chaosCommand{Output: "text", Uploads: 20_000}
	var text bytes.Buffer
	if err := c.print(&text, results); err != nil {
		t.Fatal(err)
	}
	lines := map[string]bool{}
	for line := range strings.Lines(text.String()) {
		lines[strings.Join(strings.Fields(line), " ")] = true
	}
	for _, want := range []string{
		"delivery at-most-once at-least-once exactly-once", "uploads in the log 30000 30000 30000", "fates missing 0 17 0",
		"verdict passed FAILED passed", "at-least-once: fates missing: 17, should be 0",
	} {
		if !lines[want] {
			t.Errorf("there is no line %q:\n%s", want, text.String())
		}
	}

	c.Output = "json"
	var objects bytes.Buffer
	if err := c.print(&objects, results); err != nil {
		t.Fatal(err)
	}
	decoder := json.NewDecoder(&objects)
	for _, want := range results {
		var got chaos.Result
		if err := decoder.Decode(&got); err != nil || got.Delivery != want.Delivery || got.Recount.FatesMissing != want.Recount.FatesMissing {
			t.Errorf("%+v, %v; want %+v", got, err, want)
		}
	}
	if c.Uploads = 30_001; len(c.failures(results[2])) != 1 {
		t.Errorf("a run of too few uploads: %q", c.failures(results[2]))
	}
}
