package devstack

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"
)

// ClickHouseOptions say how to start the embedded ClickHouse.
type ClickHouseOptions struct {
	// Dir keeps the databases over restarts.
	Dir string
	// Binary is chserver; without it the one beside this program, or the
	// one that PATH has.
	Binary string
	// Lib is the engine, as EnsureEngine returns it.
	Lib string
	// Listen and HTTPListen are host:port; without one a free port is taken.
	Listen, HTTPListen string
	// Password is asked of clients where it is not empty.
	Password string
	Log      *slog.Logger
	// Stderr takes what chserver logs; without it this process's stderr does.
	Stderr io.Writer
}

// ClickHouse is the engine in a child process that is kept running.
type ClickHouse struct {
	options      ClickHouseOptions
	native, http string

	stopping chan struct{}
	stop     sync.Once
	done     chan struct{}

	mu    sync.Mutex
	child *child
	err   error
}

// restartLimit is how often a minute chserver is started again.
const restartLimit = 10

// StartClickHouse starts the engine and keeps it running, on the same ports,
// until it is stopped.
func StartClickHouse(ctx context.Context, o ClickHouseOptions) (*ClickHouse, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Stderr == nil {
		o.Stderr = os.Stderr
	}
	binary, err := chserver(o.Binary)
	if err != nil {
		return nil, err
	}
	o.Binary = binary
	if err := os.MkdirAll(o.Dir, 0o755); err != nil {
		return nil, fmt.Errorf("devstack: make the ClickHouse folder: %w", err)
	}
	if o.Listen == "" {
		o.Listen = loopback
	}
	if o.HTTPListen == "" {
		o.HTTPListen = loopback
	}
	c := &ClickHouse{options: o, native: o.Listen, http: o.HTTPListen, stopping: make(chan struct{}), done: make(chan struct{})}
	first, err := startChild(ctx, c.command())
	if err != nil {
		return nil, err
	}
	c.child, c.native, c.http = first, first.ready.Native, first.ready.HTTP
	go c.supervise(first) //nolint:contextcheck // It lives until Stop, beyond the start's context.
	return c, nil
}

// Native is the address of the native protocol.
func (c *ClickHouse) Native() string { return c.native }

// HTTP is the address of the HTTP interface.
func (c *ClickHouse) HTTP() string { return c.http }

// URL is the address that clients are given.
func (c *ClickHouse) URL() string { return "clickhouse://default@" + c.native + "/default" }

// PID is the process's id; a restart changes it.
func (c *ClickHouse) PID() int { return c.current().process.Pid }

// Done is closed when the engine has ended for good: stopped, or too often
// dead to be started again.
func (c *ClickHouse) Done() <-chan struct{} { return c.done }

// Err says, after Done, why the engine could not be kept running; nil where
// it was stopped.
func (c *ClickHouse) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// Stop ends the engine; what it holds is in its folder.
func (c *ClickHouse) Stop(ctx context.Context) error {
	c.stop.Do(func() { close(c.stopping) })
	err := c.current().stop(ctx)
	<-c.done
	return err
}

// Kill ends the process as a crash would; it is then started again.
func (c *ClickHouse) Kill() error { return c.current().kill() }

func (c *ClickHouse) current() *child {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.child
}

// command is chserver on the ports that were taken.
func (c *ClickHouse) command() *exec.Cmd {
	o := c.options
	command := exec.Command(o.Binary, "--dir", o.Dir, "--listen", c.native, "--http-listen", c.http, "--lib", o.Lib, "--owner-pipe")
	command.Env = append(os.Environ(), "CHSERVER_PASSWORD="+o.Password)
	command.Stderr = o.Stderr
	command.WaitDelay = time.Second
	return command
}

// supervise starts the process again where it ends unasked.
func (c *ClickHouse) supervise(running *child) {
	defer close(c.done)
	var starts []time.Time
	pause := time.NewTimer(0)
	<-pause.C
	for {
		if running != nil {
			<-running.done
		}
		select {
		case <-c.stopping:
			return
		default:
		}
		now := time.Now()
		for len(starts) > 0 && now.Sub(starts[0]) > time.Minute {
			starts = starts[1:]
		}
		if len(starts) == restartLimit {
			c.fail(fmt.Errorf("devstack: chserver ended %d times within a minute", restartLimit+1))
			return
		}
		starts = append(starts, now)
		pause.Reset(min(time.Second, time.Duration(len(starts))*50*time.Millisecond))
		select {
		case <-c.stopping:
			return
		case <-pause.C:
		}
		c.options.Log.Warn("chserver ended, starting it again", slog.Int("restarts", len(starts)))
		running = c.restart()
	}
}

// restart starts the process again; nil where that failed.
func (c *ClickHouse) restart() *child {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	stopWaiting := make(chan struct{})
	defer close(stopWaiting)
	go func() {
		select {
		case <-c.stopping:
			cancel()
		case <-stopWaiting:
		}
	}()
	next, err := startChild(ctx, c.command())
	if err != nil {
		c.options.Log.Warn("chserver did not start", slog.Any("error", err))
		return nil
	}
	c.mu.Lock()
	c.child = next
	c.mu.Unlock()
	select {
	case <-c.stopping:
		// Stop may have asked the process before this one.
		if err := next.kill(); err != nil {
			c.fail(err)
		}
	default:
	}
	return next
}

func (c *ClickHouse) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.err = err
}

// chserver finds the binary.
func chserver(binary string) (string, error) {
	if binary != "" {
		if _, err := os.Stat(binary); err != nil {
			return "", fmt.Errorf("devstack: find chserver: %w", err)
		}
		return binary, nil
	}
	if self, err := os.Executable(); err == nil {
		beside := filepath.Join(filepath.Dir(self), "chserver")
		if info, err := os.Stat(beside); err == nil && info.Mode().IsRegular() {
			return beside, nil
		}
	}
	found, err := exec.LookPath("chserver")
	if err != nil {
		return "", errors.New("devstack: there is no chserver beside this program or in PATH: make build builds it, --chserver FILE names it")
	}
	return found, nil
}
