package chaos

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/tintype/tintype/event"
)

// A worker is one `tintype run` with a state folder and a way to ClickHouse of
// its own. It is started again under the same folder.
type worker struct {
	name       string
	dir        string
	binary     string
	args       []string
	clickHouse *clickHouseProxy
	// excused reports whether a server is or just was away: a worker that is
	// started then ends with [exitSetup].
	excused func() bool
	// busy is held while a fault works on this worker.
	busy sync.Mutex

	mu      sync.Mutex
	command *exec.Cmd
	ended   chan struct{}
	// asked says that the harness ends the process.
	asked bool
	// surprises are the ends that nobody asked for.
	surprises []string
	starts    int
}

// exitSetup is how a command ends that lacks a server at its start; a supervisor
// starts it again.
const exitSetup = 3

// restartAfter is how long the supervisor waits.
const restartAfter = time.Second

// start starts the process.
func (w *worker) start() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.launch()
}

// launch starts the process, with the lock held.
func (w *worker) launch() error {
	w.starts++
	log, err := os.OpenFile(filepath.Join(w.dir, "run.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("chaos: open the log of %s: %w", w.name, err)
	}
	command := exec.Command(w.binary, w.args...)
	command.Env = append(os.Environ(), "XDG_DATA_HOME="+w.dir)
	command.Stdout, command.Stderr = log, log
	command.SysProcAttr = dieWithOwner()
	ended, started := make(chan struct{}), make(chan error, 1)
	go func() {
		// The kernel kills the process when this thread ends, so that the thread
		// lives exactly as long as the process.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := errors.Join(command.Start(), log.Close())
		started <- err
		if err != nil {
			return
		}
		err = command.Wait()
		w.mu.Lock()
		again := !w.asked && command.ProcessState.ExitCode() == exitSetup && w.excused()
		if !w.asked && !again {
			w.surprises = append(w.surprises, fmt.Sprintf("%s ended by itself: %v: %s", w.name, err, w.lastLine()))
		}
		w.mu.Unlock()
		close(ended)
		if again {
			time.AfterFunc(restartAfter, func() {
				if err := w.revive(); err != nil {
					w.surprise(err.Error())
				}
			})
		}
	}()
	if err := <-started; err != nil {
		return fmt.Errorf("chaos: start %s: %w", w.name, err)
	}
	w.command, w.ended, w.asked = command, ended, false
	return nil
}

// lastLine is what the process said last.
func (w *worker) lastLine() string {
	data, err := os.ReadFile(filepath.Join(w.dir, "run.log"))
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(data)), "\n")
	return lines[len(lines)-1]
}

// instance is the worker's instance id: its transactional ids end with it.
func (w *worker) instance() (string, error) {
	id, err := os.ReadFile(filepath.Join(w.dir, "state", event.DefaultDeployment, "instance"))
	if err != nil {
		return "", fmt.Errorf("chaos: read the instance id of %s: %w", w.name, err)
	}
	return strings.TrimSpace(string(id)), nil
}

// surprised returns the ends that nobody asked for.
func (w *worker) surprised() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.surprises
}

// signal sends a signal to the process; ending says that it is to end by it.
func (w *worker) signal(s syscall.Signal, ending bool) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.asked = w.asked || ending
	return w.command.Process.Signal(s)
}

// await waits for the process to end.
func (w *worker) await(ctx context.Context, patience time.Duration) error {
	w.mu.Lock()
	ended := w.ended
	w.mu.Unlock()
	select {
	case <-ended:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(patience):
		return fmt.Errorf("chaos: %s has not ended within %v", w.name, patience)
	}
}

// kill kills the process.
func (w *worker) kill(ctx context.Context) error {
	if err := w.signal(syscall.SIGKILL, true); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("chaos: kill %s: %w", w.name, err)
	}
	return w.await(ctx, 10*time.Second)
}

// stop ends the process as an operator does.
func (w *worker) stop(ctx context.Context, patience time.Duration) error {
	if err := w.signal(syscall.SIGTERM, true); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("chaos: stop %s: %w", w.name, err)
	}
	if err := w.await(ctx, patience); err != nil {
		return errors.Join(err, w.kill(ctx))
	}
	return nil
}

// revive starts a process again that ended by itself.
func (w *worker) revive() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	select {
	case <-w.ended:
	default:
		return nil
	}
	if w.asked {
		return nil
	}
	return w.launch()
}

func (w *worker) surprise(text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.surprises = append(w.surprises, text)
}

// newWorker makes a worker's folder and its proxy to ClickHouse.
func (l *lab) newWorker(ctx context.Context, i int, aggregates string) (*worker, error) {
	w := &worker{name: "worker " + strconv.Itoa(i), dir: filepath.Join(l.dir, "worker-"+strconv.Itoa(i)), binary: l.options.Binary, excused: l.outages.lately}
	if err := os.MkdirAll(w.dir, 0o755); err != nil {
		return nil, fmt.Errorf("chaos: make the folder of %s: %w", w.name, err)
	}
	w.clickHouse = &clickHouseProxy{flights: map[net.Conn]bool{}}
	if err := w.clickHouse.listen(ctx, l.clickHouse.Native()); err != nil {
		return nil, fmt.Errorf("chaos: listen for %s: %w", w.name, err)
	}
	w.clickHouse.run(ctx, w.clickHouse.serve)
	w.args = []string{
		"run", "--kafka", l.kafka.addr(), "--clickhouse", w.clickHouse.addr(), "--blobs", "file://" + filepath.ToSlash(filepath.Join(l.dir, "blobs")),
		"--state-dir", filepath.Join(w.dir, "state"), "--http-listen", "127.0.0.1:0", "--sizes", sizes, "--delivery", string(l.options.Delivery), "--log-level", "info",
		"--aggregates", aggregates, "--early-cadence", "500ms", "--tick-after", "2s", "--tick-allowance", "1s",
	}
	return w, nil
}

// sizes are the renditions that workers make: small ones, many uploads.
const sizes = "128x128:fill,64:fit"
