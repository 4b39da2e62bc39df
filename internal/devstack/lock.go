package devstack

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// lockFile is a lock that its process's end releases, however it ends.
type lockFile struct{ file *os.File }

// errLocked says that another process holds a lock.
var errLocked = errors.New("locked")

// tryLock takes the lock of a file and writes this process's id into it.
// Where another process has it, the error is errLocked and pid is its id.
func tryLock(path string) (lock *lockFile, pid int, err error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, 0, fmt.Errorf("devstack: open the lock: %w", err)
	}
	err = syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		pid := readPID(file)
		return nil, pid, errors.Join(errLocked, file.Close())
	}
	if err == nil {
		err = writePID(file)
	}
	if err != nil {
		return nil, 0, errors.Join(fmt.Errorf("devstack: lock %s: %w", path, err), file.Close())
	}
	return &lockFile{file}, 0, nil
}

// lockDir takes a folder that only one process may use.
func lockDir(dir string) (*lockFile, error) {
	lock, pid, err := tryLock(filepath.Join(dir, "lock"))
	if errors.Is(err, errLocked) {
		return nil, fmt.Errorf("devstack: %s is in use by process %d", dir, pid)
	}
	return lock, err
}

// awaitLock takes a lock as soon as the process that has it lets go.
func awaitLock(ctx context.Context, path string) (*lockFile, error) {
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		lock, pid, err := tryLock(path)
		if !errors.Is(err, errLocked) {
			return lock, err
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("devstack: wait for process %d, which has %s: %w", pid, path, ctx.Err())
		case <-tick.C:
		}
	}
}

// release lets the next process have the lock.
func (l *lockFile) release() error { return l.file.Close() }

func readPID(file io.Reader) int {
	data, err := io.ReadAll(io.LimitReader(file, 32))
	if err != nil {
		return 0
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(data)))
	if err != nil {
		return 0
	}
	return pid
}

func writePID(file *os.File) error {
	if err := file.Truncate(0); err != nil {
		return err
	}
	_, err := file.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	return err
}
