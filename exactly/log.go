package exactly

import (
	"context"
	"fmt"
	"log/slog"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"
)

// gokaLogger gives goka's free-text messages to slog, at debug level: whatever
// matters comes back as an error.
type gokaLogger struct{ log *slog.Logger }

func (l gokaLogger) Print(args ...any)            { l.text(fmt.Sprint(args...)) }
func (l gokaLogger) Println(args ...any)          { l.text(fmt.Sprintln(args...)) }
func (l gokaLogger) Printf(f string, args ...any) { l.text(fmt.Sprintf(f, args...)) }

func (l gokaLogger) text(s string) {
	l.log.LogAttrs(context.Background(), slog.LevelDebug, "goka", slog.String("text", strings.TrimSpace(s)))
}

// kafkaLogger gives franz-go's warnings and errors to slog.
type kafkaLogger struct{ log *slog.Logger }

func (l kafkaLogger) Level() kgo.LogLevel {
	if l.log.Enabled(context.Background(), slog.LevelDebug-4) {
		return kgo.LogLevelInfo
	}
	return kgo.LogLevelWarn
}

func (l kafkaLogger) Log(level kgo.LogLevel, msg string, keyvals ...any) {
	at := slog.LevelDebug
	if level == kgo.LogLevelError {
		at = slog.LevelWarn
	}
	attrs := make([]slog.Attr, 0, len(keyvals)/2+1)
	attrs = append(attrs, slog.String("text", msg))
	for i := 0; i+1 < len(keyvals); i += 2 {
		if err, ok := keyvals[i+1].(error); ok && IsPermanent(err) {
			at = slog.LevelDebug // It ends the run, which tells it once.
		}
		attrs = append(attrs, slog.Any(fmt.Sprint(keyvals[i]), keyvals[i+1]))
	}
	l.log.LogAttrs(context.Background(), at, "kafka client", attrs...)
}
