package windowsbench

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"google.golang.org/protobuf/proto"

	"github.com/tintype/tintype/event/eventpb"
)

// Million is what many open windows cost, one a key: memory, recovery of the table
// and the index, and how closing some of them stands in the way of the flow.
type Million struct {
	OpenWindows int    `json:"open_windows"`
	HeapBytes   uint64 `json:"heap_bytes"`
	StateBytes  int64  `json:"state_bytes"`
	// Warm recovery is with the state directory of before, cold without any.
	WarmRecoverySeconds float64 `json:"warm_recovery_seconds"`
	ColdRecoverySeconds float64 `json:"cold_recovery_seconds"`
	// Closed windows took ClosingSeconds from the watermark to the last final result.
	Closed         int     `json:"closed"`
	ClosingSeconds float64 `json:"closing_seconds"`
	// The longest time without a result of a steady flow, before and while they closed.
	LongestGapBeforeMS  float64 `json:"longest_gap_before_ms"`
	LongestGapClosingMS float64 `json:"longest_gap_closing_ms"`
}

// probePause is how often the flow has a record.
const probePause = 5 * time.Millisecond

// quiet is how long the flow is watched before anything closes.
const quiet = 5 * time.Second

func (b *bench) million(ctx context.Context) error {
	p, err := b.place(ctx, "million")
	if err != nil {
		return err
	}
	defer p.feeder.client.Close()
	m := &Million{OpenWindows: b.Million, Closed: b.Million / 100}
	b.Progress(fmt.Sprintf("opening %d windows", m.OpenWindows))
	err = p.feeder.send(ctx, m.OpenWindows, func(i int) ([]*kgo.Record, error) {
		at := began // The first 1 % are in a window of their own, which will close.
		if i >= m.Closed {
			at += windowSize.Milliseconds()
		}
		r, err := p.feeder.measure(i, keyName(i), at)
		return []*kgo.Record{r}, err
	})
	if err != nil {
		return err
	}
	if err := b.opened(ctx, p, m); err != nil {
		return err
	}
	b.report.Million = m
	return nil
}

// opened runs the stage over the open windows: to the end, with a table that is there,
// and with none.
func (b *bench) opened(ctx context.Context, p *place, m *Million) error {
	deployment := b.prefix + "-million"
	dir := filepath.Join(b.Dir, "million")
	set, err := countSet(0)
	if err != nil {
		return err
	}
	recovered := func(dir string) (*stage, float64, error) {
		started := time.Now()
		s, err := b.start(ctx, p, deployment, dir, set, time.Millisecond)
		if err != nil {
			return nil, 0, err
		}
		if err := s.runner.AwaitReady(ctx); err != nil {
			return nil, 0, err
		}
		return s, time.Since(started).Seconds(), nil
	}
	s, _, err := recovered(dir)
	if err != nil {
		return err
	}
	if err := b.awaitSettled(ctx, p, deployment); err != nil {
		return err
	}
	m.HeapBytes = heap()
	if err := s.stop(); err != nil {
		return err
	}
	if m.StateBytes, err = size(dir); err != nil {
		return err
	}
	if s, m.ColdRecoverySeconds, err = recovered(dir + "-cold"); err != nil {
		return err
	}
	if err := s.stop(); err != nil {
		return err
	}
	if s, m.WarmRecoverySeconds, err = recovered(dir); err != nil {
		return err
	}
	b.Progress(fmt.Sprintf("recovered: cold %.1f s, warm %.1f s", m.ColdRecoverySeconds, m.WarmRecoverySeconds))
	if err := b.closing(ctx, p, m); err != nil {
		return err
	}
	return s.stop()
}

// closing watches a steady flow while windows close.
func (b *bench) closing(ctx context.Context, p *place, m *Million) error {
	w := &watcher{finals: make(chan struct{})}
	stop, err := w.watch(ctx, b, p, m.Closed)
	if err != nil {
		return err
	}
	defer stop()
	flow, cancel := context.WithCancel(ctx)
	defer cancel()
	var flowing sync.WaitGroup
	defer flowing.Wait()
	defer cancel()
	flowing.Go(func() { b.flow(flow, p) })
	select {
	case <-time.After(quiet):
	case <-ctx.Done():
		return ctx.Err()
	}
	m.LongestGapBeforeMS = w.restart()
	records, err := p.feeder.watermarks(began + windowSize.Milliseconds())
	if err != nil {
		return err
	}
	started := time.Now()
	if err := p.feeder.client.ProduceSync(ctx, records...).FirstErr(); err != nil {
		return err
	}
	select {
	case <-w.finals:
	case <-time.After(patience):
		return fmt.Errorf("the windows did not close")
	case <-ctx.Done():
		return ctx.Err()
	}
	m.ClosingSeconds = time.Since(started).Seconds()
	m.LongestGapClosingMS = w.restart()
	return nil
}

// flow sends a record of one key every few milliseconds, of a window that stays open.
func (b *bench) flow(ctx context.Context, p *place) {
	tick := time.NewTicker(probePause)
	defer tick.Stop()
	for i := 0; ; i++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		r, err := p.feeder.measure(i, probeKey, began+2*windowSize.Milliseconds())
		if err != nil {
			return
		}
		p.feeder.client.Produce(ctx, r, nil)
	}
}

const probeKey = "uploader:probe"

// A watcher reads the results: how long the flow's stay away, and when the last final
// one has come.
type watcher struct {
	finals chan struct{}

	mu      sync.Mutex
	last    time.Time
	longest time.Duration
	closed  int
}

func (w *watcher) watch(ctx context.Context, b *bench, p *place, finals int) (stop func(), err error) {
	ends, err := b.admin.ListEndOffsets(ctx, p.topics.WindowResults.Name)
	if err != nil {
		return nil, err
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(b.Brokers...), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.ConsumePartitions(ends.KOffsets()))
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() {
		for ctx.Err() == nil {
			client.PollFetches(ctx).EachRecord(func(r *kgo.Record) { w.take(r, finals) })
		}
	})
	return func() { cancel(); wg.Wait(); client.Close() }, nil
}

func (w *watcher) take(r *kgo.Record, finals int) {
	var result eventpb.WindowResult
	if proto.Unmarshal(r.Value, &result) != nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	if string(r.Key) == probeKey {
		if !w.last.IsZero() {
			w.longest = max(w.longest, now.Sub(w.last))
		}
		w.last = now
	}
	if result.Final {
		if w.closed++; w.closed == finals {
			close(w.finals)
		}
	}
}

// restart returns the longest time without a result of the flow, in ms, and begins
// anew.
func (w *watcher) restart() float64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	longest := max(w.longest, time.Since(w.last))
	w.longest, w.last = 0, time.Now()
	return float64(longest) / float64(time.Millisecond)
}
