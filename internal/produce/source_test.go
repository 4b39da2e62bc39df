package produce

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"
)

// tree makes files under a new folder; what ends in a slash is a folder.
func tree(t *testing.T, names ...string) string {
	t.Helper()
	root := t.TempDir()
	for _, name := range names {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(name, "/") {
			if err := os.MkdirAll(path, 0o750); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if err := os.WriteFile(path, []byte("bytes of "+name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// collect returns the names that a source yields, under root, and its errors by
// name.
func collect(t *testing.T, root string, source Source) (names []string, failed map[string]error) {
	t.Helper()
	failed = map[string]error{}
	for item, err := range source {
		name := strings.TrimPrefix(item.Name, root+"/")
		if err != nil {
			failed[name] = err
			continue
		}
		names = append(names, name)
		data, err := item.Open()
		if err != nil {
			failed[name] = err
			continue
		}
		if int64(len(data)) != item.Size {
			t.Errorf("%s: %d bytes read, size says %d", name, len(data), item.Size)
		}
	}
	return names, failed
}

func expect(t *testing.T, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestFoldersAreWalkedInOrder(t *testing.T) {
	root := tree(t, "b.jpg", "a/z.jpg", "a/b/y.jpg", "c/", "a/.hidden.jpg", ".git/config", "é name.jpg")
	names, failed := collect(t, root, Paths([]string{root}, nil))
	expect(t, names, "a/b/y.jpg", "a/z.jpg", "b.jpg", "é name.jpg")
	if len(failed) != 0 {
		t.Errorf("failed: %v", failed)
	}
	// What is asked for by name is sent, hidden or not, as often as it is asked for.
	hidden := filepath.Join(root, "a/.hidden.jpg")
	names, _ = collect(t, root, Paths([]string{hidden, root + "/c", hidden}, nil))
	expect(t, names, "a/.hidden.jpg", "a/.hidden.jpg")
	names, _ = collect(t, root, Paths([]string{root + "/a/b", root + "/a/b"}, nil))
	expect(t, names, "a/b/y.jpg", "a/b/y.jpg")
}

func TestLinksAreFollowedWithoutLoops(t *testing.T) {
	root := tree(t, "a/x.jpg", "b/y.jpg", "far.jpg")
	for name, target := range map[string]string{
		"a/up": root, "a/self": ".", "a/to-b": filepath.Join(root, "b"), "b/to-a": filepath.Join(root, "a"),
		"a/far.jpg": filepath.Join(root, "far.jpg"), "b/broken.jpg": "nowhere", "b/ring": "ring",
	} {
		if err := os.Symlink(target, filepath.Join(root, name)); err != nil {
			t.Fatal(err)
		}
	}
	names, failed := collect(t, root, Paths([]string{root}, nil))
	expect(t, names, "a/far.jpg", "a/to-b/y.jpg", "a/x.jpg", "far.jpg")
	if len(failed) != 2 || !errors.Is(failed["a/to-b/broken.jpg"], fs.ErrNotExist) || !errors.Is(failed["a/to-b/ring"], syscall.ELOOP) {
		t.Errorf("failed: %v, want the broken link and the ring", failed)
	}
}

func TestWhatCannotBeReadDoesNotStopTheRest(t *testing.T) {
	root := tree(t, "a.jpg", "c.jpg")
	if err := syscall.Mkfifo(filepath.Join(root, "b.fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	huge := filepath.Join(root, "huge.tiff")
	if err := os.WriteFile(huge, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(huge, MaxFileBytes+1); err != nil {
		t.Fatal(err)
	}
	names, failed := collect(t, root, Paths([]string{root + "/missing.jpg", root}, nil))
	expect(t, names, "a.jpg", "c.jpg", "huge.tiff")
	if len(failed) != 3 || !errors.Is(failed["missing.jpg"], fs.ErrNotExist) || !strings.Contains(failed["b.fifo"].Error(), "neither") || !strings.Contains(failed["huge.tiff"].Error(), "more than") {
		t.Errorf("failed: %v", failed)
	}
	// A file that goes away between the walk and the read.
	for item := range Paths([]string{root + "/a.jpg"}, nil) {
		if err := os.Remove(item.Name); err != nil {
			t.Fatal(err)
		}
		if _, err := item.Open(); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("open: %v", err)
		}
	}
}

func TestAListOfPaths(t *testing.T) {
	root := tree(t, "a.jpg", "d/b.jpg", "with space.jpg", "last.jpg")
	list := strings.Join([]string{root + "/a.jpg", "", root + "/with space.jpg\r", root + "/d", root + "/gone.jpg", root + "/last.jpg"}, "\n")
	names, failed := collect(t, root, Paths([]string{"-", root + "/a.jpg"}, strings.NewReader(list)))
	expect(t, names, "a.jpg", "with space.jpg", "d/b.jpg", "last.jpg", "a.jpg")
	if len(failed) != 1 || !errors.Is(failed["gone.jpg"], fs.ErrNotExist) {
		t.Errorf("failed: %v", failed)
	}
	names, failed = collect(t, root, Paths([]string{"-", root + "/a.jpg"}, iotest.ErrReader(os.ErrClosed)))
	expect(t, names, "a.jpg")
	if !errors.Is(failed["-"], os.ErrClosed) {
		t.Errorf("failed: %v, want the reader's error", failed)
	}
	long := bytes.Repeat([]byte("x"), maxPathBytes+1)
	if _, failed = collect(t, root, Paths([]string{"-"}, bytes.NewReader(long))); failed["-"] == nil {
		t.Error("a line without an end is no error")
	}
}

func TestASourceEndsWhenItsReaderHasEnough(t *testing.T) {
	root := tree(t, "a.jpg", "d/b.jpg", "d/e/c.jpg")
	list := root + "/a.jpg\n" + root + "/d\n" + root + "/a.jpg"
	for want := 1; want <= 4; want++ {
		n := 0
		for range Paths([]string{"-"}, strings.NewReader(list)) {
			if n++; n == want {
				break
			}
		}
		if n != want {
			t.Errorf("got %d items, want %d", n, want)
		}
	}
}

// TestAPhotoIsReadWhole reads around the sizes at which a buffer would grow.
func TestAPhotoIsReadWhole(t *testing.T) {
	for _, size := range []int{0, 1, 511, 512, 513, 100_000} {
		path := filepath.Join(t.TempDir(), "photo")
		want := bytes.Repeat([]byte{7}, size)
		if err := os.WriteFile(path, want, 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := readFile(path)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%d bytes: read %d, %v", size, len(got), err)
		}
	}
}
