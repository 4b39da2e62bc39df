package load

import (
	"context"
	"fmt"
	"time"
)

// The bounds of a pause between two flushes.
const (
	minPause = 200 * time.Millisecond
	maxPause = 5 * time.Second
)

// pace spaces flushes out while the server is overloaded, so that they are fewer
// and larger: the records wait in Kafka. It doubles with each flush that the
// server has no room for, and halves with each that succeeds.
type pace struct {
	pause time.Duration
	next  time.Time
}

// await waits until a flush may begin.
func (p *pace) await(ctx context.Context) error {
	if p.pause == 0 {
		return nil
	}
	if err := sleep(ctx, time.Until(p.next)); err != nil {
		return fmt.Errorf("load: wait for an overloaded server: %w", err)
	}
	return nil
}

// slower returns the pause from now on.
func (p *pace) slower() time.Duration {
	p.pause = min(max(2*p.pause, minPause), maxPause)
	p.next = time.Now().Add(p.pause)
	return p.pause
}

func (p *pace) faster() {
	if p.pause /= 2; p.pause < minPause {
		p.pause = 0
	}
	p.next = time.Now().Add(p.pause)
}
