package produce

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/semaphore"

	"github.com/tintype/tintype/event"
)

// Run sends a source's photos, in order, and returns when each is acknowledged
// or failed. A photo that cannot be read, stored or sent is counted as failed
// and told to OnFail; the rest goes on.
//
// When ctx ends, Run sends no more, waits for what is in flight and returns the
// cause of ctx. When the brokers refuse to take uploads at all, or do not
// answer, it stops and returns that error. It does not wait for a source that
// blocks: one that reads a terminal may stay in its read.
func Run(ctx context.Context, c Config, source Source) (Summary, error) {
	c, err := c.withDefaults()
	if err != nil {
		return Summary{}, err
	}
	begin := time.Now()
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	r := &run{
		Config: c, stop: stop, pacer: newPacer(c.Rate), slots: make(chan struct{}, c.MaxInFlight),
		memory: semaphore.NewWeighted(c.MaxBytes), flight: semaphore.NewWeighted(c.MaxBytes),
		workers: semaphore.NewWeighted(int64(c.Workers)),
	}
	r.watchdog = time.AfterFunc(time.Hour, r.silent)
	r.watchdog.Stop()

	items := make(chan chan *prepared, c.Workers)
	go r.prepareAll(ctx, source, items)
	err = r.sendAll(ctx, items)
	r.drain(ctx)
	// With all workers in hand no photo is read or stored any more.
	if waitErr := r.workers.Acquire(context.WithoutCancel(ctx), int64(c.Workers)); waitErr != nil {
		err = errors.Join(err, waitErr)
	}
	summary, fatal := r.finish()
	summary.Elapsed = time.Since(begin)
	if fatal != nil {
		return summary, fatal
	}
	if err == nil && summary.Unknown > 0 {
		err = context.Cause(ctx)
	}
	return summary, err
}

// run is one call of [Run].
type run struct {
	Config
	stop context.CancelCauseFunc
	// memory holds the bytes of photos that are not sent yet, flight those of
	// records in flight. They are two, since a record waits for room in flight
	// while the photos behind it hold all of memory.
	memory, flight *semaphore.Weighted
	// workers holds one token for each item being prepared.
	workers *semaphore.Weighted
	// slots holds one token for each upload in flight.
	slots chan struct{}
	pacer *pacer
	// watchdog runs while uploads are in flight, and barks at silence.
	watchdog *time.Timer

	mu       sync.Mutex
	inFlight int
	summary  Summary
	fatal    error
	finished bool
}

// errSilent is what a run that lost the brokers ends with.
var errSilent = errors.New("produce: the brokers acknowledge nothing")

func (r *run) silent() { r.abort(fmt.Errorf("%w for %s", errSilent, r.AckTimeout)) }

// abort stops the run for an error that is not about one photo alone.
func (r *run) abort(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.fatal == nil && !r.finished {
		r.fatal = err
	}
	r.stop(err)
}

// sendAll sends items as they become ready.
func (r *run) sendAll(ctx context.Context, items <-chan chan *prepared) error {
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case ready, ok := <-items:
			if !ok {
				return context.Cause(ctx)
			}
			p := <-ready
			err := r.sendItem(ctx, p)
			r.memory.Release(p.weight)
			if err != nil {
				return err
			}
		}
	}
}

// sendItem sends an item as often as it is to be sent.
func (r *run) sendItem(ctx context.Context, p *prepared) error {
	if p.err != nil {
		if cause := context.Cause(ctx); cause != nil {
			return cause // The end of ctx is not the photo's failure.
		}
		r.fail(Failed{File: p.Name, UploadID: p.UploadID, Err: p.err})
		return nil
	}
	for k := range r.Repeat {
		if err := r.pacer.wait(ctx); err != nil {
			return err
		}
		select {
		case r.slots <- struct{}{}:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		if err := r.send(ctx, p, p.first+k); err != nil {
			return err
		}
	}
	return nil
}

// send hands upload n to the client. It owns a slot and gives it back when the
// upload is acknowledged or failed. Its error is the end of ctx.
func (r *run) send(ctx context.Context, p *prepared, n int) error {
	id := p.UploadID
	if id == "" {
		id = r.UploadIDs(n)
	}
	uploader := p.Uploader
	if uploader == "" {
		uploader = r.Uploader
	}
	sentAt := r.Now()
	uploadedAt := p.UploadedAt
	if uploadedAt.IsZero() {
		uploadedAt = sentAt
	}
	value, err := r.encode(p, id, uploader, uploadedAt.UnixMilli())
	if err != nil {
		<-r.slots
		r.fail(Failed{File: p.Name, UploadID: id, Err: err})
		return nil //nolint:nilerr // The photo failed, not the run.
	}
	weight := min(int64(len(value)), r.MaxBytes)
	if r.flight.Acquire(ctx, weight) != nil {
		<-r.slots
		return context.Cause(ctx)
	}
	r.sent()
	record := &kgo.Record{Topic: r.Topic, Key: []byte(id), Value: value}
	// What is in flight is finished after ctx has ended.
	r.Client.Produce(context.WithoutCancel(ctx), record, func(record *kgo.Record, err error) {
		defer func() { r.flight.Release(weight); <-r.slots }()
		if err != nil {
			r.answered(nil, &Failed{File: p.Name, UploadID: id, Err: r.explain(p, err)})
			return
		}
		r.answered(&Acked{
			UploadID: id, Partition: record.Partition, Offset: record.Offset, File: p.Name, Bytes: p.bytes, Carry: p.carry(),
			UploadedAt: uploadedAt.UTC(), SentAt: sentAt,
		}, nil)
	})
	return nil
}

// encode makes the record's value, or tells why there can be none.
func (r *run) encode(p *prepared, id, uploader string, uploadedAtMS int64) ([]byte, error) {
	if len(id) == 0 || len(id) > event.MaxUploadIDBytes || !utf8.ValidString(id) {
		return nil, fmt.Errorf("produce: send %s: upload id %q: want 1 to %d bytes of UTF-8", p.Name, id, event.MaxUploadIDBytes)
	}
	value, err := r.Codec.Encode(p.upload(id, uploader, uploadedAtMS))
	if err != nil {
		return nil, fmt.Errorf("produce: send %s: %w", p.Name, err)
	}
	if len(value) > event.MaxUploadRecordBytes-recordOverhead/2 {
		return nil, tooLargeInline(p, nil)
	}
	return value, nil
}

// explain turns the client's error into the file's, and stops the run where
// the error is not about this file alone.
func (r *run) explain(p *prepared, err error) error {
	if errors.Is(err, kerr.MessageTooLarge) {
		return tooLargeInline(p, err)
	}
	err = fmt.Errorf("produce: send %s: %w", p.Name, err)
	r.abort(err)
	return err
}

func tooLargeInline(p *prepared, cause error) error {
	err := fmt.Errorf("produce: send %s: %d bytes do not fit into one record; --carry reference sends it by way of the blob store", p.Name, p.bytes)
	if cause != nil {
		err = fmt.Errorf("%w (%w)", err, cause)
	}
	return err
}
