package exactly

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/lovoo/goka"
	"github.com/lovoo/goka/codec"
)

// TestWhatIsNotSupportedIsRefusedByName: at the start where it can be known, and
// with one member as with several.
func TestWhatIsNotSupportedIsRefusedByName(t *testing.T) {
	t.Parallel()
	plain := func(goka.Context, any) {}
	for _, c := range []struct {
		name, want string
		option     goka.ProcessorOption
		edge       goka.Edge
		callback   goka.ProcessCallback
	}{
		{name: "visitor", want: "goka.Visitor", edge: goka.Visitor("each", plain)},
		{name: "standby", want: "goka.WithHotStandby", option: goka.WithHotStandby()},
		{name: "ahead", want: "goka.WithRecoverAhead", option: goka.WithRecoverAhead()},
		{name: "deferred", want: "goka.Context.DeferCommit", callback: func(ctx goka.Context, _ any) { ctx.DeferCommit()(nil) }},
		{
			name: "deferred in a wrapper", want: "goka.Context.DeferCommit",
			option:   goka.WithContextWrapper(func(ctx goka.Context) goka.Context { return shouting{ctx} }),
			callback: func(ctx goka.Context, _ any) { ctx.(shouting).DeferCommit()(nil) },
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			l.send(records(0, 1)...)
			callback := c.callback
			if callback == nil {
				callback = plain
			}
			edges := []goka.Edge{goka.Input(goka.Stream(l.in), new(codec.String), callback), goka.Persist(new(codec.String))}
			if c.edge != nil {
				edges = append(edges, c.edge)
			}
			var options []goka.ProcessorOption
			if c.option != nil {
				options = append(options, c.option)
			}
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			began := time.Now()
			err := Run(ctx, l.config("a", ""), goka.DefineGroup(l.group, edges...), options...)
			if err == nil || !IsPermanent(err) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("after %v: %v, want %s", time.Since(began), err, c.want)
			}
		})
	}
}

// TestAnEmptyValueIsAValue: goka's LevelDB gives none back for it, unlike its
// storage in memory and against what goka's storage promises. Here it is one,
// before the commit and after it, and when it is recovered.
func TestAnEmptyValueIsAValue(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	graph := goka.DefineGroup(l.group,
		goka.Input(goka.Stream(l.in), new(codec.String), func(ctx goka.Context, _ any) {
			before := ctx.Value()
			ctx.SetValue("")
			ctx.Emit(goka.Stream(l.out), ctx.Key(), fmt.Sprintf("%q then %q", before, ctx.Value()))
		}),
		goka.Output(goka.Stream(l.out), new(codec.String)), goka.Persist(new(codec.String)))
	dir := t.TempDir()
	for run, dir := range []string{dir, dir, t.TempDir()} {
		drain := l.running(l.config("a", dir), graph)
		l.send(rec("k", "v"))
		want := map[string]int{`%!q(<nil>) then ""`: 1}
		if run > 0 {
			want[`"" then ""`] = run
		}
		if got := l.read(l.out, run+1); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("run %d: %v, want %v", run, got, want)
		}
		if err := drain(); err != nil {
			t.Fatal(err)
		}
	}
}
