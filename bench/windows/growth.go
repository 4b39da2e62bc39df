package windowsbench

import (
	"context"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Growth is the throughput with a number of windows open, one a key, when any of them
// may be next.
type Growth struct {
	OpenWindows      int     `json:"open_windows"`
	RecordsPerSecond float64 `json:"records_per_second"`
	HeapBytes        uint64  `json:"heap_bytes"`
	StateBytes       int64   `json:"state_bytes"`
}

// growthRecords are counted at each number of open windows.
const growthRecords = 300_000

func (b *bench) growth(ctx context.Context) error {
	for _, n := range b.Growth {
		g, err := b.growTo(ctx, n)
		if err != nil {
			return err
		}
		b.Progress(fmt.Sprintf("%d open windows: %.0f records/s", n, g.RecordsPerSecond))
		b.report.Growth = append(b.report.Growth, g)
	}
	return nil
}

func (b *bench) growTo(ctx context.Context, n int) (g Growth, err error) {
	name := fmt.Sprintf("growth-%d", n)
	p, err := b.place(ctx, name)
	if err != nil {
		return g, err
	}
	defer p.feeder.client.Close()
	set, err := countSet(0)
	if err != nil {
		return g, err
	}
	if err := p.feeder.send(ctx, n, func(i int) ([]*kgo.Record, error) {
		r, err := p.feeder.measure(i, keyName(i), began)
		return []*kgo.Record{r}, err
	}); err != nil {
		return g, err
	}
	deployment, dir := b.prefix+"-"+name, filepath.Join(b.Dir, name)
	s, err := b.start(ctx, p, deployment, dir, set, b.Cadence)
	if err != nil {
		return g, err
	}
	defer func() {
		if stopErr := s.stop(); err == nil {
			err = stopErr
		}
	}()
	if err := b.awaitSettled(ctx, p, deployment); err != nil {
		return g, err
	}
	random := rand.New(rand.NewPCG(3, 4))
	started := time.Now()
	if err := p.feeder.send(ctx, growthRecords, func(i int) ([]*kgo.Record, error) {
		r, err := p.feeder.measure(n+i, keyName(random.IntN(n)), began+int64(i%1000))
		return []*kgo.Record{r}, err
	}); err != nil {
		return g, err
	}
	if err := b.awaitSettled(ctx, p, deployment); err != nil {
		return g, err
	}
	g = Growth{OpenWindows: n, RecordsPerSecond: growthRecords / time.Since(started).Seconds(), HeapBytes: heap()}
	g.StateBytes, err = size(dir)
	return g, err
}

// awaitSettled waits until the group has committed all that was fed.
func (b *bench) awaitSettled(ctx context.Context, p *place, deployment string) error {
	return until(ctx, "the last record", func() (bool, error) {
		return b.settled(ctx, p, deployment) >= p.feeder.sent, nil
	})
}

// heap is what lives on the heap of this process, the feeder's share included.
func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// size is what the files of a folder take.
func size(dir string) (int64, error) {
	n := int64(0)
	err := filepath.WalkDir(dir, func(_ string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		info, err := entry.Info()
		if os.IsNotExist(err) { // Compaction goes on.
			return nil
		}
		if err == nil {
			n += info.Size()
		}
		return err
	})
	return n, err
}
