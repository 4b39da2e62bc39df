package exactly

import (
	"fmt"
	"testing"
	"time"

	"github.com/lovoo/goka"
	"github.com/lovoo/goka/codec"
)

// A turn writes one record a key into the changelog, the last, beside the first
// few changes that go out at once.
func TestChangesOfAKeyAreOneRecord(t *testing.T) {
	l := newLab(t)
	const n = 3000
	header := func(value string) goka.ContextOption {
		return goka.WithCtxEmitHeaders(goka.Headers{"h": []byte(value)})
	}
	graph := goka.DefineGroup(l.group,
		goka.Input(goka.Stream(l.in), new(codec.String), func(ctx goka.Context, value any) {
			switch ctx.Key() {
			case "with a header":
				ctx.SetValue(value, header(value.(string)))
			case "with none in the end":
				ctx.SetValue("overwritten", header("overwritten"))
				ctx.SetValue(value)
			case "deleted":
				ctx.SetValue(value)
				ctx.Delete(header("deleted"))
			}
		}),
		goka.Persist(new(codec.String)))
	list := records(0, n)
	for i, key := range []string{"with a header", "with none in the end", "deleted"} {
		for k := i; k < n; k += 3 {
			list[k].Key = []byte(key)
		}
	}
	l.send(list...)
	cfg := l.config("a", t.TempDir())
	cfg.Status, cfg.CommitInterval = new(Status), time.Second
	drain := l.running(cfg, graph)
	l.await(func() bool { return cfg.Status.Snapshot().Records == n })
	if err := drain(); err != nil {
		t.Fatal(err)
	}
	stats := cfg.Status.Snapshot()
	if most := stats.Committed * (labPartitions*earlyChanges + 3); stats.Emits > most || stats.Emits >= n {
		t.Errorf("%d records in the changelog after %d turns", stats.Emits, stats.Committed)
	}
	s := &side{lab: l}
	left := map[string]seen{}
	for key, written := range s.all(string(goka.GroupTable(l.group))) {
		left[key] = written[len(written)-1]
		left[key] = seen{Value: left[key].Value, Headers: left[key].Headers}
	}
	want := map[string]seen{
		"with a header": {Value: "2997", Headers: "h=2997"}, "with none in the end": {Value: "2998"}, "deleted": {Value: "<null>", Headers: "h=deleted"},
	}
	if fmt.Sprint(left) != fmt.Sprint(want) {
		t.Errorf("the changelog ends with %v, want %v", left, want)
	}
}
