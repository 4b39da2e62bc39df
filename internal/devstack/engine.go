package devstack

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
)

// ErrNoEngine says that there is no ClickHouse engine here and that none can
// be fetched.
var ErrNoEngine = errors.New("no ClickHouse engine here: run `docker compose up`; " +
	"or point --clickhouse and --kafka at servers; " +
	"or install npm, so that the engine can be fetched once (or name it: --engine-lib FILE)")

// EngineOptions say where the engine is.
type EngineOptions struct {
	// Lib is a libchdb.so; without it TINTYPE_ENGINE_LIB names one.
	Lib string
	// CacheDir keeps the engine; without it the user's cache folder does.
	CacheDir string
	Log      *slog.Logger
}

// engineVersion is the engine that is fetched.
const engineVersion = "26.7.3-stable.1"

// enginePackage is a package of npm that holds the engine.
type enginePackage struct {
	name   string
	sha256 string
}

// enginePackages are the packages by platform: the checksum is of the archive
// that npm pack writes. Other platforms have none published.
var enginePackages = map[string]enginePackage{
	"linux/amd64": {"@chdb/lib-linux-x64-gnu", "c0d32b129e988f2b9a9a31c9141aecf5e1e2453f9a079efc4d36ab8e3f92b2ad"},
}

// EnsureEngine returns the path of the engine's library: the one that is
// named, else the one in the cache, which is fetched once.
func EnsureEngine(ctx context.Context, o EngineOptions) (lib string, err error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Lib == "" {
		o.Lib = os.Getenv("TINTYPE_ENGINE_LIB")
	}
	if o.Lib != "" {
		if _, err := os.Stat(o.Lib); err != nil {
			return "", fmt.Errorf("devstack: find the engine: %w: %w", err, ErrNoEngine)
		}
		return o.Lib, nil
	}
	if o.CacheDir == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			return "", fmt.Errorf("devstack: find the cache: %w: %w", err, ErrNoEngine)
		}
		o.CacheDir = filepath.Join(cache, "tintype")
	}
	dir := filepath.Join(o.CacheDir, "engine", engineVersion)
	lib = filepath.Join(dir, "libchdb.so")
	if _, err := os.Stat(lib); err == nil {
		return lib, nil
	}
	p, ok := enginePackages[runtime.GOOS+"/"+runtime.GOARCH]
	if !ok {
		return "", fmt.Errorf("devstack: no engine is published for %s/%s: %w", runtime.GOOS, runtime.GOARCH, ErrNoEngine)
	}
	if err := p.fetchOnce(ctx, dir, lib, o.Log); err != nil {
		return "", fmt.Errorf("devstack: fetch the engine: %w: %w", err, ErrNoEngine)
	}
	return lib, nil
}

// fetchOnce fetches the engine unless another process does it meanwhile.
func (p enginePackage) fetchOnce(ctx context.Context, dir, lib string, log *slog.Logger) (err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	lock, err := awaitLock(ctx, filepath.Join(dir, "lock"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.release()) }()
	if _, err := os.Stat(lib); err == nil {
		return nil
	}
	return p.fetch(ctx, dir, lib, log)
}
