package topologies

import (
	"context"
	"fmt"

	"golang.org/x/sync/semaphore"
)

// memory is what the photos in hand may hold in this process, all stages
// together: their bytes, and what rendering them takes.
type memory struct {
	bytes *semaphore.Weighted
	limit int64
}

func newMemory(limit int64) *memory {
	return &memory{bytes: semaphore.NewWeighted(limit), limit: limit}
}

// take waits for room for n bytes, or for all of the room where n is more, and
// returns what gives it back. Whoever has taken some takes no more: two who did
// could wait for each other.
func (m *memory) take(ctx context.Context, n int64) (release func(), err error) {
	n = min(n, m.limit)
	if err := m.bytes.Acquire(ctx, n); err != nil {
		return nil, fmt.Errorf("topologies: wait for %d bytes of memory: %w", n, err)
	}
	return func() { m.bytes.Release(n) }, nil
}
