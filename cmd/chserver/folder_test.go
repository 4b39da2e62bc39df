package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/ClickHouse/clickhouse-go/v2"

	"github.com/tintype/tintype/internal/devstack/devtest"
)

// What was acknowledged is there after a kill, on the same addresses.
func TestKillAndReopen(t *testing.T) {
	server := start(t, t.TempDir(), "")
	conn := connect(t, server, "")
	must(t, conn.Exec(within(t), "CREATE TABLE kept (n UInt64) ENGINE = MergeTree ORDER BY n"))
	const rounds = 3
	for round := range uint64(rounds) {
		batch, err := conn.PrepareBatch(within(t), "INSERT INTO kept")
		must(t, err)
		for i := range uint64(1000) {
			must(t, batch.Append(1000*round+i))
		}
		must(t, batch.Send())
		must(t, server.Kill())
		await(t, "it is back", func() bool { return conn.Ping(within(t)) == nil })
		if n := number(t, conn, "SELECT count() FROM kept"); n != 1000*(round+1) {
			t.Fatalf("after kill %d: %d rows", round+1, n)
		}
	}
}

// A folder has one server: a second one says who has it.
func TestFolderHasOneServer(t *testing.T) {
	dir := t.TempDir()
	server := start(t, dir, "")
	files := devtest.NeedEngine(t)
	var stderr bytes.Buffer
	second := exec.CommandContext(within(t), files.Chserver, "--dir", dir, "--lib", files.Lib)
	second.Stderr = &stderr
	err := second.Run()
	exit, ok := errors.AsType[*exec.ExitError](err)
	if !ok || exit.ExitCode() != 3 || !strings.Contains(stderr.String(), fmt.Sprint(server.PID())) || !strings.Contains(stderr.String(), filepath.Base(dir)) {
		t.Errorf("it ended with %v and said %s", err, &stderr)
	}
}

// A kill in the midst of many INSERTs loses none that was acknowledged, and
// leaves half of none.
func TestKillUnderLoad(t *testing.T) {
	server := start(t, t.TempDir(), "")
	observer := connect(t, server, "")
	must(t, observer.Exec(within(t), "CREATE TABLE kept (writer UInt8, batch UInt64, n UInt64) ENGINE = MergeTree ORDER BY n"))
	const writers, rows, before = 3, 500, 8
	var acknowledged [writers]atomic.Uint64
	ctx, cancel := context.WithCancel(within(t))
	ended := make(chan error, writers)
	for w := range writers {
		conn := connect(t, server, "")
		go func() {
			for batch := uint64(0); ; batch++ {
				b, err := conn.PrepareBatch(ctx, "INSERT INTO kept")
				for n := uint64(0); n < rows && err == nil; n++ {
					err = b.Append(uint8(w), batch, n)
				}
				if err == nil {
					err = b.Send()
				}
				if err != nil { // Of the kill: this one may be there or not.
					ended <- err
					return
				}
				acknowledged[w].Store(batch + 1)
			}
		}()
	}
	await(t, "all write", func() bool {
		return acknowledged[0].Load() > before && acknowledged[1].Load() > before && acknowledged[2].Load() > before
	})
	must(t, server.Kill())
	for range writers {
		<-ended
	}
	cancel()
	await(t, "it is back", func() bool { return observer.Ping(within(t)) == nil })
	for w := range writers {
		have := number(t, observer, fmt.Sprintf("SELECT count() FROM kept WHERE writer = %d", w))
		if told := acknowledged[w].Load(); have != told*rows && have != (told+1)*rows {
			t.Errorf("writer %d has %d rows, was told of %d", w, have, told*rows)
		}
	}
}

// The password may come from a file, with the end of its line.
func TestPasswordFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "secret")
	must(t, os.WriteFile(file, []byte("from a file\n"), 0o600))
	p := launch(t, t.TempDir(), "--password-file", file)
	for password, want := range map[string]int32{"from a file": 0, "from a file\n": 516, "": 516} {
		conn, err := clickhouse.Open(&clickhouse.Options{Addr: []string{p.ready.Native}, Auth: clickhouse.Auth{Password: password}})
		must(t, err)
		if err := conn.Ping(within(t)); code(err) != want || want == 0 && err != nil {
			t.Errorf("password %q: %v, want code %d", password, err, want)
		}
		must(t, conn.Close())
	}
	must(t, p.Process.Signal(os.Interrupt))
	if code := p.ended(t); code != 0 {
		t.Errorf("it ended with %d", code)
	}
}
