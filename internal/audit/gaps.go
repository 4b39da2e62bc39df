package audit

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/errgroup"

	"github.com/tintype/tintype/event"
	"github.com/tintype/tintype/exactly"
)

const (
	// nearGaps is how few offsets may lie between two gaps that are read at once.
	nearGaps = 64
	// gapReaders is how many gaps are read at a time.
	gapReaders = 8
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
	found := make([]contents, 0, len(readable))
	readers, ctx := errgroup.WithContext(ctx)
	readers.SetLimit(gapReaders)
	for len(readable) > 0 {
		n := 1
		for n < len(readable) && readable[n].from-readable[n-1].end < nearGaps {
			n++
		}
		gaps, i := readable[:n], len(found)
		readable, found = readable[n:], append(found, contents{})
		readers.Go(func() (err error) {
			found[i], err = f.read(ctx, key, gaps, under)
			return err
		})
	}
	if err := readers.Wait(); err != nil {
		return err
	}
	var examples []Difference
	for _, c := range found {
		p.Markers, p.Aborted, p.Pending, p.Missing = p.Markers+c.markers, p.Aborted+c.aborted, p.Pending+c.pending, p.Missing+c.missing
		examples = append(examples, c.examples[:min(len(c.examples), maxExamples-min(len(examples), maxExamples))]...)
	}
	f.report.add(Missing, uint64(p.Missing), examples...)
	return nil
}

// contents are what the log holds at offsets without rows.
type contents struct {
	markers, aborted, pending, missing int64
	examples                           []Difference
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
		for next < len(gaps) && r.Offset >= gaps[next].end {
			next++
		}
		if next == len(gaps) || r.Offset < gaps[next].from {
			return
		}
		c.aborted--
		switch {
		case r.Attrs.IsControl():
			c.markers++
		case under.has(event.Position{TopicID: key.topic, Partition: key.partition, Offset: r.Offset}):
			c.pending++
		default:
			c.missing++
			if len(c.examples) < maxExamples {
				c.examples = append(c.examples, Difference{
					Kind: Missing, Table: "uploads", Position: position(key, r.Offset),
					Detail: fmt.Sprintf("key %q, appended %s", r.Key[:min(len(r.Key), 80)], r.Timestamp.UTC().Format("2006-01-02T15:04:05.000Z")),
				})
			}
		}
	})
	return c, err
}
