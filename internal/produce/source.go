package produce

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/tintype/tintype/bench/synthetic"
)

// An Item is a photo to upload.
type Item struct {
	// Name is the file's path or name; its last element becomes the upload's
	// filename.
	Name string
	// UploadID identifies the upload; empty takes one from [Config].
	UploadID string
	// UploadedAt is the event time; zero takes the time of sending.
	UploadedAt time.Time
	// Uploader is who uploads it; empty takes the one of [Config].
	Uploader string
	// Size is a guess of the length in bytes, for the memory budget; 0: unknown.
	Size int64
	// Open reads the bytes. It is called once, beside the Opens of other items.
	Open func() ([]byte, error)
}

// A Source yields items in the order in which they are to be sent. An item
// with an error is reported as failed and does not stop the rest.
type Source = iter.Seq2[Item, error]

// MaxFileBytes is the longest file that [Paths] reads.
const MaxFileBytes = 256 << 20

// Synthetic yields the first n photos of a generator.
func Synthetic(g *synthetic.Generator, n int) Source {
	return func(yield func(Item, error) bool) {
		for i := range n {
			name, uploader := g.Sender(i)
			open := func() ([]byte, error) { return g.Photo(i).Data, nil }
			if !yield(Item{Name: name, Uploader: uploader, Open: open}, nil) {
				return
			}
		}
	}
}

// Paths yields files: those that paths name, those of the folders that paths
// name, recursively and in the order of their names, and for "-" those of a
// list of paths on stdin, one a line. Links are followed, and a path leads into
// each folder once. Inside folders, what begins with a dot is passed over.
func Paths(paths []string, stdin io.Reader) Source {
	return func(yield func(Item, error) bool) {
		w := walker{yield: yield, folders: map[string]bool{}}
		for _, path := range paths {
			if path == "-" {
				if !w.list(stdin) {
					return
				}
				continue
			}
			if !w.root(path) {
				return
			}
		}
	}
}

// walker yields files; its methods return false once the receiver has enough.
type walker struct {
	yield func(Item, error) bool
	// folders are the real paths of the folders that were entered from one root.
	folders map[string]bool
}

// maxPathBytes bounds a line of a list.
const maxPathBytes = 64 << 10

func (w *walker) list(r io.Reader) bool {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxPathBytes)
	for lines.Scan() {
		if path := strings.TrimSuffix(lines.Text(), "\r"); path != "" && !w.root(path) {
			return false
		}
	}
	if err := lines.Err(); err != nil {
		return w.fail("-", fmt.Errorf("produce: read the list of paths: %w", err))
	}
	return true
}

// root is a path that was asked for.
func (w *walker) root(path string) bool {
	clear(w.folders)
	return w.path(path)
}

func (w *walker) fail(path string, err error) bool { return w.yield(Item{Name: path}, err) }

func (w *walker) path(path string) bool {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return w.fail(path, fmt.Errorf("produce: %w", err))
	case info.IsDir():
		return w.folder(path)
	case !info.Mode().IsRegular():
		return w.fail(path, fmt.Errorf("produce: read %s: neither a file nor a folder", path))
	}
	item := Item{Name: path, Size: info.Size(), Open: func() ([]byte, error) { return readFile(path) }}
	return w.yield(item, nil)
}

func (w *walker) folder(path string) bool {
	resolved, err := filepath.EvalSymlinks(path)
	if err == nil {
		resolved, err = filepath.Abs(resolved)
	}
	if err != nil {
		return w.fail(path, fmt.Errorf("produce: read folder: %w", err))
	}
	if w.folders[resolved] {
		return true
	}
	w.folders[resolved] = true
	entries, err := os.ReadDir(path)
	for _, entry := range entries {
		if !strings.HasPrefix(entry.Name(), ".") && !w.path(filepath.Join(path, entry.Name())) {
			return false
		}
	}
	if err != nil {
		return w.fail(path, fmt.Errorf("produce: read folder: %w", err))
	}
	return true
}

// readFile reads a file that is not longer than [MaxFileBytes], even if it
// grows meanwhile.
func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("produce: %w", err)
	}
	defer func() { _ = f.Close() }() // It was only read.
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("produce: %w", err)
	}
	if info.Size() > MaxFileBytes {
		return nil, tooLong(path, info.Size())
	}
	data := make([]byte, 0, info.Size()+1) // One more, so that its end is seen without growing.
	for {
		n, err := f.Read(data[len(data):cap(data)])
		data = data[:len(data)+n]
		switch {
		case errors.Is(err, io.EOF):
			return data, nil
		case err != nil:
			return nil, fmt.Errorf("produce: %w", err)
		case len(data) > MaxFileBytes:
			return nil, tooLong(path, int64(len(data)))
		}
		data = slices.Grow(data, 1)
	}
}

func tooLong(path string, size int64) error {
	return fmt.Errorf("produce: read %s: %d bytes are more than the %d that a photo may have", path, size, MaxFileBytes)
}
