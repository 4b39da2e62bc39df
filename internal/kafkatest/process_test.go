package kafkatest

import (
	"bufio"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// A process ends when its owner is killed: it holds a pipe open until then.
func TestDiesWithItsOwner(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux ends a process with its owner")
	}
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = read.Close() }() // It was only read.
	owner := exec.Command(os.Args[0])
	owner.Env = append(os.Environ(), asOwner+"="+t.TempDir())
	owner.ExtraFiles = []*os.File{write}
	if err := owner.Start(); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(write.Close(), read.SetReadDeadline(time.Now().Add(patience))); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(read)
	if _, err := lines.ReadString('\n'); err != nil {
		t.Fatalf("the owner does not start: %v", err)
	}
	if err := owner.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = owner.Wait() // It was killed.
	if _, err := lines.ReadByte(); !errors.Is(err, io.EOF) {
		t.Fatalf("the process outlives its owner: %v", err)
	}
}

// A broker that ends at once is an error that says what it said.
func TestStartTellsWhatTheBrokerSaid(t *testing.T) {
	_, err := Start(t.Context(), Options{Dir: t.TempDir(), Properties: map[string]string{"num.io.threads": "many"}})
	if errors.Is(err, ErrMissing) && os.Getenv("TINTYPE_REQUIRE_KAFKA") != "1" {
		t.Skipf("SKIPPED, it needs a real Kafka broker: %v", err)
	}
	if err == nil || !strings.Contains(err.Error(), "num.io.threads") {
		t.Fatalf("%v", err)
	}
}

// Without Maven the jars are missing, unless the cache has them.
func TestJarsNeedMavenOnce(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	dir := t.TempDir()
	if _, err := jars(t.Context(), dir); !errors.Is(err, ErrMissing) {
		t.Fatalf("%v, want ErrMissing", err)
	}
	if err := os.Mkdir(filepath.Join(dir, "lib"), 0o755); err != nil {
		t.Fatal(err)
	}
	classpath, err := jars(t.Context(), dir)
	if err != nil || classpath != filepath.Join(dir, "lib", "*") {
		t.Fatalf("%q, %v", classpath, err)
	}
}

// Of processes that want the jars at once one fetches, and a failed fetch is
// tried once more.
func TestJarsAreFetchedOnce(t *testing.T) {
	bin, dir := t.TempDir(), t.TempDir()
	count := filepath.Join(bin, "count")
	script := "#!/bin/sh\necho run >> " + count + "\n[ $(wc -l < " + count + ") -gt 1 ] || exit 1\nmkdir lib\n"
	if err := os.WriteFile(filepath.Join(bin, "mvn"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+string(os.PathListSeparator)+os.Getenv("PATH"))
	results := make(chan error)
	const callers = 4
	for range callers {
		go func() {
			_, err := jars(t.Context(), dir)
			results <- err
		}()
	}
	for range callers {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
	runs, err := os.ReadFile(count)
	if err != nil || strings.Count(string(runs), "run") != 2 {
		t.Fatalf("Maven ran %q, %v; want a failure and a success", runs, err)
	}
}

func TestPropertiesEscape(t *testing.T) {
	got := string(properties(map[string]string{"b": `C:\data`, "a": "1\n2"}))
	if want := "a=1\\n2\nb=C:\\\\data\n"; got != want {
		t.Fatalf("%q, want %q", got, want)
	}
}
