package exactly

import (
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/syndtr/goleveldb/leveldb"
	lerrors "github.com/syndtr/goleveldb/leveldb/errors"
	"github.com/syndtr/goleveldb/leveldb/filter"
	"github.com/syndtr/goleveldb/leveldb/opt"
	lstorage "github.com/syndtr/goleveldb/leveldb/storage"
)

// stateDir is the locked directory of one member in one cluster:
// root/<cluster>/<group>/<instance>, with <topic>@<topic id>/<partition> below.
// Nothing outside of that path is ever read, so that state of another cluster or
// of a topic that was deleted and made anew is not found rather than trusted.
type stateDir struct {
	path   string // empty: in memory
	unlock func() error
	log    *slog.Logger
}

func openStateDir(cfg *Config, cluster, group string) (*stateDir, error) {
	d := &stateDir{log: cfg.Log}
	if cfg.StateDir == "" {
		return d, nil
	}
	if cluster == "" {
		cluster = "unnamed-cluster"
	}
	d.path = filepath.Join(cfg.StateDir, pathName(cluster), pathName(group), cfg.Instance)
	var err error
	d.unlock, err = lockDir(d.path)
	return d, err
}

func (d *stateDir) close() error {
	if d.unlock == nil {
		return nil
	}
	unlock := d.unlock
	d.unlock = nil
	return unlock()
}

// open opens the database of one partition. end is the offset after the last
// record of its changelog: state that claims to have more is thrown away, like
// a database that is damaged.
func (d *stateDir) open(topic string, id [16]byte, partition int32, end int64) (*leveldb.DB, error) {
	options := &opt.Options{Filter: filter.NewBloomFilter(10), WriteBuffer: 4 << 20, BlockCacheCapacity: 4 << 20}
	if d.path == "" {
		return leveldb.Open(lstorage.NewMemStorage(), options)
	}
	name := pathName(topic) + "@" + hex.EncodeToString(id[:])
	if err := d.dropStale(topic, name); err != nil {
		return nil, err
	}
	dir := filepath.Join(d.path, name, fmt.Sprint(partition))
	if err := os.MkdirAll(filepath.Dir(dir), 0o750); err != nil {
		return nil, fmt.Errorf("exactly: create state of %s/%d: %w", topic, partition, err)
	}
	db, err := leveldb.OpenFile(dir, options)
	if err == nil {
		var offset int64
		offset, err = readOffset(db)
		if err == nil && offset < end {
			return db, nil
		}
		d.log.Warn("state does not fit its changelog, rebuilding", slog.String("topic", topic), slog.Int("partition", int(partition)),
			slog.Int64("state_offset", offset), slog.Int64("changelog_end", end), slog.Any("error", err))
		if cerr := db.Close(); cerr != nil {
			return nil, fmt.Errorf("exactly: close stale state of %s/%d: %w", topic, partition, cerr)
		}
	} else if !lerrors.IsCorrupted(err) {
		return nil, fmt.Errorf("exactly: open state of %s/%d: %w", topic, partition, err)
	}
	if err := os.RemoveAll(dir); err != nil {
		return nil, fmt.Errorf("exactly: remove stale state of %s/%d: %w", topic, partition, err)
	}
	db, err = leveldb.OpenFile(dir, options)
	if err != nil {
		return nil, fmt.Errorf("exactly: open state of %s/%d: %w", topic, partition, err)
	}
	return db, nil
}

// dropStale removes the state of earlier topics with this name.
func (d *stateDir) dropStale(topic, current string) error {
	entries, err := os.ReadDir(d.path)
	if err != nil {
		return fmt.Errorf("exactly: list state: %w", err)
	}
	var errs []error
	for _, e := range entries {
		if e.IsDir() && strings.HasPrefix(e.Name(), pathName(topic)+"@") && e.Name() != current {
			d.log.Warn("topic was made anew, removing the state of the old one", slog.String("topic", topic), slog.String("dir", e.Name()))
			errs = append(errs, os.RemoveAll(filepath.Join(d.path, e.Name())))
		}
	}
	return errors.Join(errs...)
}

// pathName makes s a single path element, injectively for Kafka's names.
func pathName(s string) string {
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '_', c == '.' && i > 0:
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "%%%02x", c)
		}
	}
	return b.String()
}
