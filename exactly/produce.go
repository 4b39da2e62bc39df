package exactly

import (
	"context"
	"errors"
	"fmt"

	"github.com/lovoo/goka"
	"github.com/twmb/franz-go/pkg/kgo"
)

// A Record is written by [Produce].
type Record struct {
	Topic, Key string
	Value      []byte
	Headers    goka.Headers
}

// Produce writes records in the transaction that a hook BeforeCommit is about to see
// committed, and waits until the brokers have them. ctx is the hook's, or comes of
// it. A record's partition is its key's. An error is the hook's to return: part of
// the records may be there, and only an abort takes them back.
func Produce(ctx context.Context, records ...Record) error {
	s, ok := ctx.Value(turnKey{}).(*session)
	if !ok {
		return errors.New("exactly: produce: this is not the context of the hook BeforeCommit")
	}
	errs := make(chan error, len(records))
	for _, r := range records {
		if size := len(r.Key) + len(r.Value); size > int(s.a.cfg.MaxMessageBytes) {
			errs <- &OversizeError{Topic: r.Topic, Key: r.Key, Bytes: size, Max: int(s.a.cfg.MaxMessageBytes)}
			continue
		}
		s.a.cfg.Status.emits.Add(1)
		s.m.link.produce(ctx, record(r.Topic, r.Key, r.Value, r.Headers), func(r *kgo.Record, err error) {
			if err != nil {
				err = fmt.Errorf("exactly: produce to %s: %w", r.Topic, err)
			}
			errs <- err
		})
	}
	var all []error
	for range records {
		all = append(all, <-errs) // Each promise is kept, at the latest when ctx ends.
	}
	return errors.Join(all...)
}

// turnKey is where the context of the hook BeforeCommit holds its session.
type turnKey struct{}
