package main

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

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/tintype/tintype/internal/devstack"
)

// patience is how long a test waits for what must come.
const patience = time.Minute

type artefacts struct{ dir, binary, lib string }

// built is the program under test and the engine, made on first use.
var built = sync.OnceValues(func() (files artefacts, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	if files.lib, err = devstack.EnsureEngine(ctx, devstack.EngineOptions{}); err != nil {
		return files, err
	}
	if files.dir, err = os.MkdirTemp("", "chserver-test-"); err != nil {
		return files, err
	}
	folder = files.dir
	files.binary = filepath.Join(files.dir, "chserver")
	build := exec.CommandContext(ctx, "go", "build", "-o", files.binary, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return files, fmt.Errorf("build chserver: %w: %s", err, out)
	}
	return files, nil
})

// folder is what built has made; TestMain deletes it.
var folder string

func TestMain(m *testing.M) {
	code := m.Run()
	if folder != "" {
		_ = os.RemoveAll(folder) // A temporary folder.
	}
	os.Exit(code)
}

// program is what is under test; without an engine the test is skipped, and
// with TINTYPE_REQUIRE_ENGINE=1 it fails.
func program(t *testing.T) artefacts {
	t.Helper()
	files, err := built()
	if errors.Is(err, devstack.ErrNoEngine) && os.Getenv("TINTYPE_REQUIRE_ENGINE") != "1" {
		t.Skipf("SKIPPED, it needs the ClickHouse engine: %v", err)
	}
	must(t, err)
	return files
}

// start starts a server in a folder, under a supervisor that starts it again.
func start(t *testing.T, dir, password string) *devstack.ClickHouse {
	t.Helper()
	files := program(t)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	server, err := devstack.StartClickHouse(ctx, devstack.ClickHouseOptions{
		Dir: dir, Binary: files.binary, Lib: files.lib, Password: password, Stderr: t.Output(),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := server.Stop(ctx); err != nil {
			t.Error(err)
		}
	})
	return server
}

// connect opens a connection of clickhouse-go.
func connect(t *testing.T, server *devstack.ClickHouse, password string, change ...func(*clickhouse.Options)) driver.Conn {
	t.Helper()
	options := &clickhouse.Options{Addr: []string{server.Native()}, Auth: clickhouse.Auth{Password: password}}
	for _, c := range change {
		c(options)
	}
	conn, err := clickhouse.Open(options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	})
	return conn
}

// within is a context with the patience of a test.
func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// number is the answer of a query of one number.
func number(t *testing.T, conn driver.Conn, query string) uint64 {
	t.Helper()
	var n uint64
	if err := conn.QueryRow(within(t), "SELECT toUInt64(("+query+"))").Scan(&n); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return n
}

// code is the code of a server's exception; 0 for any other error.
func code(err error) int32 {
	if e, ok := errors.AsType[*clickhouse.Exception](err); ok {
		return e.Code
	}
	return 0
}
