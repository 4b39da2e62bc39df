package kafkatest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

var (
	errEnded     = errors.New("the broker ended before it was ready")
	errPortTaken = errors.New("a port is in use")
)

// process is one life of a broker.
type process struct {
	os *os.Process
	// done is closed when the process has ended.
	done chan struct{}
}

// startProcess starts a command that writes to a file and dies with this
// process.
func startProcess(command *exec.Cmd, output string) (*process, error) {
	out, err := os.Create(output)
	if err != nil {
		return nil, fmt.Errorf("kafkatest: make the output file: %w", err)
	}
	command.Stdout, command.Stderr = out, out
	command.SysProcAttr = dieWithOwner()
	p := &process{done: make(chan struct{})}
	started := make(chan error, 1)
	go func() {
		// The kernel kills the process when this thread ends, so that the
		// thread lives exactly as long as the process.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := command.Start()
		_ = out.Close() // The process has its own.
		started <- err
		if err != nil {
			return
		}
		_ = command.Wait() // How it ended is told by its log, or wanted.
		close(p.done)
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("kafkatest: start Java: %w", err)
	}
	p.os = command.Process
	return p, nil
}

func (p *process) pid() int { return p.os.Pid }

// kill ends the process at once and waits for it.
func (p *process) kill() error {
	if err := p.signal(syscall.SIGKILL); err != nil {
		return err
	}
	<-p.done
	return nil
}

// stop asks the process to end, and kills it when the context ends first.
func (p *process) stop(ctx context.Context) error {
	if err := p.signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case <-p.done:
		return nil
	case <-ctx.Done():
		return p.kill()
	}
}

// signal sends a signal to a process that may have ended.
func (p *process) signal(s syscall.Signal) error {
	if err := p.os.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("kafkatest: signal the broker: %w", err)
	}
	return nil
}

// ready returns when the broker lists itself in an answer to a metadata
// request: a broker that its controller has not let in yet is not listed.
func (p *process) ready(ctx context.Context, addr string) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.RequestRetries(0))
	if err != nil {
		return fmt.Errorf("kafkatest: make a client: %w", err)
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	tick := time.NewTicker(25 * time.Millisecond)
	defer tick.Stop()
	for {
		m, err := admin.BrokerMetadata(ctx)
		if err == nil && len(m.Brokers) == 1 {
			return nil
		}
		select {
		case <-p.done:
			return errEnded
		case <-ctx.Done():
			return fmt.Errorf("kafkatest: wait for the broker on %s: %w", addr, errors.Join(ctx.Err(), err))
		case <-tick.C:
		}
	}
}

// explain adds to an error what the broker wrote last.
func (b *Broker) explain(err error) error {
	const tail = 2000
	var said []byte
	for _, file := range []string{b.logFile(), filepath.Join(b.options.Dir, "kafka.out")} {
		data, readErr := os.ReadFile(file)
		if readErr != nil {
			continue // It may have ended before it made the file.
		}
		said = append(said, data[max(0, len(data)-tail):]...)
	}
	if bytes.Contains(said, []byte("Address already in use")) {
		err = errors.Join(errPortTaken, err)
	}
	return fmt.Errorf("kafkatest: start the broker: %w: %s", err, strings.TrimSpace(string(said)))
}
