package chaos

import (
	"sync"
	"time"
)

// outages knows whether the harness has a server away.
type outages struct {
	mu   sync.Mutex
	away int
	last time.Time // end of the last one
}

// grace is how long after an outage a server may still be coming up, and a worker
// still be ending for it.
const grace = 20 * time.Second

// begin notes that a server goes away, until end is called.
func (o *outages) begin() (end func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.away++
	return func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.away--
		o.last = time.Now()
	}
}

// lately reports whether a server is away, or was a moment ago.
func (o *outages) lately() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.away > 0 || time.Since(o.last) < grace
}
