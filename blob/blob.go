// Package blob keeps originals and renditions by the hash of their content, on
// any bucket that gocloud.dev knows: file://, s3://, mem://.
//
// A blob's key is derived from its content, so that a blob never changes, a
// write is idempotent, and two writers of one key write the same bytes.
package blob

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"

	"gocloud.dev/blob"
	_ "gocloud.dev/blob/fileblob" // The scheme file://.
	_ "gocloud.dev/blob/memblob"  // The scheme mem://.
	_ "gocloud.dev/blob/s3blob"   // The scheme s3://.
	"gocloud.dev/gcerrors"
)

// ErrNotFound says that there is no blob with a key.
var ErrNotFound = errors.New("blob: not found")

// ErrTooLarge says that a blob is longer than the reader allows.
var ErrTooLarge = errors.New("blob: too large")

// A Store holds blobs. It is safe for concurrent use.
type Store struct {
	bucket *blob.Bucket
}

// Open opens the bucket of a URL such as file:///var/lib/tintype/blobs,
// s3://bucket?region=eu-west-1 or mem://. A file bucket's folder is made when
// it is missing.
func Open(ctx context.Context, rawURL string) (*Store, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		return nil, fmt.Errorf("blob: open: %w", err)
	}
	if u.Scheme == "file" {
		q := u.Query()
		q.Set("create_dir", "true")
		q.Set("metadata", "skip")
		q.Set("no_tmp_dir", "true") // A rename is atomic only within one file system.
		u.RawQuery = q.Encode()
	}
	bucket, err := blob.OpenBucket(ctx, u.String())
	if err != nil {
		return nil, fmt.Errorf("blob: open %s: %w", u.Redacted(), err)
	}
	return &Store{bucket: bucket}, nil
}

// Close releases the bucket.
func (s *Store) Close() error { return s.bucket.Close() }

// Check reports whether the bucket can be reached.
func (s *Store) Check(ctx context.Context) error {
	ok, err := s.bucket.IsAccessible(ctx)
	if err != nil {
		return fmt.Errorf("blob: check: %w", err)
	}
	if !ok {
		return errors.New("blob: check: the bucket does not exist or may not be read")
	}
	return nil
}

// Put writes data under key, at once or not at all. A key that holds a blob of
// that length already is left as it is.
func (s *Store) Put(ctx context.Context, key string, data []byte, contentType string) error {
	switch attrs, err := s.bucket.Attributes(ctx, key); {
	case err == nil && attrs.Size == int64(len(data)):
		return nil
	case err != nil && gcerrors.Code(err) != gcerrors.NotFound:
		return fmt.Errorf("blob: put %s: %w", key, err)
	}
	err := s.bucket.WriteAll(ctx, key, data, &blob.WriterOptions{ContentType: contentType})
	if err != nil {
		return fmt.Errorf("blob: put %s: %w", key, err)
	}
	return nil
}

// Get reads the blob of a key. It returns [ErrNotFound] where there is none and
// [ErrTooLarge], without reading it, where it is longer than maxBytes.
func (s *Store) Get(ctx context.Context, key string, maxBytes int64) ([]byte, error) {
	r, err := s.bucket.NewReader(ctx, key, nil)
	if gcerrors.Code(err) == gcerrors.NotFound {
		return nil, fmt.Errorf("%w: %s", ErrNotFound, key)
	}
	if err != nil {
		return nil, fmt.Errorf("blob: get %s: %w", key, err)
	}
	defer func() { _ = r.Close() }() // A reader has nothing to lose on Close.
	if r.Size() > maxBytes {
		return nil, fmt.Errorf("%w: %s has %d bytes, more than %d", ErrTooLarge, key, r.Size(), maxBytes)
	}
	data := make([]byte, r.Size())
	if _, err := io.ReadFull(r, data); err != nil {
		return nil, fmt.Errorf("blob: get %s: %w", key, err)
	}
	return data, nil
}

// Has reports whether there is a blob with this key.
func (s *Store) Has(ctx context.Context, key string) (bool, error) {
	ok, err := s.bucket.Exists(ctx, key)
	if err != nil {
		return false, fmt.Errorf("blob: has %s: %w", key, err)
	}
	return ok, nil
}

// OriginalKey is the key of an original: originals/<sha256 in hex>.
func OriginalKey(sha256 string) string { return "originals/" + sha256 }

// RenditionKey is the key of a rendition: renditions/<sha256>/<name>-<spec>.jpg.
// Another spec is another blob.
func RenditionKey(sha256, name, spec string) string {
	return "renditions/" + sha256 + "/" + name + "-" + spec + ".jpg"
}

// ValidKey reports whether a key from outside may name a blob: a relative path
// of plain segments.
func ValidKey(key string) bool {
	if key == "" || len(key) > 512 || strings.ContainsAny(key, "\\\x00") {
		return false
	}
	for segment := range strings.SplitSeq(key, "/") {
		if segment == "" || segment == "." || segment == ".." {
			return false
		}
	}
	return true
}
