package exactly

import (
	"context"
	"fmt"
	"sync"

	"github.com/lovoo/goka"
	"github.com/twmb/franz-go/pkg/kgo"
)

// A key that a transaction changes several times needs one record in the
// changelog, the last. So changes are held until the end of the turn, and written
// then, one a key: a count over few keys runs half as fast again for it.
//
// The first changes of a turn go out at once. Where little is to do they are all
// there is, and their acknowledgements have come when the turn ends. At most once
// holds nothing: what it commits before a turn is lost with the turn.
const earlyChanges = 16

// hold reports whether the record of a change waits for the end of the turn. goka
// has put the change into the store just before.
func (a *Adapter) hold(key string, headers goka.Headers) bool {
	if a.cfg.Delivery == AtMostOnce {
		return false
	}
	st := a.tableOf(key)
	return st != nil && st.hold(key, headers)
}

// tableOf is the open partition of the group's table that a key belongs to; nil: it is
// not held.
func (a *Adapter) tableOf(key string) *store {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.stores) == 0 {
		return nil
	}
	return a.stores[a.route([]byte(key), a.spread)]
}

func (s *store) hold(key string, headers goka.Headers) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, ok := s.overlay[key]
	if !ok {
		return false
	}
	held := s.early == 0
	if !held {
		s.early--
	}
	if !held || len(headers) > 0 {
		c.headers, c.logged = headers, !held
		s.overlay[key] = c
	}
	return held
}

// pending makes the records of the changes that the changelog does not have.
func (s *store) pending() []*kgo.Record {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var records []*kgo.Record
	for key, c := range s.overlay {
		if !c.logged {
			records = append(records, record(s.topic, key, c.value, c.headers))
		}
	}
	return records
}

// writeChangelog writes what was held and returns once all is acknowledged: then
// each store knows how far its changelog goes.
func (a *Adapter) writeChangelog(ctx context.Context, l link) error {
	var (
		mu     sync.Mutex
		failed error
	)
	for _, st := range a.openStores() {
		done := func(r *kgo.Record, err error) {
			if err == nil {
				err = st.SetOffset(r.Offset)
			}
			mu.Lock()
			defer mu.Unlock()
			if failed == nil {
				failed = err
			}
		}
		records := st.pending()
		a.cfg.Status.emits.Add(uint64(len(records)))
		for _, r := range records {
			l.produce(ctx, r, done)
		}
	}
	if err := l.client().Flush(ctx); err != nil {
		return fmt.Errorf("write the changelog: %w", err)
	}
	mu.Lock()
	defer mu.Unlock()
	if failed != nil {
		return fmt.Errorf("write the changelog: %w", failed)
	}
	return nil
}
