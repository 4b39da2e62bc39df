// Command kafka-run runs a command beside a real Kafka broker, whose address
// the command finds in TINTYPE_TEST_KAFKA:
//
//	go run ./internal/kafkatest/cmd/kafka-run -- go test ./exactly/...
//
// It exits with the command's exit code, and with 3 where the broker does not
// start. The broker's folder is removed unless the command fails.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"

	"github.com/tintype/tintype/internal/kafkatest"
)

// Exit codes of kafka-run's own.
const (
	exitUsage = 2
	exitSetup = 3
)

// startTimeout bounds a start that fetches the jars too.
const startTimeout = 5 * time.Minute

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stderr)
	stop()
	os.Exit(code)
}

// run runs the command and returns the exit code.
func run(ctx context.Context, args []string, stderr io.Writer) int {
	say := func(format string, values ...any) {
		_, _ = fmt.Fprintf(stderr, "kafka-run: "+format+"\n", values...) // There is nowhere else to say it.
	}
	if len(args) > 0 && args[0] == "--" {
		args = args[1:]
	}
	if len(args) == 0 {
		say("no command: kafka-run -- COMMAND [ARGUMENT…]")
		return exitUsage
	}
	dir, err := os.MkdirTemp("", "tintype-kafka-")
	if err != nil {
		say("make a folder: %v", err)
		return exitSetup
	}
	began := time.Now()
	starting, cancel := context.WithTimeout(ctx, startTimeout)
	broker, err := kafkatest.Start(starting, kafkatest.Options{Dir: dir})
	cancel()
	if err != nil {
		say("%v", err)
		return exitSetup
	}
	say("Apache Kafka %s on %s after %.1f s, process %d", kafkatest.Version, broker.Addr(), time.Since(began).Seconds(), broker.PID())
	code, err := child(ctx, args, broker.Addr())
	if err != nil {
		say("%v", err)
	}
	if err := broker.Stop(context.WithoutCancel(ctx)); err != nil {
		say("%v", err)
	}
	if code != 0 {
		say("the command failed; the broker's folder is kept: %s", dir)
		return code
	}
	if err := os.RemoveAll(dir); err != nil {
		say("remove the broker's folder: %v", err)
	}
	return 0
}

// child runs a command. A signal to kafka-run is passed on to it.
func child(ctx context.Context, args []string, addr string) (int, error) {
	command := exec.CommandContext(ctx, args[0], args[1:]...)
	command.Env = append(os.Environ(), "TINTYPE_TEST_KAFKA="+addr)
	command.Stdin, command.Stdout, command.Stderr = os.Stdin, os.Stdout, os.Stderr
	command.Cancel = func() error { return command.Process.Signal(syscall.SIGTERM) }
	command.WaitDelay = 10 * time.Second
	err := command.Run()
	var exit *exec.ExitError
	if err == nil || errors.As(err, &exit) && exit.ExitCode() > 0 {
		return command.ProcessState.ExitCode(), nil
	}
	return exitSetup, fmt.Errorf("run %s: %w", args[0], err)
}
