//go:build unix

package exactly

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// lockDir creates dir and locks it until the returned function is called. The
// kernel drops the lock when the process dies.
func lockDir(dir string) (unlock func() error, err error) {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, permanent(fmt.Errorf("exactly: create state directory: %w", err))
	}
	f, err := os.OpenFile(filepath.Join(dir, "LOCK"), os.O_RDWR|os.O_CREATE, 0o640)
	if err != nil {
		return nil, permanent(fmt.Errorf("exactly: open lock: %w", err))
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		pid := "unknown"
		if b, rerr := io.ReadAll(io.LimitReader(f, 32)); rerr == nil && len(b) > 0 {
			pid = strings.TrimSpace(string(b))
		}
		cerr := f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, &LockedError{Dir: dir, PID: pid}
		}
		return nil, permanent(errors.Join(fmt.Errorf("exactly: lock %s: %w", dir, err), cerr))
	}
	if err := f.Truncate(0); err == nil {
		_, err = f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
		if err != nil {
			return nil, permanent(errors.Join(fmt.Errorf("exactly: write lock: %w", err), f.Close()))
		}
	}
	return f.Close, nil
}
