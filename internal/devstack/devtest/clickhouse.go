package devtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/tintype/tintype/internal/devstack"
)

// startTimeout is how long the engine may take, where it is fetched too.
const startTimeout = 5 * time.Minute

// stopTimeout is how long the engine may take to end.
const stopTimeout = 10 * time.Second

// Main runs the tests of a test binary that uses the engine, for its TestMain,
// and returns the exit code: then the engine is stopped and its folder deleted.
func Main(m *testing.M) int {
	code := m.Run()
	if err := cleanup(); err != nil {
		fmt.Fprintln(os.Stderr, "devtest: stop the engine:", err)
		return max(code, 1)
	}
	return code
}

// cleanup ends what shared has started. Main sees no other goroutine of it.
var cleanup = func() error { return nil }

// ClickHouse is the engine that all tests of a test binary share. It runs in
// a folder of its own until [Main] ends. Without an engine the test is skipped;
// with TINTYPE_REQUIRE_ENGINE=1 it fails.
func ClickHouse(t testing.TB) *devstack.ClickHouse {
	t.Helper()
	c, err := shared()
	check(t, err)
	return c
}

// check skips a test that lacks the engine, unless it is required.
func check(t testing.TB, err error) {
	t.Helper()
	if errors.Is(err, devstack.ErrNoEngine) && os.Getenv("TINTYPE_REQUIRE_ENGINE") != "1" {
		t.Skipf("SKIPPED, it needs ClickHouse: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// An Engine is what a test needs to start a stack of its own.
type Engine struct {
	// Lib and Chserver are files.
	Lib, Chserver string
	dir           string
}

// NeedEngine finds the engine and builds its server, once; without an engine
// it does as [ClickHouse] does.
func NeedEngine(t testing.TB) Engine {
	t.Helper()
	e, err := built()
	check(t, err)
	return e
}

// built builds the server on first use.
var built = sync.OnceValues(func() (Engine, error) {
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	lib, err := devstack.EnsureEngine(ctx, devstack.EngineOptions{})
	if err != nil {
		return Engine{}, err
	}
	dir, err := os.MkdirTemp("", "tintype-devtest-")
	if err != nil {
		return Engine{}, fmt.Errorf("devtest: make a folder: %w", err)
	}
	cleanup = func() error { return os.RemoveAll(dir) }
	binary := filepath.Join(dir, "chserver")
	build := exec.CommandContext(ctx, "go", "build", "-o", binary, "github.com/tintype/tintype/cmd/chserver")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return Engine{}, fmt.Errorf("devtest: build chserver: %w: %s", err, out)
	}
	return Engine{Lib: lib, Chserver: binary, dir: dir}, nil
})

// shared starts the engine on first use.
var shared = sync.OnceValues(func() (*devstack.ClickHouse, error) {
	e, err := built()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	dir := e.dir
	log, err := os.Create(filepath.Join(dir, "chserver.log"))
	if err != nil {
		return nil, fmt.Errorf("devtest: make the log: %w", err)
	}
	c, err := devstack.StartClickHouse(ctx, devstack.ClickHouseOptions{
		Dir: filepath.Join(dir, "data"), Binary: e.Chserver, Lib: e.Lib, Stderr: log,
	})
	if err != nil {
		return nil, errors.Join(err, log.Close())
	}
	cleanup = func() error {
		ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
		defer cancel()
		return errors.Join(c.Stop(ctx), log.Close(), os.RemoveAll(dir))
	}
	return c, nil
})
