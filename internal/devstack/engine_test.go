package devstack

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// npm puts an npm into PATH that packs a library with this content, and
// returns the checksum of its archive and the file that counts its calls.
func npm(t *testing.T, content string) (sum, calls string) {
	t.Helper()
	var archive bytes.Buffer
	zip := gzip.NewWriter(&archive)
	members := tar.NewWriter(zip)
	header := &tar.Header{Name: "package/libchdb.so", Mode: 0o644, Size: int64(len(content))}
	if err := members.WriteHeader(header); err != nil {
		t.Fatal(err)
	}
	if _, err := members.Write([]byte(content)); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(members.Close(), zip.Close()); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	calls = filepath.Join(dir, "calls")
	packed := filepath.Join(dir, "packed")
	script := "#!/bin/sh\necho \"$@\" >>" + calls + "\ncp " + packed + " ./engine.tgz\n"
	for file, data := range map[string][]byte{packed: archive.Bytes(), filepath.Join(dir, "npm"): []byte(script)} {
		if err := os.WriteFile(file, data, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir+string(os.PathListSeparator)+os.Getenv("PATH"))
	hash := sha256.Sum256(archive.Bytes())
	return hex.EncodeToString(hash[:]), calls
}

// Two that need the engine at once fetch it once.
func TestFetchOnce(t *testing.T) {
	sum, calls := npm(t, "the engine")
	dir := t.TempDir()
	lib := filepath.Join(dir, "libchdb.so")
	p := enginePackage{name: "engine", sha256: sum}
	results := make(chan error, 2)
	for range cap(results) {
		go func() { results <- p.fetchOnce(t.Context(), dir, lib, slog.New(slog.DiscardHandler)) }()
	}
	for range cap(results) {
		if err := <-results; err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(lib)
	if err != nil || string(got) != "the engine" {
		t.Errorf("the library holds %q, %v", got, err)
	}
	called, err := os.ReadFile(calls)
	if want := "pack --silent engine@" + engineVersion + "\n"; err != nil || string(called) != want {
		t.Errorf("npm was called with %q, %v, want %q", called, err, want)
	}
}

// An archive with another checksum is refused and leaves nothing.
func TestFetchRefusesAnotherArchive(t *testing.T) {
	npm(t, "another engine")
	cache := t.TempDir()
	t.Setenv("TINTYPE_ENGINE_LIB", "")
	_, err := EnsureEngine(t.Context(), EngineOptions{CacheDir: cache})
	if !errors.Is(err, ErrNoEngine) {
		t.Fatalf("got %v", err)
	}
	left, err := filepath.Glob(filepath.Join(cache, "engine", engineVersion, "*"))
	if err != nil || len(left) != 1 || filepath.Base(left[0]) != "lock" {
		t.Errorf("left %v, %v, want the lock alone", left, err)
	}
}

func TestEnsureEngine(t *testing.T) {
	cache := t.TempDir()
	cached := filepath.Join(cache, "engine", engineVersion, "libchdb.so")
	t.Setenv("TINTYPE_ENGINE_LIB", "")
	t.Setenv("PATH", t.TempDir())
	_, err := EnsureEngine(t.Context(), EngineOptions{CacheDir: cache})
	if !errors.Is(err, ErrNoEngine) {
		t.Fatalf("without npm: %v", err)
	}
	for _, way := range []string{"docker compose up", "--clickhouse", "--kafka", "npm", "--engine-lib FILE"} {
		if !strings.Contains(err.Error(), way) {
			t.Errorf("%q does not name %s", err, way)
		}
	}
	if err := os.MkdirAll(filepath.Dir(cached), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(cached, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if lib, err := EnsureEngine(t.Context(), EngineOptions{CacheDir: cache}); err != nil || lib != cached {
		t.Errorf("cached: %q, %v", lib, err)
	}
	named := filepath.Join(t.TempDir(), "named.so")
	if err := os.WriteFile(named, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("TINTYPE_ENGINE_LIB", named)
	if lib, err := EnsureEngine(t.Context(), EngineOptions{CacheDir: cache}); err != nil || lib != named {
		t.Errorf("named by the environment: %q, %v", lib, err)
	}
	if lib, err := EnsureEngine(t.Context(), EngineOptions{Lib: cached, CacheDir: cache}); err != nil || lib != cached {
		t.Errorf("named: %q, %v", lib, err)
	}
}
