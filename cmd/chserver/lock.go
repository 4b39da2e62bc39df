package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// lockedError is a folder that another process has open.
type lockedError struct{ dir, pid string }

func (e *lockedError) Error() string {
	return fmt.Sprintf("chserver: %s is in use by process %s", e.dir, e.pid)
}

// lock takes a folder for this process; the kernel gives it back when the
// process ends. The engine itself says nothing of a second process.
func lock(dir string) (unlock func(), err error) {
	f, err := os.OpenFile(filepath.Join(dir, "chserver.lock"), os.O_RDWR|os.O_CREATE, 0o640)
	if err != nil {
		return nil, fmt.Errorf("chserver: open the lock: %w", err)
	}
	release := func() { _ = f.Close() } // The lock goes with it.
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		pid, _ := io.ReadAll(io.LimitReader(f, 32)) // Without it the message still says enough.
		release()
		return nil, &lockedError{dir: dir, pid: strings.TrimSpace(string(pid))}
	}
	if err == nil {
		err = f.Truncate(0)
	}
	if err == nil {
		_, err = fmt.Fprintf(f, "%d\n", os.Getpid())
	}
	if err != nil {
		release()
		return nil, fmt.Errorf("chserver: lock %s: %w", dir, err)
	}
	return release, nil
}
