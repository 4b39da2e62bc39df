package exactly

import (
	"sort"

	ldbiterator "github.com/syndtr/goleveldb/leveldb/iterator"
)

// iterator merges a snapshot of the database with one of the overlay, which
// wins; a nil value of the overlay hides the key.
type iterator struct {
	base   ldbiterator.Iterator
	keys   []string // of the overlay, in range, sorted
	values map[string]change
	next   int // in keys

	baseReady, baseValid bool // base stands on an entry that was not returned yet
	key, value           []byte
}

// Next moves to the next key.
func (it *iterator) Next() bool {
	for {
		if !it.baseReady {
			it.baseValid, it.baseReady = it.base.Next(), true
		}
		haveOverlay := it.next < len(it.keys)
		if !it.baseValid && !haveOverlay {
			it.key, it.value = nil, nil
			return false
		}
		var baseKey string
		if it.baseValid {
			baseKey = string(it.base.Key()[1:])
		}
		if haveOverlay && (!it.baseValid || it.keys[it.next] <= baseKey) {
			key := it.keys[it.next]
			it.next++
			if it.baseValid && key == baseKey {
				it.baseReady = false // hidden by the overlay
			}
			value := it.values[key].value
			if value == nil {
				continue
			}
			it.key, it.value = []byte(key), value
			return true
		}
		it.key, it.value = []byte(baseKey), append([]byte{}, it.base.Value()...)
		it.baseReady = false
		return true
	}
}

// Seek moves to the first key that is not less than key, and to it: Key and
// Value may be called at once, as with goka's own storage.
func (it *iterator) Seek(key []byte) bool {
	it.baseValid, it.baseReady = it.base.Seek(dataKey(string(key))), true
	it.next = sort.SearchStrings(it.keys, string(key))
	return it.Next()
}

// Err returns the error that ended the iteration.
func (it *iterator) Err() error { return it.base.Error() }

// Key returns the current key.
func (it *iterator) Key() []byte { return it.key }

// Value returns the current value.
func (it *iterator) Value() ([]byte, error) { return it.value, nil }

// Release frees the snapshot.
func (it *iterator) Release() { it.base.Release() }
