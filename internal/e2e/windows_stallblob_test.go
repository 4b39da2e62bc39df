package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"sync"
	"testing"

	"gocloud.dev/blob"
	"gocloud.dev/blob/driver"
	"gocloud.dev/blob/fileblob"
	"gocloud.dev/gcerrors"
)

// A gate keeps whoever comes waiting while it is shut.
type gate struct {
	mu   sync.Mutex
	open chan struct{}
}

func (g *gate) shut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.open = make(chan struct{})
}

func (g *gate) reopen() {
	g.mu.Lock()
	defer g.mu.Unlock()
	close(g.open)
	g.open = nil
}

func (g *gate) pass(ctx context.Context) error {
	g.mu.Lock()
	open := g.open
	g.mu.Unlock()
	if open == nil {
		return nil
	}
	select {
	case <-open:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("the blob store does not answer: %w", ctx.Err())
	}
}

// gates are those of the stores that are open, by the host of their URLs.
var gates sync.Map

// stallable is a URL of the blob store in a folder whose answers pass a gate.
func stallable(t *testing.T, dir string) (string, *gate) {
	t.Helper()
	g := new(gate)
	host := filepath.Base(filepath.Dir(dir)) + filepath.Base(dir)
	gates.Store(host, g)
	t.Cleanup(func() { gates.Delete(host) })
	return (&url.URL{Scheme: "stall", Host: host, Path: filepath.ToSlash(dir)}).String(), g
}

func init() { blob.DefaultURLMux().RegisterBucket("stall", stallOpener{}) }

type stallOpener struct{}

// OpenBucketURL implements blob.BucketURLOpener.
func (stallOpener) OpenBucketURL(_ context.Context, u *url.URL) (*blob.Bucket, error) {
	g, known := gates.Load(u.Host)
	if !known {
		return nil, errors.New("no gate " + u.Host)
	}
	files, err := fileblob.OpenBucket(filepath.FromSlash(u.Path), &fileblob.Options{CreateDir: true, NoTempDir: true, Metadata: fileblob.MetadataDontWrite})
	if err != nil {
		return nil, err
	}
	return blob.NewBucket(&stallBucket{files: files, gate: g.(*gate)}), nil
}

// stallBucket is a bucket of files behind a gate, as far as our store uses it.
type stallBucket struct {
	driver.Bucket // What is not implemented here is not used.
	files         *blob.Bucket
	gate          *gate
}

// ErrorCode implements driver.Bucket.
func (b *stallBucket) ErrorCode(err error) gcerrors.ErrorCode { return gcerrors.Code(err) }

// Close implements driver.Bucket.
func (b *stallBucket) Close() error { return b.files.Close() }

// Attributes implements driver.Bucket.
func (b *stallBucket) Attributes(ctx context.Context, key string) (*driver.Attributes, error) {
	if err := b.gate.pass(ctx); err != nil {
		return nil, err
	}
	a, err := b.files.Attributes(ctx, key)
	if err != nil {
		return nil, err
	}
	return &driver.Attributes{Size: a.Size, ModTime: a.ModTime, ContentType: a.ContentType}, nil
}

// NewRangeReader implements driver.Bucket.
func (b *stallBucket) NewRangeReader(ctx context.Context, key string, offset, length int64, _ *driver.ReaderOptions) (driver.Reader, error) {
	if err := b.gate.pass(ctx); err != nil {
		return nil, err
	}
	r, err := b.files.NewRangeReader(ctx, key, offset, length, nil)
	if err != nil {
		return nil, err
	}
	return stallReader{r}, nil
}

// NewTypedWriter implements driver.Bucket.
func (b *stallBucket) NewTypedWriter(ctx context.Context, key, contentType string, _ *driver.WriterOptions) (driver.Writer, error) {
	if err := b.gate.pass(ctx); err != nil {
		return nil, err
	}
	return b.files.NewWriter(ctx, key, &blob.WriterOptions{ContentType: contentType})
}

type stallReader struct{ *blob.Reader }

// Attributes implements driver.Reader.
func (r stallReader) Attributes() *driver.ReaderAttributes {
	return &driver.ReaderAttributes{Size: r.Size(), ModTime: r.ModTime(), ContentType: r.ContentType()}
}

// As implements driver.Reader.
func (stallReader) As(any) bool { return false }
