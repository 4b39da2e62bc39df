package main

import (
	"bufio"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tintype/tintype/internal/devstack"
	"github.com/tintype/tintype/internal/devstack/devtest"
)

// free has the embedded stack take free ports.
func free(e devtest.Engine) []string {
	return []string{
		"--kafka-listen", "127.0.0.1:0", "--clickhouse-listen", "127.0.0.1:0", "--clickhouse-http-listen", "127.0.0.1:0",
		"--engine-lib", e.Lib, "--chserver", e.Chserver,
	}
}

// command is a process of the command with no more environment than this.
func command(t *testing.T, environment []string, args ...string) *exec.Cmd {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	c := exec.CommandContext(ctx, os.Args[0], args...)
	c.Env = append([]string{asTintype + "=1"}, environment...)
	return c
}

// Without the engine, and without npm or pip to fetch it, a person is told the
// three ways on, and a script the exit code.
func TestDemoWithoutEngine(t *testing.T) {
	t.Parallel()
	home := t.TempDir()
	c := command(t, []string{"HOME=" + home, "TMPDIR=" + home, "PATH=" + t.TempDir()}, "demo", "--once", "--chserver", os.Args[0])
	var stdout, stderr output
	c.Stdout, c.Stderr = &stdout, &stderr
	_ = c.Run() // Its exit code says it.
	if c.ProcessState.ExitCode() != exitSetup || stdout.String() != "" {
		t.Errorf("exit code %d, want 3\n%s%s", c.ProcessState.ExitCode(), stdout.String(), stderr.String())
	}
	lines := strings.Split(strings.TrimSpace(stderr.String()), "\n")
	first := slices.IndexFunc(lines, func(line string) bool { return strings.Contains(line, "neither npm nor pip is in PATH") })
	if first < 0 || !strings.HasPrefix(lines[first], "tintype: ") {
		t.Fatalf("what is missing is not said:\n%s", stderr.String())
	}
	ways := lines[first+1:]
	if len(ways) != 4 {
		t.Errorf("want a line and three ways:\n%s", stderr.String())
	}
	for i, way := range []string{"three ways", "docker compose up", "--clickhouse ADDRESS", "npm or pip"} {
		if !strings.Contains(ways[i], way) {
			t.Errorf("line %d is %q, want %s", i, ways[i], way)
		}
	}
	if left, err := filepath.Glob(filepath.Join(home, "tintype-demo-*")); err != nil || len(left) > 0 {
		t.Errorf("left %v, %v", left, err)
	}
}

// A demo develops what it uploads, with a password too, and leaves nothing.
func TestDemo(t *testing.T) {
	e := devtest.NeedEngine(t)
	temporary := t.TempDir()
	t.Setenv("TMPDIR", temporary)
	t.Setenv("TINTYPE_CLICKHOUSE_PASSWORD", "hunter2")
	args := append([]string{"demo", "--once", "--synthetic", "8", "--small", "-o", "json", "--http-listen", "127.0.0.1:0"}, free(e)...)
	r := want(t, exitOK, args...)
	var s summary
	if err := json.Unmarshal([]byte(r.stdout), &s); err != nil {
		t.Fatalf("%v: %s", err, r.stdout)
	}
	if s.Uploads != 8 || s.Missing != 0 || s.Outcomes["original"]+s.Outcomes["duplicate"] != 8 || s.Addresses.Metrics == "" {
		t.Errorf("the summary is %s", r.stdout)
	}
	if strings.Contains(r.stdout+r.stderr, "hunter2") {
		t.Errorf("the password is shown:\n%s%s", r.stdout, r.stderr)
	}
	if left, err := os.ReadDir(temporary); err != nil || len(left) > 0 {
		t.Errorf("left %v, %v", left, err)
	}
}

// dev says where it listens, refuses a second on its folder, keeps what it has
// over a restart, asks for the password, and ends by a signal with 0.
func TestDev(t *testing.T) {
	t.Parallel()
	e := devtest.NeedEngine(t)
	dir := t.TempDir()
	args := append([]string{"dev", "--dir", dir, "-o", "json"}, free(e)...)
	for _, statement := range []string{"CREATE TABLE kept (a UInt8) ENGINE = MergeTree ORDER BY a", "DROP TABLE kept"} {
		c := command(t, []string{"TINTYPE_CLICKHOUSE_PASSWORD=hunter2", "HOME=" + dir}, args...)
		var stderr output
		c.Stderr = &stderr
		stdout, err := c.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		line, err := bufio.NewReader(stdout).ReadBytes('\n')
		var a devstack.Addresses
		if err != nil || json.Unmarshal(line, &a) != nil {
			t.Fatalf("dev says %q, %v: %s", line, err, stderr.String())
		}
		if r := tintype(t, "", args...); r.code != exitSetup || !oneLine(r.stderr) || !strings.Contains(r.stderr, dir+" is in use by process ") {
			t.Errorf("a second dev: exit code %d\n%s", r.code, r.stderr)
		}
		if r := tintype(t, "", "sql", "--clickhouse", a.ClickHouse, "SELECT 1"); r.code != exitSetup || !strings.Contains(r.stderr, "TINTYPE_CLICKHOUSE_PASSWORD") {
			t.Errorf("without the password: exit code %d\n%s", r.code, r.stderr)
		}
		withPassword := strings.Replace(a.ClickHouse, "default@", "default:hunter2@", 1)
		want(t, exitOK, "sql", "--clickhouse", withPassword, statement)
		if err := c.Process.Signal(os.Interrupt); err != nil {
			t.Fatal(err)
		}
		if err := c.Wait(); err != nil {
			t.Errorf("dev ended with %v: %s", err, stderr.String())
		}
		if strings.Contains(stderr.String(), "hunter2") {
			t.Errorf("the password is shown: %s", stderr.String())
		}
	}
}

// A demo without --once goes on, says where, and ends by a signal with 0.
func TestDemoGoesOn(t *testing.T) {
	t.Parallel()
	e := devtest.NeedEngine(t)
	photos := files(t, map[string][]byte{"a.jpg": photo(0), "broken.jpg": []byte("no photo")})
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var stdout, stderr output
	ended := make(chan int, 1)
	args := append([]string{"demo", "--photos", photos, "--dir", t.TempDir(), "--http-listen", "127.0.0.1:0"}, free(e)...)
	go func() {
		ended <- run(&env{ctx: ctx, stdin: strings.NewReader(""), stdout: &stdout, stderr: &stderr}, args)
	}()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(patience)
	for !strings.Contains(stdout.String(), "tintype sql --clickhouse ") {
		select {
		case code := <-ended:
			t.Fatalf("the demo ended with %d\n%s%s", code, stdout.String(), stderr.String())
		case <-deadline:
			t.Fatalf("the demo does not say where it is\n%s%s", stdout.String(), stderr.String())
		case <-tick.C:
		}
	}
	for _, fact := range []string{"original", "dead", "p50", "Ctrl-C", "/metrics", "http://127.0.0.1:"} {
		if !strings.Contains(stdout.String(), fact) {
			t.Errorf("the demo does not show %s:\n%s", fact, stdout.String())
		}
	}
	stop()
	select {
	case code := <-ended:
		if code != exitOK {
			t.Errorf("exit code %d\n%s", code, stderr.String())
		}
	case <-deadline:
		t.Fatal("the demo did not end")
	}
}
