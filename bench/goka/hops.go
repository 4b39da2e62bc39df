package gokabench

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/lovoo/goka"
	"github.com/lovoo/goka/codec"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Hops is the time of a record through three processors, each with a table, from
// before it is produced until a reader of committed records has it.
type Hops struct {
	Rate float64 `json:"records_per_second"`
	// Exactly commits when drained, with the settings of the count; Fixed is the
	// same but commits no sooner than its commit interval; Stock promises at
	// least once only.
	Exactly Latency `json:"exactly"`
	Fixed   Latency `json:"exactly_fixed_interval"`
	Stock   Latency `json:"stock_at_least_once"`
	// P99OverFixed is Exactly's p99 over Fixed's.
	P99OverFixed float64 `json:"p99_over_fixed"`
}

// Latency is in milliseconds, over all rounds.
type Latency struct {
	Records int     `json:"records"`
	P50MS   float64 `json:"p50_ms"`
	P99MS   float64 `json:"p99_ms"`
	MaxMS   float64 `json:"max_ms"`
	// RoundP99MS is the p99 of each round.
	RoundP99MS []float64 `json:"round_p99_ms"`
}

const (
	hopCount = 3
	hopKeys  = 100
	// fixed is the adapter with a Linger of its commit interval.
	fixed = "exactly, fixed interval"
)

func (b *bench) hops(ctx context.Context) (*Hops, error) {
	latencies, p99 := map[string][]float64{}, map[string][]float64{}
	for round := range b.Rounds {
		for _, side := range turns(round, adapter, fixed, stock) {
			ms, err := b.hopsOnce(ctx, side)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", side, err)
			}
			p99[side] = append(p99[side], quantile(ms, 0.99))
			latencies[side] = append(latencies[side], ms...)
			b.Progress(fmt.Sprintf("hops, round %d, %s: p50 %.0f ms, p99 %.0f ms", round+1, side, median(ms), quantile(ms, 0.99)))
		}
	}
	of := func(side string) Latency {
		all := latencies[side]
		return Latency{Records: len(all), P50MS: median(all), P99MS: quantile(all, 0.99), MaxMS: slices.Max(all), RoundP99MS: p99[side]}
	}
	h := &Hops{Rate: b.HopRate, Exactly: of(adapter), Fixed: of(fixed), Stock: of(stock)}
	h.P99OverFixed = h.Exactly.P99MS / h.Fixed.P99MS
	return h, nil
}

// hopsOnce returns the latency of each record in milliseconds.
func (b *bench) hopsOnce(ctx context.Context, side string) (latencies []float64, err error) {
	r := role{side: side, instance: "a"}
	if side == fixed {
		r.side, r.linger = adapter, b.CommitInterval
	}
	var topics []string
	for range hopCount + 1 {
		topic, err := b.create(ctx, "hop")
		if err != nil {
			return nil, err
		}
		topics = append(topics, topic)
	}
	for i := range hopCount {
		dir, removed, err2 := b.tempDir()
		if err2 != nil {
			return nil, err2
		}
		defer removed(&err)
		r.dir = dir
		m, err2 := b.start(ctx, r, hop(b.name("hop-group"), topics[i], topics[i+1]))
		if err2 != nil {
			return nil, err2
		}
		defer m.finish(&err)
		if err := m.await(ctx); err != nil {
			return nil, err
		}
	}
	n := max(int(b.HopRate*b.HopTime.Seconds()), 1)
	warm := min(n/10+1, int(b.HopRate)) // Connections, and how long a record takes.
	var mu sync.Mutex
	total, all := 0, make(chan struct{})
	stop, err := b.sink(ctx, topics[hopCount], func(r *kgo.Record, at time.Time) {
		mu.Lock()
		defer mu.Unlock()
		if total++; total > warm {
			latencies = append(latencies, milliseconds(at.Sub(sentAt(r))))
		}
		if total == warm+n {
			close(all)
		}
	})
	if err != nil {
		return nil, err
	}
	defer stop()
	if err := b.pace(ctx, topics[0], b.HopRate, warm+n); err != nil {
		return nil, err
	}
	select {
	case <-all:
	case <-time.After(patience):
		return nil, errors.New("not all records came through")
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	mu.Lock()
	defer mu.Unlock()
	return slices.Clone(latencies), nil
}

// hop passes records on and counts them.
func hop(group, in, out string) *goka.GroupGraph {
	return goka.DefineGroup(goka.Group(group),
		goka.Input(goka.Stream(in), new(codec.Bytes), func(c goka.Context, value any) {
			n, _ := c.Value().(int64)
			c.SetValue(n + 1)
			c.Emit(goka.Stream(out), c.Key(), value)
		}),
		goka.Output(goka.Stream(out), new(codec.Bytes)), goka.Persist(new(codec.Int64)))
}

// sentAt is when a record of pace was due.
func sentAt(r *kgo.Record) time.Time { return time.Unix(0, int64(binary.BigEndian.Uint64(r.Value))) }

// pace sends n records at a rate, each with the time at which it was due: what
// waits for its turn is late.
func (b *bench) pace(ctx context.Context, topic string, rate float64, n int) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(b.Brokers...), kgo.ProducerLinger(0), kgo.RecordPartitioner(kgo.StickyKeyPartitioner(nil)))
	if err != nil {
		return fmt.Errorf("create client: %w", err)
	}
	defer client.Close()
	var mu sync.Mutex
	var failed error
	began := time.Now()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for i := range n {
		due := began.Add(time.Duration(float64(i) / rate * float64(time.Second)))
		timer.Reset(time.Until(due))
		select {
		case <-timer.C:
		case <-ctx.Done():
			return ctx.Err()
		}
		value := binary.BigEndian.AppendUint64(nil, uint64(due.UnixNano()))
		client.Produce(ctx, &kgo.Record{Topic: topic, Key: []byte("k" + strconv.Itoa(i%hopKeys)), Value: value}, func(_ *kgo.Record, err error) {
			mu.Lock()
			defer mu.Unlock()
			failed = errors.Join(failed, err)
		})
	}
	if err := client.Flush(ctx); err != nil {
		return fmt.Errorf("send: %w", err)
	}
	mu.Lock()
	defer mu.Unlock()
	return failed
}
