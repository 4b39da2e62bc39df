package gokabench

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lovoo/goka"
	"github.com/lovoo/goka/codec"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Count is a stateful count by key: each record changes the table.
type Count struct {
	Records int `json:"records"`
	Bytes   int `json:"bytes"`
	Keys    int `json:"keys"`
	// Exactly and Stock are records a second of each round, from the first
	// callback until the group has committed all of them.
	Exactly []float64 `json:"exactly_records_per_second"`
	Stock   []float64 `json:"stock_records_per_second"`
	// ExactlyMedian over StockMedian is Ratio.
	ExactlyMedian float64 `json:"exactly_median"`
	StockMedian   float64 `json:"stock_median"`
	Ratio         float64 `json:"ratio"`
	// CPU is the processor time of this process a record, in microseconds, the
	// median of the rounds; the broker's is not in it.
	ExactlyCPU float64 `json:"exactly_cpu_us_per_record"`
	StockCPU   float64 `json:"stock_cpu_us_per_record"`
}

func (b *bench) count(ctx context.Context) ([]Count, error) {
	var counts []Count
	for _, size := range b.CountBytes {
		in, err := b.create(ctx, "count")
		if err != nil {
			return nil, err
		}
		values := texts(size)
		b.Progress(fmt.Sprintf("count: writing %d records of %d bytes", b.CountRecords, size))
		err = fill(ctx, b.client, b.CountRecords, func(i int) *kgo.Record {
			return &kgo.Record{Topic: in, Key: []byte("k" + strconv.Itoa(i%b.CountKeys)), Value: values[i%len(values)]}
		})
		if err != nil {
			return nil, err
		}
		c := Count{Records: b.CountRecords, Bytes: size, Keys: b.CountKeys}
		rates, cpus := map[string][]float64{}, map[string][]float64{}
		for round := range b.Rounds {
			for _, side := range turns(round, adapter, stock) {
				rate, cpu, err := b.countOnce(ctx, side, in)
				if err != nil {
					return nil, fmt.Errorf("%s: %w", side, err)
				}
				b.Progress(fmt.Sprintf("count, %d bytes, round %d, %s: %.0f records/s", size, round+1, side, rate))
				rates[side], cpus[side] = append(rates[side], rate), append(cpus[side], cpu)
			}
		}
		c.Exactly, c.Stock = rates[adapter], rates[stock]
		c.ExactlyMedian, c.StockMedian = median(c.Exactly), median(c.Stock)
		c.Ratio = c.ExactlyMedian / c.StockMedian
		c.ExactlyCPU, c.StockCPU = median(cpus[adapter]), median(cpus[stock])
		counts = append(counts, c)
	}
	return counts, nil
}

// texts are a few values that compress about as text does.
func texts(size int) [][]byte {
	const digits = "0123456789abcdef"
	random := rand.New(rand.NewPCG(1, 2))
	list := make([][]byte, 1000)
	for i := range list {
		list[i] = make([]byte, size)
		for k := range list[i] {
			list[i][k] = digits[random.IntN(len(digits))]
		}
	}
	return list
}

// countOnce counts the whole topic as a new group, and returns records a second
// and processor microseconds a record.
func (b *bench) countOnce(ctx context.Context, side, in string) (rate, cpu float64, err error) {
	dir, removed, err := b.tempDir()
	if err != nil {
		return 0, 0, err
	}
	defer removed(&err)
	group := b.name("count-" + side)
	var calls atomic.Int64
	var began time.Time
	var used time.Duration
	first := sync.OnceFunc(func() { began, used = time.Now(), cpuTime() })
	graph := goka.DefineGroup(goka.Group(group),
		goka.Input(goka.Stream(in), new(codec.Bytes), func(c goka.Context, _ any) {
			first()
			n, _ := c.Value().(int64)
			c.SetValue(n + 1)
			calls.Add(1)
		}), goka.Persist(new(codec.Int64)))
	m, err := b.start(ctx, role{side: side, instance: "a", dir: dir}, graph)
	if err != nil {
		return 0, 0, err
	}
	defer m.finish(&err)
	if err := m.await(ctx); err != nil {
		return 0, 0, err
	}
	want := int64(b.CountRecords)
	err = until(ctx, "all records to be committed", func() (bool, error) {
		done, err := b.committed(ctx, group, in)
		return done == want, err
	})
	ended := time.Now()
	if err != nil {
		return 0, 0, err
	}
	if n := calls.Load(); n != want {
		return 0, 0, fmt.Errorf("%d callbacks for %d records", n, want)
	}
	return float64(want) / ended.Sub(began).Seconds(), float64((cpuTime() - used).Microseconds()) / float64(want), nil
}
