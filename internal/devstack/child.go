package devstack

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
)

// readyLine is what chserver prints once it serves.
type readyLine struct {
	Native string `json:"native"`
	HTTP   string `json:"http"`
	PID    int    `json:"pid"`
}

// child is one life of a chserver process.
type child struct {
	ready   readyLine
	process *os.Process
	// owner is the child's stdin: it ends when this is closed.
	owner io.Closer
	// done is closed when the process has ended, err then says how.
	done chan struct{}
	err  error
}

// startChild starts a process and waits until it says that it is ready.
func startChild(ctx context.Context, command *exec.Cmd) (*child, error) {
	owner, err := command.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("devstack: open the owner pipe: %w", err)
	}
	stdout, err := command.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("devstack: open the output of chserver: %w", err)
	}
	command.SysProcAttr = dieWithOwner()
	c := &child{owner: owner, done: make(chan struct{})}
	started, line := make(chan error, 1), make(chan []byte, 1)
	go func() {
		// The kernel kills the child when this thread ends, so that the
		// thread lives exactly as long as the child.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := command.Start()
		started <- err
		if err != nil {
			return
		}
		reader := bufio.NewReader(stdout)
		first, err := reader.ReadBytes('\n')
		if err == nil {
			line <- first
		}
		_, err = io.Copy(io.Discard, reader)
		c.err = errors.Join(command.Wait(), err)
		close(c.done)
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("devstack: start %s: %w", command.Path, err)
	}
	c.process = command.Process
	select {
	case first := <-line:
		if err := json.Unmarshal(first, &c.ready); err != nil {
			return nil, errors.Join(fmt.Errorf("devstack: read what chserver says: %w", err), c.kill())
		}
		return c, nil
	case <-c.done:
		return nil, fmt.Errorf("devstack: chserver ended before it was ready: %w", orEnded(c.err))
	case <-ctx.Done():
		return nil, errors.Join(fmt.Errorf("devstack: wait for chserver: %w", ctx.Err()), c.kill())
	}
}

// stop asks the process to end, and kills it when the context ends first.
func (c *child) stop(ctx context.Context) error {
	if err := c.owner.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
		return errors.Join(err, c.kill())
	}
	select {
	case <-c.done:
		return nil
	case <-ctx.Done():
		return errors.Join(fmt.Errorf("devstack: chserver did not end: %w", ctx.Err()), c.kill())
	}
}

// kill ends the process at once and waits for it.
func (c *child) kill() error {
	if err := c.process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("devstack: kill chserver: %w", err)
	}
	<-c.done
	return nil
}

var errEnded = errors.New("the process ended")

func orEnded(err error) error {
	if err == nil {
		return errEnded
	}
	return err
}
