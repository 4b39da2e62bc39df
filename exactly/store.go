package exactly

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/lovoo/goka"
	"github.com/lovoo/goka/storage"
	"github.com/syndtr/goleveldb/leveldb"
	"github.com/syndtr/goleveldb/leveldb/util"
)

// Keys of the database: user keys carry a prefix, so that none can collide with
// the offset's.
const dataPrefix = 'k'

var offsetKey = []byte("offset")

const (
	recoveryBatchKeys  = 4096
	recoveryBatchBytes = 1 << 20
	noOffset           = -1
)

// store is a table's partition. Data and the changelog offset they belong to are
// always written in one batch, so that a crash leaves a consistent, older state.
//
// The group's own table has an overlay once recovered: writes stay in memory
// until commit, or are dropped with the store. Joined and looked-up tables, and
// recovery, write through in batches.
type store struct {
	topic     string
	partition int32
	db        *leveldb.DB
	onClose   func(*store)
	// route returns the partition of a key; nil for tables without overlay.
	route func(key string) int32

	mu        sync.RWMutex
	recovered bool
	offset    int64
	dirty     bool // offset not written yet
	overlay   map[string]change
	bytes     int
	batch     leveldb.Batch
	// early is how many more changes of the open transaction go into the changelog
	// at once (see changelog.go).
	early int
}

// change is what the open transaction did to a key.
type change struct {
	value   []byte // nil: deleted
	headers goka.Headers
	// logged says that the changelog has it.
	logged bool
}

var _ storage.Storage = (*store)(nil)

func newStore(db *leveldb.DB, topic string, partition int32, route func(string) int32, onClose func(*store)) (*store, error) {
	offset, err := readOffset(db)
	if err != nil {
		return nil, err
	}
	return &store{topic: topic, partition: partition, db: db, route: route, onClose: onClose, offset: offset, overlay: map[string]change{}, early: earlyChanges}, nil
}

func readOffset(db *leveldb.DB) (int64, error) {
	b, err := db.Get(offsetKey, nil)
	switch {
	case errors.Is(err, leveldb.ErrNotFound):
		return noOffset, nil
	case err != nil:
		return 0, fmt.Errorf("exactly: read state offset: %w", err)
	case len(b) != 8:
		return 0, fmt.Errorf("exactly: read state offset: %d bytes", len(b))
	}
	return int64(binary.BigEndian.Uint64(b)), nil
}

func dataKey(key string) []byte {
	b := make([]byte, 1+len(key))
	b[0] = dataPrefix
	copy(b[1:], key)
	return b
}

// Open is goka's; the database is open already.
func (s *store) Open() error { return nil }

// Close drops the overlay.
func (s *store) Close() error {
	if s.onClose != nil {
		s.onClose(s)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.writeBatch()
	if cerr := s.db.Close(); cerr != nil {
		err = errors.Join(err, fmt.Errorf("exactly: close state of %s/%d: %w", s.topic, s.partition, cerr))
	}
	return err
}

// transactional reports whether writes go to the overlay. Callers hold mu.
func (s *store) transactional() bool { return s.recovered && s.route != nil }

// Has reports whether key exists.
func (s *store) Has(key string) (bool, error) {
	v, err := s.Get(key)
	return v != nil, err
}

// Get returns the value of key as the open transaction sees it, or nil.
func (s *store) Get(key string) ([]byte, error) {
	s.mu.RLock()
	if s.transactional() {
		c, ok := s.overlay[key]
		s.mu.RUnlock()
		if ok {
			return c.value, nil
		}
	} else {
		pending := s.batch.Len() > 0
		s.mu.RUnlock()
		if pending {
			s.mu.Lock()
			err := s.writeBatch()
			s.mu.Unlock()
			if err != nil {
				return nil, err
			}
		}
	}
	return s.committed(key)
}

// committed returns the value of key as of the last commit, or nil.
func (s *store) committed(key string) ([]byte, error) {
	v, err := s.db.Get(dataKey(key), nil)
	if errors.Is(err, leveldb.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("exactly: read state of %s/%d: %w", s.topic, s.partition, err)
	}
	if v == nil {
		v = []byte{} // LevelDB returns nil for an empty value, which goka takes for none.
	}
	return v, nil
}

// Set stores value, which the store keeps.
func (s *store) Set(key string, value []byte) error {
	if value == nil {
		value = []byte{}
	}
	return s.put(key, value)
}

// Delete removes key.
func (s *store) Delete(key string) error { return s.put(key, nil) }

func (s *store) put(key string, value []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.transactional() {
		if want := s.route(key); want != s.partition {
			return &MisroutedError{Table: s.topic, Key: key, Got: s.partition, Want: want}
		}
		if old, ok := s.overlay[key]; ok {
			s.bytes -= len(key) + len(old.value)
		}
		s.overlay[key] = change{value: value}
		s.bytes += len(key) + len(value)
		return nil
	}
	if value == nil {
		s.batch.Delete(dataKey(key))
	} else {
		s.batch.Put(dataKey(key), value)
	}
	s.bytes += len(key) + len(value)
	return nil
}

// GetOffset returns the changelog offset of the state, or def without one.
func (s *store) GetOffset(def int64) (int64, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.offset == noOffset {
		return def, nil
	}
	return s.offset, nil
}

// position is the changelog offset that follows the state.
func (s *store) position() int64 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.offset + 1
}

