// Package extract turns an upload into a photo: it gets the bytes, stores them
// by their hash, tells their real format, guards the stages behind it against
// what no worker could bear, and reads EXIF. No pixel is decoded here.
package extract

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"

	"github.com/tintype/tintype/blob"
	"github.com/tintype/tintype/event"
	"github.com/tintype/tintype/event/eventpb"
	"github.com/tintype/tintype/internal/header"
)

// An Extractor extracts photos. It is safe for concurrent use.
type Extractor struct {
	blobs  *blob.Store
	limits Limits
}

// New makes an extractor; the zero Limits are the default ones.
func New(blobs *blob.Store, limits Limits) *Extractor {
	return &Extractor{blobs: blobs, limits: limits.withDefaults()}
}

// An Original is an upload's bytes, stored, with what they tell.
type Original struct {
	// Key is where the bytes lie in the blob store; "" if they were not stored.
	Key   string
	Facts *eventpb.Facts
}

// Extract gets an upload's bytes and reads what they tell. An event.Refusal
// ends the upload; the Original beside it holds what was known by then, and may
// be nil. Any other error is the blob store's: the upload can be tried again.
func (e *Extractor) Extract(ctx context.Context, upload *eventpb.Upload) (*Original, error) {
	src, err := e.bytes(ctx, upload)
	if err != nil {
		return nil, err
	}
	if len(src) == 0 {
		return nil, event.Refuse(event.ReasonEmptyFile, "the photo has no bytes")
	}
	if int64(len(src)) > e.limits.Bytes {
		return nil, tooManyBytes(int64(len(src)), e.limits.Bytes)
	}
	sum := sha256.Sum256(src)
	original := &Original{
		Key:   blob.OriginalKey(hex.EncodeToString(sum[:])),
		Facts: &eventpb.Facts{Sha256: sum[:], Bytes: int64(len(src)), Orientation: 1},
	}
	// The originals are kept under the hash of their bytes, whoever named them,
	// and before the guards speak: a dead letter points at what died.
	if err := e.blobs.Put(ctx, original.Key, src, "application/octet-stream"); err != nil {
		return nil, err
	}
	h, err := header.Read(src)
	original.Facts.Format = h.Format
	if err != nil {
		return original, err
	}
	original.Facts.Width, original.Facts.Height = int32(h.Width), int32(h.Height)
	original.Facts.Animated = h.Animated
	if err := e.limits.check(h); err != nil {
		return original, err
	}
	readEXIF(src, h.Format, original.Facts)
	if original.Facts.Orientation >= 5 {
		original.Facts.Width, original.Facts.Height = original.Facts.Height, original.Facts.Width
	}
	return original, nil
}

// bytes gets the body of an upload.
func (e *Extractor) bytes(ctx context.Context, upload *eventpb.Upload) ([]byte, error) {
	switch body := upload.GetBody().(type) {
	case *eventpb.Upload_Inline:
		return body.Inline, nil
	case *eventpb.Upload_Reference:
		return e.resolve(ctx, body.Reference)
	}
	return nil, event.Refuse(event.ReasonMissingBody, "the upload has neither bytes nor a reference")
}

// resolve reads what a reference points at and holds it to its claim.
func (e *Extractor) resolve(ctx context.Context, reference *eventpb.Reference) ([]byte, error) {
	if !blob.ValidKey(reference.GetKey()) || len(reference.GetSha256()) != sha256.Size || reference.GetBytes() < 0 {
		return nil, event.Refuse(event.ReasonInvalidUpload, "the reference has no plain key, no SHA-256 or a negative length")
	}
	if reference.Bytes > e.limits.Bytes {
		return nil, tooManyBytes(reference.Bytes, e.limits.Bytes)
	}
	src, err := e.blobs.Get(ctx, reference.Key, reference.Bytes)
	switch {
	case errors.Is(err, blob.ErrNotFound):
		return nil, event.Refuse(event.ReasonReferenceNotFound, "%v", err)
	case errors.Is(err, blob.ErrTooLarge):
		return nil, event.Refuse(event.ReasonHashMismatch, "%v", err)
	case err != nil:
		return nil, err
	}
	if sum := sha256.Sum256(src); string(sum[:]) != string(reference.Sha256) || int64(len(src)) != reference.Bytes {
		return nil, event.Refuse(event.ReasonHashMismatch, "the blob %s has %d bytes of SHA-256 %x, the reference claims %d of %x",
			reference.Key, len(src), sum, reference.Bytes, reference.Sha256)
	}
	return src, nil
}

func tooManyBytes(got, limit int64) error {
	return event.Refuse(event.ReasonTooManyBytes, "%d bytes, more than %d", got, limit)
}
