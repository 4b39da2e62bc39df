package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/ClickHouse/clickhouse-go/v2"

	"github.com/tintype/tintype/internal/devstack/devtest"
)

// process is the program without a supervisor, to see how it ends.
type process struct {
	*exec.Cmd
	owner io.Closer
	ready struct{ Native, HTTP, Version string }
}

// launch starts the program and waits until it is ready.
func launch(t *testing.T, dir string, arguments ...string) *process {
	t.Helper()
	files := devtest.NeedEngine(t)
	p := &process{Cmd: exec.CommandContext(t.Context(), files.Chserver, append([]string{"--dir", dir, "--lib", files.Lib}, arguments...)...)}
	p.Env = append(os.Environ(), "CHSERVER_PASSWORD=")
	p.Stderr = t.Output()
	var err error
	p.owner, err = p.StdinPipe()
	must(t, err)
	out, err := p.StdoutPipe()
	must(t, err)
	must(t, p.Start())
	t.Cleanup(func() {
		if p.ProcessState == nil { // The test has failed.
			_ = errors.Join(p.Process.Kill(), p.Wait())
		}
	})
	line, err := bufio.NewReader(out).ReadBytes('\n')
	must(t, err)
	must(t, json.Unmarshal(line, &p.ready))
	return p
}

// ended waits for the end and returns the exit code.
func (p *process) ended(t *testing.T) int {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- p.Wait() }()
	select {
	case err := <-done:
		if exit, ok := errors.AsType[*exec.ExitError](err); err != nil && !ok {
			t.Fatal(err)
		} else if ok {
			return exit.ExitCode()
		}
		return 0
	case <-within(t).Done():
		t.Fatal("it does not end")
		return -1
	}
}

// However it is asked to end, and whatever its clients do, it ends well.
func TestGracefulEnd(t *testing.T) {
	for name, end := range map[string]func(*process) error{
		"SIGTERM":        func(p *process) error { return p.Process.Signal(syscall.SIGTERM) },
		"SIGINT":         func(p *process) error { return p.Process.Signal(syscall.SIGINT) },
		"its owner ends": func(p *process) error { return p.owner.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			p := launch(t, dir, "--owner-pipe")
			conn, err := clickhouse.Open(&clickhouse.Options{Addr: []string{p.ready.Native}})
			must(t, err)
			must(t, conn.Exec(within(t), "CREATE TABLE kept (n UInt64) ENGINE = MergeTree ORDER BY n"))
			must(t, conn.Exec(within(t), "INSERT INTO kept VALUES (1), (2)"))
			batch, err := conn.PrepareBatch(within(t), "INSERT INTO kept")
			must(t, err)
			must(t, batch.Append(uint64(3)))
			must(t, batch.Flush())
			client := hang(t, p)
			must(t, end(p))
			if code := p.ended(t); code != 0 {
				t.Errorf("it ended with %d", code)
			}
			if err := <-client; err == nil {
				t.Error("a statement that never ends has ended well")
			}
			_, _ = batch.Abort(), conn.Close() // The server is gone.
			if n := number(t, connect(t, start(t, dir, ""), ""), "SELECT groupBitOr(n) * 10 + count() FROM kept"); n != 32 {
				t.Errorf("the table then gives %d, want rows 1 and 2", n)
			}
		})
	}
}

// hang leaves clients behind that do nothing more: before they greet, after it,
// while the server answers, with a statement that does not end, with half a
// body. It returns how the one over HTTP ends.
func hang(t *testing.T, p *process) chan error {
	t.Helper()
	dial(t, p.ready.Native)
	half := dial(t, p.ready.Native)
	half.send([]byte{0, 200, 'r'})
	deaf := dial(t, p.ready.Native)
	deaf.send(hello("default", ""))
	deaf.send(append([]byte{0}, queryPacket("SELECT number FROM numbers(1000000000000)")...))
	body := dial(t, p.ready.HTTP)
	body.send([]byte("POST / HTTP/1.1\r\nHost: chserver\r\nContent-Length: 1000\r\n\r\nINSERT INTO kept VALUES (4), "))
	ended := make(chan error, 1)
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+p.ready.HTTP, strings.NewReader(silent))
	must(t, err)
	go func() {
		response, err := http.DefaultClient.Do(request)
		if err == nil {
			err = response.Body.Close()
		}
		ended <- err
	}()
	observer, err := clickhouse.Open(&clickhouse.Options{Addr: []string{p.ready.Native}})
	must(t, err)
	await(t, "silent runs", func() bool { return running(t, observer, "silent") == 1 })
	await(t, "it answers", func() bool { return running(t, observer, "FROM numbers(1000000000000)") == 2 })
	must(t, observer.Close())
	return ended
}

// What is wrong with the command line is said, and the code tells it from a
// folder in use.
func TestCommandLine(t *testing.T) {
	files := devtest.NeedEngine(t)
	for name, c := range map[string]struct {
		arguments []string
		want      string
	}{
		"no folder":   {[]string{"--lib", files.Lib}, "--dir and --lib are required"},
		"no library":  {[]string{"--dir", t.TempDir(), "--lib", "/nowhere/libchdb.so"}, "/nowhere/libchdb.so"},
		"no password": {[]string{"--dir", t.TempDir(), "--lib", files.Lib, "--password-file", "/nowhere/secret"}, "/nowhere/secret"},
		"no address":  {[]string{"--dir", t.TempDir(), "--lib", files.Lib, "--listen", "nowhere"}, "nowhere"},
		"a file":      {[]string{"--dir", files.Chserver, "--lib", files.Lib}, "chserver"},
	} {
		out, err := exec.CommandContext(within(t), files.Chserver, c.arguments...).CombinedOutput()
		if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() != 1 || !strings.Contains(string(out), c.want) {
			t.Errorf("%s: %v, %s, want code 1 and %q", name, err, out, c.want)
		}
	}
}
