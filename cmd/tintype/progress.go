package main

import (
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
)

// progress shows how far an uploading is: as bars on a terminal, elsewhere as a
// line now and then.
type progress struct {
	// acked counts the uploads acknowledged.
	acked atomic.Int64

	w     io.Writer
	total int64 // 0: unknown
	// queryable counts the rows; nil where nobody waits for them.
	queryable func() int
	// bars are nil off a terminal.
	bars               *mpb.Progress
	uploaded, finished *mpb.Bar

	stop chan struct{}
	done sync.WaitGroup
	once sync.Once
}

// How often progress is shown.
const (
	barInterval  = 100 * time.Millisecond
	lineInterval = 2 * time.Second
)

// showProgress shows until end is called.
func showProgress(w io.Writer, total int64, queryable func() int) *progress {
	p := &progress{w: w, total: total, queryable: queryable, stop: make(chan struct{})}
	interval := lineInterval
	if file, ok := terminal(w); ok {
		interval = barInterval
		p.bars = mpb.New(mpb.WithOutput(file), mpb.WithWidth(40), mpb.WithRefreshRate(barInterval))
		p.uploaded = p.bar("uploaded")
		if queryable != nil {
			p.finished = p.bar("queryable")
		}
	}
	p.done.Go(func() {
		tick := time.NewTicker(interval)
		defer tick.Stop()
		last := ""
		for {
			select {
			case <-p.stop:
				return
			case <-tick.C:
			}
			if p.bars != nil {
				p.set()
			} else if line := p.line(); line != last {
				last = line
				p.println(line)
			}
		}
	})
	return p
}

func terminal(w io.Writer) (*os.File, bool) {
	file, ok := w.(*os.File)
	if !ok {
		return nil, false
	}
	info, err := file.Stat()
	return file, err == nil && info.Mode()&os.ModeCharDevice != 0
}

func (p *progress) bar(name string) *mpb.Bar {
	return p.bars.AddBar(p.total,
		mpb.PrependDecorators(decor.Name(name, decor.WC{W: 10, C: decor.DindentRight}), decor.CountersNoUnit("%d / %d", decor.WCSyncSpace)),
		mpb.AppendDecorators(decor.AverageSpeed(0, "%.0f/s")))
}

// set brings the bars up to date. Without a total, what was acknowledged is it.
func (p *progress) set() {
	acked := p.acked.Load()
	if p.total == 0 {
		p.uploaded.SetTotal(acked, false)
	}
	p.uploaded.SetCurrent(acked)
	if p.finished != nil {
		if p.total == 0 {
			p.finished.SetTotal(acked, false)
		}
		p.finished.SetCurrent(int64(p.queryable()))
	}
}

func (p *progress) line() string {
	line := fmt.Sprintf("tintype: uploaded %d", p.acked.Load())
	if p.total > 0 {
		line += fmt.Sprintf(" of %d", p.total)
	}
	if p.queryable != nil {
		line += fmt.Sprintf(", queryable %d", p.queryable())
	}
	return line
}

// println writes a line, above the bars where there are some.
func (p *progress) println(line string) {
	w := p.w
	if p.bars != nil {
		w = p.bars
	}
	_, _ = fmt.Fprintln(w, line) // There is nowhere else to say it.
}

// end stops showing, with the last state left on the screen.
func (p *progress) end() {
	p.once.Do(func() {
		close(p.stop)
		p.done.Wait()
		if p.bars == nil {
			return
		}
		p.set()
		for _, bar := range []*mpb.Bar{p.uploaded, p.finished} {
			if bar != nil {
				bar.SetTotal(-1, true)
			}
		}
		p.bars.Wait()
	})
}
