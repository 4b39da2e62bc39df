package exactly_test

import (
	"context"
	"fmt"
	"os/signal"
	"syscall"

	"github.com/lovoo/goka"
	"github.com/lovoo/goka/codec"

	"github.com/tintype/tintype/exactly"
)

// A counter: each record of clicks counts once for its key, whatever is killed.
func ExampleRun() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	graph := goka.DefineGroup("counter",
		goka.Input("clicks", new(codec.String), func(ctx goka.Context, _ any) {
			n, _ := ctx.Value().(int64)
			ctx.SetValue(n + 1)
		}),
		goka.Persist(new(codec.Int64)),
	)
	err := exactly.Run(ctx, exactly.Config{
		Brokers:      []string{"127.0.0.1:9092"},
		Instance:     "host-1",
		StateDir:     "/var/lib/counter",
		CreateTopics: true,
	}, graph)
	if err != nil {
		fmt.Println("it cannot go on:", err)
	}
}