// SetOffset records that the state holds the changelog up to offset.
func (s *store) SetOffset(offset int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if offset > s.offset {
		s.offset, s.dirty = offset, true
	}
	if s.transactional() || (!s.recovered && s.batch.Len() < recoveryBatchKeys && s.bytes < recoveryBatchBytes) {
		return nil
	}
	return s.writeBatch()
}

// MarkRecovered ends recovery.
func (s *store) MarkRecovered() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.writeBatch()
	s.recovered, s.bytes = true, 0
	return err
}

// writeBatch writes what recovery gathered. Callers hold mu.
func (s *store) writeBatch() error {
	if s.transactional() || (s.batch.Len() == 0 && !s.dirty) {
		return nil
	}
	return s.write()
}

func (s *store) write() error {
	if s.dirty {
		s.batch.Put(offsetKey, binary.BigEndian.AppendUint64(nil, uint64(s.offset)))
	}
	err := s.db.Write(&s.batch, nil)
	s.batch.Reset()
	s.dirty, s.bytes = false, 0
	if err != nil {
		return fmt.Errorf("exactly: write state of %s/%d: %w", s.topic, s.partition, err)
	}
	return nil
}

// flush writes the overlay with its offset after a commit and returns its size.
// No writer runs at that time; readers may.
func (s *store) flush() (keys, size int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.overlay) == 0 && !s.dirty {
		return 0, 0, nil
	}
	keys, size = len(s.overlay), s.bytes
	for key, c := range s.overlay {
		if c.value == nil {
			s.batch.Delete(dataKey(key))
		} else {
			s.batch.Put(dataKey(key), c.value)
		}
	}
	err = s.write()
	clear(s.overlay)
	s.early = earlyChanges
	return keys, size, err
}

// Iterator walks over all keys in order, the overlay included, as they are now.
func (s *store) Iterator() (storage.Iterator, error) { return s.IteratorWithRange(nil, nil) }

// IteratorWithRange walks over [start, limit); without limit over the keys that
// begin with start, as goka's own storage does.
func (s *store) IteratorWithRange(start, limit []byte) (storage.Iterator, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.writeBatch(); err != nil {
		return nil, err
	}
	from := append([]byte{dataPrefix}, start...)
	r := util.BytesPrefix(from)
	if len(limit) > 0 {
		r = &util.Range{Start: from, Limit: append([]byte{dataPrefix}, limit...)}
	}
	it := &iterator{base: s.db.NewIterator(r, nil), values: maps.Clone(s.overlay)}
	for key := range it.values {
		k := dataKey(key)
		if string(k) >= string(r.Start) && (r.Limit == nil || string(k) < string(r.Limit)) {
			it.keys = append(it.keys, key)
		}
	}
	slices.Sort(it.keys)
	return it, nil
}

// eachKey walks over the keys that are committed, from one on.
func (s *store) eachKey(from string, f func(key string, value []byte) bool) error {
	it := s.db.NewIterator(&util.Range{Start: dataKey(from), Limit: []byte{dataPrefix + 1}}, nil)
	defer it.Release()
	for it.Next() {
		if !f(string(it.Key()[1:]), it.Value()) {
			break
		}
	}
	if err := it.Error(); err != nil {
		return fmt.Errorf("exactly: read state of %s/%d: %w", s.topic, s.partition, err)
	}
	return nil
}
