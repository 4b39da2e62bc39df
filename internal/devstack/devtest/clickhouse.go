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

// ClickHouse is the engine that all tests of a test binary share. It runs in
// a folder of its own until the test binary's process ends. Without an engine
// the test is skipped; with TINTYPE_REQUIRE_ENGINE=1 it fails.
func ClickHouse(t testing.TB) *devstack.ClickHouse {
	t.Helper()
	c, err := shared()
	if errors.Is(err, devstack.ErrNoEngine) && os.Getenv("TINTYPE_REQUIRE_ENGINE") != "1" {
		t.Skipf("SKIPPED, it needs ClickHouse: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// shared starts the engine on first use.
var shared = sync.OnceValues(func() (*devstack.ClickHouse, error) {
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	lib, err := devstack.EnsureEngine(ctx, devstack.EngineOptions{})
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "tintype-devtest-")
	if err != nil {
		return nil, fmt.Errorf("devtest: make a folder: %w", err)
	}
	binary := filepath.Join(dir, "chserver")
	build := exec.CommandContext(ctx, "go", "build", "-o", binary, "github.com/tintype/tintype/cmd/chserver")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("devtest: build chserver: %w: %s", err, out)
	}
	log, err := os.Create(filepath.Join(dir, "chserver.log"))
	if err != nil {
		return nil, fmt.Errorf("devtest: make the log: %w", err)
	}
	return devstack.StartClickHouse(ctx, devstack.ClickHouseOptions{
		Dir: filepath.Join(dir, "data"), Binary: binary, Lib: lib, Stderr: log,
	})
})
