package bench

import (
	"context"
	"encoding/hex"
	"fmt"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tintype/tintype/blob"
	"github.com/tintype/tintype/event"
	"github.com/tintype/tintype/event/eventpb"
	"github.com/tintype/tintype/extract"
	"github.com/tintype/tintype/transform/pixel"
)

// bare runs the pipeline's own functions over the photos, with no Kafka and no
// ClickHouse: one loop a processor, a map in the place of the table. What the
// pipeline takes longer is what exactness and streaming cost.
func bare(ctx context.Context, photos [][]byte, specs []pixel.Spec) (Figure, error) {
	store, err := blob.Open(ctx, "mem://")
	if err != nil {
		return Figure{}, err
	}
	defer func() { _ = store.Close() }() // It is memory.
	extractor := extract.New(store, extract.DefaultLimits())
	spec := pixel.SpecID(specs)
	var mu sync.Mutex
	seen := map[string]bool{}
	started, cpu := time.Now(), cpuTime()
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(runtime.GOMAXPROCS(0))
	for i, data := range photos {
		group.Go(func() error {
			original, err := extractor.Extract(ctx, &eventpb.Upload{UploadId: fmt.Sprint(i), Body: &eventpb.Upload_Inline{Inline: data}})
			if err != nil {
				return refusedOr(err)
			}
			mu.Lock()
			again := seen[original.Key]
			seen[original.Key] = true
			mu.Unlock()
			if again {
				return nil
			}
			src, err := store.Get(ctx, original.Key, original.Facts.Bytes)
			if err != nil {
				return err
			}
			encoded, _, err := pixel.Render(ctx, src, pixel.Meta{Format: original.Facts.Format, Orientation: int(original.Facts.Orientation)}, specs)
			if err != nil {
				return refusedOr(err)
			}
			for _, e := range encoded {
				if err := store.Put(ctx, blob.RenditionKey(hex.EncodeToString(original.Facts.Sha256), e.Name, spec), e.Data, "image/jpeg"); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return Figure{}, fmt.Errorf("bench: bare loop: %w", err)
	}
	return figure(len(photos), time.Since(started), cpuTime()-cpu), nil
}

// refusedOr passes over a refusal: the pipeline gives such a photo a row, too.
func refusedOr(err error) error {
	if _, ok := event.AsRefusal(err); ok {
		return nil
	}
	return err
}
