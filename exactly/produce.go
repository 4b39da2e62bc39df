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

// SetValue writes a value of the group's table, nil to delete it, in the transaction that
// a hook BeforeCommit is about to see committed. For state that the caller keeps in
// memory between callbacks, this is once a key and transaction in place of once a
// record; a callback that reads the table sees it in the next transaction. The key's
// partition must be held.
func SetValue(ctx context.Context, key string, value []byte) error {
	s, ok := ctx.Value(turnKey{}).(*session)
	if !ok {
		return errors.New("exactly: set value: this is not the context of the hook BeforeCommit")
	}
	if size := len(key) + len(value); size > int(s.a.cfg.MaxMessageBytes) {
		return &OversizeError{Topic: s.a.tableName(), Key: key, Bytes: size, Max: int(s.a.cfg.MaxMessageBytes)}
	}
	st := s.a.tableOf(key)
	if st == nil {
		return fmt.Errorf("exactly: set value of %q: its partition of the table is not held", key)
	}
	if err := st.put(key, value); err != nil {
		return err
	}
	if s.a.cfg.Delivery != AtMostOnce {
		return nil // The commit writes it.
	}
	written := make(chan error, 1)
	s.a.cfg.Status.emits.Add(1)
	s.m.link.produce(ctx, record(st.topic, key, value, nil), func(r *kgo.Record, err error) {
		if err == nil {
			err = st.SetOffset(r.Offset)
		}
		written <- err
	})
	if err := <-written; err != nil {
		return fmt.Errorf("exactly: set value of %q: %w", key, err)
	}
	return nil
}

// turnKey is where the context of the hook BeforeCommit holds its session.
type turnKey struct{}
