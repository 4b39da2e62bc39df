// Package lifecycle owns what a process owes its operator: an orderly end on a
// signal, and an HTTP face that tells how it is.
package lifecycle

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

// Signals returns a context that the first SIGINT or SIGTERM ends: stop taking
// work, finish what is in hand. The second one kills the process at once, for
// the default handler is back by then.
func Signals(parent context.Context) (context.Context, context.CancelFunc) {
	ctx, stop := signal.NotifyContext(parent, os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	return ctx, stop
}
