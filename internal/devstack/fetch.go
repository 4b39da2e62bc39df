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
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// fetch has npm fetch the package and takes the library out of it.
func (p enginePackage) fetch(ctx context.Context, dir, lib string, log *slog.Logger) (err error) {
	npm, err := exec.LookPath("npm")
	if err != nil {
		return err
	}
	temporary, err := os.MkdirTemp(dir, "fetch-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(temporary)) }()
	log.Info("fetching the ClickHouse engine, once", slog.String("package", p.name+"@"+engineVersion), slog.String("size", "178 MB"))
	command := exec.CommandContext(ctx, npm, "pack", "--silent", p.name+"@"+engineVersion)
	command.Dir = temporary
	if out, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("npm pack: %w: %s", err, strings.TrimSpace(string(out)))
	}
	archives, err := filepath.Glob(filepath.Join(temporary, "*.tgz"))
	if err != nil || len(archives) != 1 {
		return fmt.Errorf("npm pack wrote %d archives, want 1", len(archives))
	}
	if err := verify(archives[0], p.sha256); err != nil {
		return err
	}
	log.Info("unpacking the ClickHouse engine", slog.String("size", "566 MB"))
	unpacked := filepath.Join(temporary, "libchdb.so")
	if err := unpack(archives[0], "package/libchdb.so", unpacked); err != nil {
		return err
	}
	return os.Rename(unpacked, lib)
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
