package e2e

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/tintype/tintype/internal/devstack/devtest"
	"github.com/tintype/tintype/internal/servers"
	"github.com/tintype/tintype/load"
)

// built says that a test asked for the binaries.
var built bool

// binaries builds tintype and chserver once for all tests of this package.
var binaries = sync.OnceValues(func() (string, error) {
	built = true
	dir, err := os.MkdirTemp("", "tintype-e2e-")
	if err != nil {
		return "", err
	}
	for _, name := range []string{"tintype", "chserver"} {
		build := exec.Command("go", "build", "-o", filepath.Join(dir, name), "github.com/tintype/tintype/cmd/"+name)
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			return "", fmt.Errorf("build %s: %w\n%s", name, err, out)
		}
	}
	return dir, nil
})

func TestMain(m *testing.M) {
	code := devtest.Main(m)
	if built {
		if dir, err := binaries(); err == nil {
			_ = os.RemoveAll(dir) // A temporary folder.
		}
	}
	os.Exit(code)
}

// tintype is a command line of the built binary; its stderr is shown where the
// test fails.
func tintype(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	dir, err := binaries()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, filepath.Join(dir, "tintype"), args...)
	cmd.Env = append(os.Environ(), "XDG_DATA_HOME="+t.TempDir())
	cmd.Stderr = t.Output()
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd
}

// addresses is what tintype dev -o json prints.
type addresses struct {
	Kafka          string `json:"kafka"`
	ClickHouse     string `json:"clickhouse"`
	ClickHouseHTTP string `json:"clickhouse_http"`
	Blobs          string `json:"blobs"`
}

// flags point a command at these servers.
func (a addresses) flags(command string, more ...string) []string {
	return append([]string{command, "--kafka", a.Kafka, "--clickhouse", a.ClickHouse, "--blobs", a.Blobs}, more...)
}

// dev starts the embedded stack as a process of its own.
func dev(t *testing.T, dir string) (addresses, *exec.Cmd) {
	t.Helper()
	cmd := tintype(t, "dev", "--dir", dir, "-o", "json",
		"--kafka-listen", "127.0.0.1:0", "--clickhouse-listen", "127.0.0.1:0", "--clickhouse-http-listen", "127.0.0.1:0")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { end(t, cmd) })
	line, err := bufio.NewReader(out).ReadBytes('\n')
	if err != nil {
		t.Fatalf("tintype dev printed no addresses: %v", err)
	}
	var a addresses
	if err := json.Unmarshal(line, &a); err != nil {
		t.Fatalf("tintype dev printed %q: %v", line, err)
	}
	return a, cmd
}

// end stops a process in order, if it still runs.
func end(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	if cmd.ProcessState != nil {
		return
	}
	_ = cmd.Process.Signal(syscall.SIGTERM) // It may be gone.
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	select {
	case <-done:
	case <-time.After(time.Minute):
		_ = cmd.Process.Kill()
		<-done
		t.Errorf("%s did not end within a minute of SIGTERM", cmd.Args[1])
	}
}

// kill ends a process at once.
func kill(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // It was killed.
}

// children lists the processes of a parent whose command is name.
func children(t *testing.T, parent int, name string) []int {
	t.Helper()
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	var pids []int
	for _, path := range stats {
		data, err := os.ReadFile(path)
		if err != nil {
			continue // It ended meanwhile.
		}
		head, rest, ok := bytes.Cut(data, []byte(") "))
		fields := strings.Fields(string(rest))
		if !ok || len(fields) < 2 || fields[1] != strconv.Itoa(parent) || !bytes.HasSuffix(head, []byte("("+name)) {
			continue
		}
		pid, err := strconv.Atoi(strings.Fields(string(head))[0])
		if err != nil {
			t.Fatal(err)
		}
		pids = append(pids, pid)
	}
	return pids
}

