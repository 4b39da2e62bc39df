package devstack

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"
)

// libraryName is the engine in the package and in the cache.
const libraryName = "libchdb.so"

// fetchTimeout bounds a fetch: 178 MB at 100 kB/s.
const fetchTimeout = 30 * time.Minute

// fetch has npm fetch the package and takes the library out of it. All of it
// happens in a folder beside the library that is deleted however it ends: what
// has the library's name was checked and written to its end.
func (p enginePackage) fetch(ctx context.Context, dir, lib string, log *slog.Logger) (err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, fetchTimeout, fmt.Errorf("it took longer than %s", fetchTimeout))
	defer cancel()
	temporary := filepath.Join(dir, "fetch")
	if err := os.RemoveAll(temporary); err != nil { // Of a process that was killed: the lock is held.
		return err
	}
	packed := filepath.Join(temporary, "packed")
	if err := os.MkdirAll(packed, 0o755); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(temporary)) }()
	began := time.Now()
	npm, err := p.npm.ensure(ctx, filepath.Join(temporary, "node"), log)
	if err != nil {
		return err
	}
	log.Info("fetching the ClickHouse engine, once", slog.String("package", p.name+"@"+engineVersion), slog.String("size", megabytes(p.size)))
	// The cache is npm's own for as long as this takes, or the archive would
	// stay in the user's as well.
	cache := filepath.Join(temporary, "cache")
	watched := watch(cache, p.size, log)
	err = call(ctx, packed, npm, "pack", "--loglevel=error", "--cache="+cache,
		"--fetch-retries=2", "--fetch-retry-mintimeout=1000", "--fetch-retry-maxtimeout=5000", p.name+"@"+engineVersion)
	watched()
	if err != nil {
		return fmt.Errorf("npm pack: %w", err)
	}
	archive, err := only(packed, "*.tgz")
	if err != nil {
		return err
	}
	if err := verify(archive, p.sha256); err != nil {
		return err
	}
	log.Info("unpacking the ClickHouse engine", slog.String("size", megabytes(p.unpacked)))
	unpacked := filepath.Join(temporary, libraryName)
	if err := unpack(archive, "package/"+libraryName, unpacked); err != nil {
		return err
	}
	if err := os.Rename(unpacked, lib); err != nil {
		return err
	}
	log.Info("the ClickHouse engine is here", slog.String("file", lib), slog.String("took", time.Since(began).Round(time.Second).String()))
	return nil
}

// progressEvery is how often a long fetch is heard of.
const progressEvery = 5 * time.Second

// watch tells how many bytes a folder holds of those that it will, until its
// result is called.
func watch(dir string, size int64, log *slog.Logger) (stop func()) {
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(progressEvery)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
				log.Info("fetching", slog.String("fetched", megabytes(min(folderSize(dir), size))), slog.String("of", megabytes(size)))
			}
		}
	}()
	return func() { close(done); <-ended }
}

// folderSize adds up the files of a folder that changes meanwhile.
func folderSize(dir string) (size int64) {
	_ = filepath.WalkDir(dir, func(_ string, entry fs.DirEntry, err error) error { // What is gone counts nothing.
		if err == nil && entry.Type().IsRegular() {
			if info, err := entry.Info(); err == nil {
				size += info.Size()
			}
		}
		return nil
	})
	return size
}

func megabytes(n int64) string { return fmt.Sprintf("%d MB", (n+500_000)/1_000_000) }

// only returns the one file of a folder that matches.
func only(dir, pattern string) (string, error) {
	files, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil {
		return "", err
	}
	if len(files) != 1 {
		return "", fmt.Errorf("fetched %d archives, want 1", len(files))
	}
	return files[0], nil
}

// verify compares a file with its checksum.
func verify(file, want string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	hash := sha256.New()
	_, err = io.Copy(hash, f)
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	if got := hex.EncodeToString(hash.Sum(nil)); got != want {
		return fmt.Errorf("%s has the checksum %s, want %s", filepath.Base(file), got, want)
	}
	return nil
}

// unpack writes one member of an archive to a file.
func unpack(archive, member, file string) (err error) {
	in, err := os.Open(archive)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	unzip, err := gzip.NewReader(in)
	if err != nil {
		return err
	}
	members := tar.NewReader(unzip)
	for {
		header, err := members.Next()
		if errors.Is(err, io.EOF) {
			return fmt.Errorf("%s holds no %s", filepath.Base(archive), member)
		}
		if err != nil {
			return err
		}
		if header.Name == member {
			break
		}
	}
	out, err := os.Create(file)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, members)
	return errors.Join(err, out.Sync(), out.Close())
}
