package produce

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"

	"github.com/tintype/tintype/blob"
	"github.com/tintype/tintype/event"
	"github.com/tintype/tintype/event/eventpb"
)

// prepared is an item that is read, and stored where it goes by reference.
type prepared struct {
	Item
	// first is the number of the item's first upload.
	first int
	// data are the bytes to send inline; reference is set instead of them.
	data      []byte
	reference *eventpb.Reference
	bytes     int64
	err       error
	// weight is what the item takes of the memory budget until it is sent.
	weight int64
}

// carry tells how the item travels.
func (p *prepared) carry() Carry {
	if p.reference != nil {
		return CarryReference
	}
	return CarryInline
}

// unknownSize is what an item without a size counts in the memory budget.
const unknownSize = 1 << 20

// prepareAll reads the source, prepares up to Workers items at a time and
// hands them on in order. It ends with the source or the context.
func (r *run) prepareAll(ctx context.Context, source Source, out chan<- chan *prepared) {
	defer close(out)
	n := 0
	for item, err := range source {
		p := &prepared{Item: item, first: n, err: err, weight: min(item.Size, r.MaxBytes)}
		n += r.Repeat
		if item.Size <= 0 {
			p.weight = min(unknownSize, r.MaxBytes)
		}
		if r.memory.Acquire(ctx, p.weight) != nil || r.workers.Acquire(ctx, 1) != nil {
			return // The budget ends with the run.
		}
		ready := make(chan *prepared, 1)
		go func() {
			defer r.workers.Release(1)
			r.prepare(ctx, p)
			ready <- p
		}()
		select {
		case out <- ready:
		case <-ctx.Done():
			return
		}
	}
}

// prepare reads an item and decides how it travels.
func (r *run) prepare(ctx context.Context, p *prepared) {
	if p.err != nil {
		return
	}
	data, err := p.Open()
	if err != nil {
		p.err = err
		return
	}
	p.bytes = int64(len(data))
	if !r.byReference(p.bytes) {
		p.data = data
		return
	}
	if r.Blobs == nil {
		p.err = fmt.Errorf("produce: store %s: its %d bytes go by reference, which needs a blob store", p.Name, p.bytes)
		return
	}
	sum := sha256.Sum256(data)
	key := blob.OriginalKey(hex.EncodeToString(sum[:]))
	if err := r.Blobs.Put(ctx, key, data, http.DetectContentType(data)); err != nil {
		p.err = fmt.Errorf("produce: store %s: %w", p.Name, err)
		return
	}
	p.reference = &eventpb.Reference{Key: key, Sha256: sum[:], Bytes: p.bytes}
}

// byReference tells whether a photo of so many bytes goes by reference.
func (r *run) byReference(size int64) bool {
	switch r.Carry {
	case CarryReference:
		return true
	case CarryInline:
		return false
	case CarryAuto:
	}
	return size > min(r.InlineLimit, event.MaxUploadRecordBytes-recordOverhead)
}

// recordOverhead is kept free in an upload record for all but the photo.
const recordOverhead = 8 << 10

// upload makes the event of an item.
func (p *prepared) upload(id, uploader string, uploadedAtMS int64) *eventpb.Upload {
	u := &eventpb.Upload{
		UploadId: id, Uploader: strings.ToValidUTF8(uploader, "\ufffd"),
		Filename:     strings.ToValidUTF8(filepath.Base(p.Name), "\ufffd"),
		UploadedAtMs: &uploadedAtMS,
	}
	if p.reference != nil {
		u.Body = &eventpb.Upload_Reference{Reference: p.reference}
	} else {
		u.Body = &eventpb.Upload_Inline{Inline: p.data}
	}
	return u
}
