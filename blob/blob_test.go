package blob

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// stores opens one store of each kind that needs no server.
func stores(t *testing.T) map[string]*Store {
	t.Helper()
	opened := map[string]*Store{}
	for name, url := range map[string]string{"file": "file://" + filepath.ToSlash(t.TempDir()) + "/a/b", "mem": "mem://"} {
		store, err := Open(t.Context(), url)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := store.Close(); err != nil {
				t.Error(err)
			}
		})
		opened[name] = store
	}
	return opened
}

func TestPutGetHas(t *testing.T) {
	for name, store := range stores(t) {
		t.Run(name, func(t *testing.T) {
			ctx := t.Context()
			key := OriginalKey(strings.Repeat("ab", 32))
			if ok, err := store.Has(ctx, key); ok || err != nil {
				t.Fatalf("before the write: %v, %v", ok, err)
			}
			if _, err := store.Get(ctx, key, 10); !errors.Is(err, ErrNotFound) {
				t.Fatalf("before the write: %v", err)
			}
			for range 2 { // A write is idempotent.
				if err := store.Put(ctx, key, []byte("photo"), "image/jpeg"); err != nil {
					t.Fatal(err)
				}
			}
			got, err := store.Get(ctx, key, 5)
			if err != nil || string(got) != "photo" {
				t.Fatalf("read %q, %v", got, err)
			}
			if _, err := store.Get(ctx, key, 4); !errors.Is(err, ErrTooLarge) {
				t.Fatalf("a blob over the limit: %v", err)
			}
			if ok, err := store.Has(ctx, key); !ok || err != nil {
				t.Fatalf("after the write: %v, %v", ok, err)
			}
			if err := store.Check(ctx); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// A blob that is there with another length was cut off by something outside of
// this package; the bytes that the key's hash promises replace it.
func TestPutMendsABlobOfAnotherLength(t *testing.T) {
	dir := t.TempDir()
	store, err := Open(t.Context(), "file://"+filepath.ToSlash(dir))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "k"), []byte("pho"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := store.Put(t.Context(), "k", []byte("photo"), ""); err != nil {
		t.Fatal(err)
	}
	if got, err := store.Get(t.Context(), "k", 10); err != nil || string(got) != "photo" {
		t.Fatalf("read %q, %v", got, err)
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestConcurrentWritersOfOneKey(t *testing.T) {
	for name, store := range stores(t) {
		t.Run(name, func(t *testing.T) {
			data := []byte(strings.Repeat("x", 1<<16))
			var wg sync.WaitGroup
			for range 8 {
				wg.Go(func() {
					if err := store.Put(t.Context(), "same", data, ""); err != nil {
						t.Error(err)
					}
				})
			}
			wg.Wait()
			if got, err := store.Get(t.Context(), "same", 1<<20); err != nil || len(got) != len(data) {
				t.Fatalf("read %d bytes, %v", len(got), err)
			}
		})
	}
}

func TestOpenRefuses(t *testing.T) {
	for _, url := range []string{"", "nothing://x", "%"} {
		if store, err := Open(t.Context(), url); err == nil {
			t.Errorf("%q was opened: %v", url, store)
		}
	}
}

func TestValidKey(t *testing.T) {
	for _, key := range []string{"a", "originals/ab", "a/b-c.jpg", "x..y"} {
		if !ValidKey(key) {
			t.Errorf("%q was refused", key)
		}
	}
	for _, key := range []string{"", "/a", "a/", "a//b", "..", "a/../b", "./a", "a\\b", "a\x00b", strings.Repeat("a", 513)} {
		if ValidKey(key) {
			t.Errorf("%q was accepted", key)
		}
	}
}
