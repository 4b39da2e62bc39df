package audit

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/errgroup"

	"github.com/tintype/tintype/event"
	"github.com/tintype/tintype/exactly"
)

const (
	// Two gaps are read at once where less than nearBytes of records lie between
	// them, by the records that were read last; until then, less than nearGaps.
	nearBytes, nearGaps = 1 << 20, 64
	// gapReaders is how many gaps are read at a time.
	gapReaders = 8
	// maxGaps bounds how many gaps are read at once, so that all readers have some.
	maxGaps = 1000
	// The least that a request reads keeps a short gap from fetching the photos
	// behind it.
	gapFetchBytesMin, gapFetchBytesMax = 64 << 10, 8 << 20
)

// explain tells why the offsets of a partition's gaps have no row.
func (f *fates) explain(ctx context.Context, key partitionKey, p *Partition, under origins) error {
	if p.Gone {
		for _, g := range f.gaps[key] {
			p.Unverified += g.end - g.from
		}
		return nil
	}
	b := f.log.partitions[key.partition]
	p.Pending = max(b.end-max(p.End, b.start), 0)
	var readable []gap
	for _, g := range f.gaps[key] {
		if g.from < b.start {
			p.Expired += min(g.end, b.start) - g.from
			g.from = min(g.end, b.start)
		}
		if g.from < g.end {
			readable = append(readable, g)
		}
	}
	var (
		mu       sync.Mutex
		examples []missed
	)
	readers, ctx := errgroup.WithContext(ctx)
	readers.SetLimit(gapReaders)
	var recordBytes atomic.Int64
	for len(readable) > 0 {
		near := int64(nearGaps)
		if size := recordBytes.Load(); size > 0 {
			near = max(near, nearBytes/size)
		}
		n := 1
		for n < len(readable) && n < maxGaps && readable[n].from-readable[n-1].end < near {
			n++
		}
		gaps := readable[:n]
		readable = readable[n:]
		readers.Go(func() error {
			c, err := f.read(ctx, key, gaps, under)
			if c.records > 0 {
				recordBytes.Store(max(c.bytes/c.records, 1))
			}
			mu.Lock()
			defer mu.Unlock()
			p.Markers, p.Aborted, p.Pending, p.Missing = p.Markers+c.markers, p.Aborted+c.aborted, p.Pending+c.pending, p.Missing+c.missing
			p.Ticks += uint64(c.refusedTicks)
			if len(examples) < gapReaders*maxExamples {
				examples = append(examples, c.examples...)
			}
			return err
		})
	}
	if err := readers.Wait(); err != nil {
		return err
	}
	slices.SortFunc(examples, func(a, b missed) int { return cmp.Compare(a.offset, b.offset) })
	named := make([]Difference, 0, maxExamples)
	for _, m := range examples[:min(len(examples), maxExamples)] {
		named = append(named, Difference{Kind: Missing, Table: m.table, Position: position(key, m.offset), Detail: m.what})
	}
	f.report.add(Missing, uint64(p.Missing), named...)
	return nil
}

// A missed record is one without a row in its table.
type missed struct {
	offset      int64
	table, what string
}

// missedOf is an upload, or a tick, that was missed.
func missedOf(r *kgo.Record) missed {
	appended := r.Timestamp.UTC().Format("2006-01-02T15:04:05.000Z")
	if controlOf(r) == event.ControlTick {
		return missed{r.Offset, "ticks", "a tick, appended " + appended}
	}
	return missed{r.Offset, "uploads", fmt.Sprintf("key %q, appended %s", r.Key[:min(len(r.Key), 80)], appended)}
}

// contents are what the log holds at offsets without rows.
type contents struct {
	markers, aborted, pending, missing int64
	// refusedTicks are those that have a dead letter in place of their row.
	refusedTicks int64
	examples     []missed
	// records and bytes are those that were read, between the gaps, too.
	records, bytes int64
}

// read reads gaps that lie near each other back from the log.
func (f *fates) read(ctx context.Context, key partitionKey, gaps []gap, under origins) (c contents, err error) {
	for _, g := range gaps {
		c.aborted += g.end - g.from // Whatever is not found.
	}
	in := exactly.Range{Topic: f.log.name, Partition: key.partition, From: gaps[0].from, End: gaps[len(gaps)-1].end}
	in.FetchBytes = int32(min(max((in.End-in.From)<<10, gapFetchBytesMin), gapFetchBytesMax))
	next := 0
	err = exactly.Scan(ctx, f.options.Kafka, in, func(r *kgo.Record) {
		c.records, c.bytes = c.records+1, c.bytes+int64(len(r.Key)+len(r.Value))
		for next < len(gaps) && r.Offset >= gaps[next].end {
			next++
		}
		if next == len(gaps) || r.Offset < gaps[next].from {
			return
		}
		c.aborted--
		at := event.Position{TopicID: key.topic, Partition: key.partition, Offset: r.Offset}
		switch {
		case r.Attrs.IsControl():
			c.markers++
		case controlOf(r) == event.ControlTick && f.refusedTicks[at]:
			c.refusedTicks++
		case under.has(at):
			c.pending++
		default:
			c.missing++
			if len(c.examples) < maxExamples {
				c.examples = append(c.examples, missedOf(r))
			}
		}
	})
	return c, err
}