// number runs a query of one number through tintype sql.
func number(t *testing.T, a addresses, query string) (int, error) {
	t.Helper()
	var out bytes.Buffer
	cmd := tintype(t, "sql", "--clickhouse", a.ClickHouse, "-o", "csv", query)
	cmd.Stdout = &out
	if err := cmd.Run(); err != nil {
		return 0, err
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	return strconv.Atoi(lines[len(lines)-1])
}

// Five kills of the worker and two of ClickHouse during 2,000 uploads: every
// upload is one row, without FINAL, and renditions and rollups agree.
func TestKillsLoseAndRepeatNothing(t *testing.T) {
	if os.Getenv("TINTYPE_TEST_KAFKA") != "" {
		t.Skip("the stack of tintype dev has its own Kafka; make chaos kills on the real broker")
	}
	const uploads = 2000
	a, stack := dev(t, t.TempDir())
	work := func() *exec.Cmd {
		cmd := tintype(t, a.flags("run", "--http-listen", "127.0.0.1:0", "--state-dir", filepath.Join(filepath.Dir(a.Blobs[len("file://"):]), "state"))...)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		return cmd
	}
	producer := tintype(t, a.flags("produce", "--synthetic", strconv.Itoa(uploads), "--small", "--rate", "200", "-o", "json", "--wait", "--wait-timeout", "3m")...)
	acked, err := producer.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	worker := work()
	if err := producer.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(acked)
	ackedCount := 0
	for lines.Scan() {
		if !strings.Contains(lines.Text(), `"upload_id"`) {
			continue
		}
		ackedCount++
		switch ackedCount {
		case 300, 600, 900, 1200, 1500:
			kill(t, worker)
			worker = work()
		case 750, 1350:
			for _, pid := range children(t, stack.Process.Pid, "chserver") {
				if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
					t.Error(err)
				}
			}
		}
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	if err := producer.Wait(); err != nil {
		t.Fatalf("tintype produce --wait: %v", err)
	}
	end(t, worker)
	for query, want := range map[string]int{
		"SELECT count() FROM uploads":                                                                        uploads,
		"SELECT uniqExact(src_topic_id, src_partition, src_offset) FROM uploads":                             uploads,
		"SELECT uniqExact(upload_id) FROM uploads WHERE outcome IN ('original', 'duplicate')":                uploads,
		"SELECT count() FROM renditions":                                                                     -1,
		"SELECT sum(n) FROM (SELECT toStartOfMinute(event_time) AS m, count() AS n FROM uploads GROUP BY m)": uploads,
	} {
		got, err := number(t, a, query)
		if err != nil {
			t.Errorf("%s: %v", query, err)
			continue
		}
		if want < 0 {
			originals, err := number(t, a, "SELECT count() FROM uploads WHERE outcome = 'original'")
			if err != nil {
				t.Fatal(err)
			}
			want = 3 * originals
		}
		if got != want {
			t.Errorf("%s: %d, want %d", query, got, want)
		}
	}
}

// What dev keeps in its folder is there after a restart, and a second start on
// the same folder says that it is taken.
func TestDevKeepsItsFolder(t *testing.T) {
	dir := t.TempDir()
	a, stack := dev(t, dir)
	var refusal bytes.Buffer
	second := tintype(t, "dev", "--dir", dir, "--kafka-listen", "127.0.0.1:0", "--clickhouse-listen", "127.0.0.1:0", "--clickhouse-http-listen", "127.0.0.1:0")
	second.Stderr = io.MultiWriter(&refusal, t.Output())
	if err := second.Run(); err == nil || second.ProcessState.ExitCode() != 3 || !strings.Contains(refusal.String(), dir) {
		t.Errorf("a second start ended with %v and said %q", err, refusal.String())
	}
	for range 2 {
		worker := tintype(t, a.flags("run", "--http-listen", "127.0.0.1:0", "--state-dir", filepath.Join(dir, "state"))...)
		if err := worker.Start(); err != nil {
			t.Fatal(err)
		}
		if out, err := tintype(t, a.flags("produce", "--synthetic", "20", "--small", "--wait")...).Output(); err != nil {
			t.Fatalf("produce --wait: %v\n%s", err, out)
		}
		end(t, worker)
		end(t, stack)
		a, stack = dev(t, dir)
	}
	if n, err := number(t, a, "SELECT count() FROM uploads"); err != nil || n != 40 {
		t.Errorf("%d uploads after two restarts (%v), want 40", n, err)
	}
	checkReadersAgree(t, a)
}

// checkReadersAgree reads the same rows through tintype sql, HTTP and
// clickhouse-go.
func checkReadersAgree(t *testing.T, a addresses) {
	t.Helper()
	const query = "SELECT upload_id, outcome, ifNull(sha256, '') FROM uploads ORDER BY src_partition, src_offset"
	command, err := tintype(t, "sql", "--clickhouse", a.ClickHouse, "-o", "csv", query).Output()
	if err != nil {
		t.Fatal(err)
	}
	_, bySQL, _ := strings.Cut(string(command), "\n") // Behind the names.
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, a.ClickHouseHTTP+"/?query="+url.QueryEscape(query+" FORMAT TabSeparated"), nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(response.Body)
	if err := errors.Join(err, response.Body.Close()); err != nil {
		t.Fatal(err)
	}
	options, err := servers.ParseClickHouse(a.ClickHouse, "")
	if err != nil {
		t.Fatal(err)
	}
	conn, err := load.Open(ctx, options)
	if err != nil {
		t.Fatal(err)
	}
	rows, err := conn.Query(ctx, query)
	if err != nil {
		t.Fatal(err)
	}
	var byDriver strings.Builder
	for rows.Next() {
		var id, outcome, sha string
		if err := rows.Scan(&id, &outcome, &sha); err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&byDriver, "%s,%s,%s\n", id, outcome, sha)
	}
	if err := errors.Join(rows.Err(), rows.Close(), conn.Close()); err != nil {
		t.Fatal(err)
	}
	byHTTP := strings.ReplaceAll(string(body), "\t", ",")
	if bySQL == "" || bySQL != byHTTP || bySQL != byDriver.String() {
		t.Errorf("three readers, three answers:\nsql\n%s\nHTTP\n%s\nclickhouse-go\n%s", bySQL, byHTTP, byDriver.String())
	}
}
