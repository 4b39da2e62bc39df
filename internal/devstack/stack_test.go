package devstack_test

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tintype/tintype/internal/devstack"
)

// options start a stack with this test binary as its chserver.
func options(t *testing.T, dir string) devstack.Options {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return devstack.Options{Dir: dir, EngineLib: self, Chserver: self, Log: slog.New(slog.NewTextHandler(t.Output(), nil))}
}

func startClickHouse(t *testing.T, dir string) *devstack.ClickHouse {
	t.Helper()
	o := options(t, dir)
	c, err := devstack.StartClickHouse(within(t), devstack.ClickHouseOptions{
		Dir: o.Dir, Binary: o.Chserver, Lib: o.EngineLib, Log: o.Log, Stderr: t.Output(),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Stop(t.Context()); err != nil && t.Context().Err() == nil {
			t.Error(err)
		}
	})
	return c
}

// awaitRestart waits until another process listens where the one did.
func awaitRestart(t *testing.T, c *devstack.ClickHouse, pid int) {
	t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		if conn, err := net.Dial("tcp", c.Native()); err == nil {
			if err := conn.Close(); err != nil {
				t.Fatal(err)
			}
			if c.PID() != pid {
				return
			}
		}
		select {
		case <-deadline:
			t.Fatal("chserver was not started again")
		case <-tick.C:
		}
	}
}

func TestClickHouseIsKeptRunning(t *testing.T) {
	t.Parallel()
	c := startClickHouse(t, t.TempDir())
	native, http := c.Native(), c.HTTP()
	for range 2 {
		pid := c.PID()
		if err := c.Kill(); err != nil {
			t.Fatal(err)
		}
		awaitRestart(t, c, pid)
	}
	if c.Native() != native || c.HTTP() != http {
		t.Errorf("a restart moved %s, %s to %s, %s", native, http, c.Native(), c.HTTP())
	}
	if err := c.Stop(within(t)); err != nil {
		t.Fatal(err)
	}
	if _, err := net.Dial("tcp", native); err == nil {
		t.Error("a stopped server still listens")
	}
	if err := c.Err(); err != nil {
		t.Errorf("a stopped server failed with %v", err)
	}
}

// A process that ends at once is not started for ever.
func TestStackFails(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c := startClickHouse(t, dir)
	if err := os.WriteFile(filepath.Join(dir, "broken"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := c.Kill(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-c.Done():
	case <-time.After(patience):
		t.Fatal("chserver is started for ever")
	}
	if c.Err() == nil {
		t.Error("the server ended and does not say why")
	}
}

func TestStackStartsAgain(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for range 2 {
		s, err := devstack.Start(within(t), options(t, dir))
		if err != nil {
			t.Fatal(err)
		}
		_, err = devstack.Start(within(t), options(t, dir))
		if want := fmt.Sprintf("%s is in use by process %d", dir, os.Getpid()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("a second stack: %v, want %q", err, want)
		}
		a := s.Addresses()
		if !strings.HasPrefix(a.ClickHouse, "clickhouse://default@127.0.0.1:") || !strings.HasPrefix(a.ClickHouseHTTP, "http://127.0.0.1:") ||
			!strings.HasPrefix(a.Kafka, "127.0.0.1:") || a.Blobs != "file://"+dir+"/blobs" {
			t.Errorf("addresses %+v", a)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestStackWithoutEngine(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	o := options(t, dir)
	o.EngineLib = filepath.Join(dir, "none.so")
	if _, err := devstack.Start(within(t), o); !errors.Is(err, devstack.ErrNoEngine) {
		t.Errorf("no engine: %v", err)
	}
}

// What keeps a stack from starting is said in a line that names the flag.
func TestStackRefuses(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = taken.Close() })
	address := taken.Addr().String()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(*devstack.Options){
		"Kafka cannot listen on " + address + ": bind: address already in use (--kafka-listen ":                func(o *devstack.Options) { o.KafkaListen = address },
		"ClickHouse cannot listen on " + address + ": bind: address already in use (--clickhouse-listen ":      func(o *devstack.Options) { o.ClickHouseListen = address },
		"ClickHouse cannot listen on " + address + ": bind: address already in use (--clickhouse-http-listen ": func(o *devstack.Options) { o.ClickHouseHTTPListen = address },
		"(--dir): mkdir " + file + ": not a directory":                                                         func(o *devstack.Options) { o.Dir = filepath.Join(file, "dev") },
		"find chserver: stat " + file + ".none: no such file":                                                  func(o *devstack.Options) { o.Chserver = file + ".none" },
	} {
		o := options(t, t.TempDir())
		change(&o)
		_, err := devstack.Start(within(t), o)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("got %v, want one line with %q", err, want)
		}
	}
	if !devstack.Busy(t.Context(), address) || devstack.Busy(t.Context(), "127.0.0.1:0") {
		t.Error("what is busy is free, or the reverse")
	}
}
