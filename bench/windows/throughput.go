package windowsbench

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tintype/tintype/transform/window"
)

// Throughput is a windowed count by key, in records a second from the first commit's
// start to the commit of the last record; beside it the peer's.
type Throughput struct {
	Records      int       `json:"records"`
	Keys         int       `json:"keys"`
	Tintype      []float64 `json:"tintype"`
	Peer         []float64 `json:"kafka_streams,omitempty"`
	PeerSettings string    `json:"kafka_streams_settings,omitempty"`
	// Ratio is of the medians.
	TintypeMedian float64 `json:"tintype_median"`
	PeerMedian    float64 `json:"kafka_streams_median,omitempty"`
	Ratio         float64 `json:"ratio,omitempty"`
}

// began is the event time of the first record.
const began = int64(1_767_225_600_000) // 2026-01-01

// recordsPerSecond of event time: so many records are in a window, over all keys.
const recordsPerMS = 10

// countSet counts by uploader in tumbling windows.
func countSet(grace time.Duration) (*window.Set, error) {
	return window.NewSet([]window.Aggregate{{Spec: window.NewTumbling(windowSize, grace), Dimension: "uploader", Measures: window.BytesIn}})
}

func (b *bench) throughput(ctx context.Context) error {
	p, err := b.place(ctx, "count")
	if err != nil {
		return err
	}
	defer p.feeder.client.Close()
	b.Progress(fmt.Sprintf("writing %d records of %d keys", b.Records, b.Keys))
	random := rand.New(rand.NewPCG(1, 2))
	err = p.feeder.send(ctx, b.Records, func(i int) ([]*kgo.Record, error) {
		at := began + int64(i/recordsPerMS)
		r, err := p.feeder.measure(i, keyName(random.IntN(b.Keys)), at)
		if err != nil || i%(recordsPerMS*1000) != 0 {
			return []*kgo.Record{r}, err
		}
		marks, err := p.feeder.watermarks(at)
		return append(marks, r), err
	})
	if err != nil {
		return err
	}
	t := &Throughput{Records: b.Records, Keys: b.Keys}
	for round := range b.Rounds {
		rate, err := b.count(ctx, p, fmt.Sprintf("%s-count-%d", b.prefix, round))
		if err != nil {
			return err
		}
		t.Tintype = append(t.Tintype, rate)
		b.Progress(fmt.Sprintf("round %d: tintype %.0f records/s", round+1, rate))
		if b.Peer == nil {
			continue
		}
		output := fmt.Sprintf("%s-counts-%d", b.prefix, round)
		if _, err := b.admin.CreateTopic(ctx, int32(b.Partitions), 1, nil, output); err != nil {
			return fmt.Errorf("create topic %s: %w", output, err)
		}
		run, err := b.Peer(ctx, PeerJob{
			Brokers: strings.Join(b.Brokers, ","), Input: p.topics.Measures.Name, Output: output, Application: fmt.Sprintf("%s-streams-%d", b.prefix, round),
			Spec: window.NewTumbling(windowSize, 0), Commit: b.Commit, Records: int(p.feeder.sent),
		})
		if err != nil {
			return err
		}
		t.Peer, t.PeerSettings = append(t.Peer, run.RecordsPerSecond), run.Settings
		b.Progress(fmt.Sprintf("round %d: Kafka Streams %.0f records/s", round+1, run.RecordsPerSecond))
	}
	t.TintypeMedian = median(t.Tintype)
	if len(t.Peer) > 0 {
		t.PeerMedian = median(t.Peer)
		t.Ratio = t.TintypeMedian / t.PeerMedian
	}
	b.report.Throughput = t
	return nil
}

// count runs the stage once over all records, from readiness on.
func (b *bench) count(ctx context.Context, p *place, deployment string) (rate float64, err error) {
	set, err := countSet(0)
	if err != nil {
		return 0, err
	}
	s, err := b.start(ctx, p, deployment, filepath.Join(b.Dir, deployment), set, b.Cadence)
	if err != nil {
		return 0, err
	}
	defer func() {
		if stopErr := s.stop(); err == nil {
			err = stopErr
		}
	}()
	if err := s.runner.AwaitReady(ctx); err != nil {
		return 0, err
	}
	started := time.Now()
	if err := until(ctx, "the last record", func() (bool, error) {
		return b.settled(ctx, p, deployment) >= p.feeder.sent, nil
	}); err != nil {
		return 0, err
	}
	return float64(p.feeder.sent) / time.Since(started).Seconds(), nil
}
