package chaos

import (
	"context"
	"encoding/binary"
	"net"
	"strings"
	"sync"
	"time"
)

// transactions knows which transactions are open, by what passes the proxy.
type transactions struct {
	// none says that the workers' delivery has none: then a commit is that of
	// offsets alone.
	none bool

	mu   sync.Mutex
	open map[string]bool
	// armed are called once, with a commit of the instance on its way; they hold
	// it until they return, and drop it if they return false.
	armed map[string]func() (pass bool)
}

func newTransactions() *transactions {
	return &transactions{open: map[string]bool{}, armed: map[string]func() bool{}}
}

// of reports whether an instance has an open transaction.
func (t *transactions) of(instance string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	for id := range t.open {
		if instanceOf(id) == instance {
			return true
		}
	}
	return false
}

// any reports whether any instance has one.
func (t *transactions) any() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.open) > 0
}

// arm has a function called with the next commit of an instance.
func (t *transactions) arm(instance string, f func() bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.armed[instance] = f
}

// disarm takes it back; false where it was called already.
func (t *transactions) disarm(instance string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	_, armed := t.armed[instance]
	delete(t.armed, instance)
	return armed
}

// passes notes a request, and reports whether it may pass.
func (t *transactions) passes(r request) bool {
	if r.transactionalID == "" && (r.key != offsetCommitKey || !t.none) {
		return true
	}
	t.mu.Lock()
	var strike func() bool
	switch r.key {
	case produceKey, txnOffsetCommitKey:
		t.open[r.transactionalID] = true
	case endTxnKey:
		if instance, open := instanceOf(r.transactionalID), t.open[r.transactionalID]; open {
			strike = t.armed[instance]
			delete(t.armed, instance)
		}
	case offsetCommitKey:
		instance := strings.TrimPrefix(r.clientID, clientPrefix)
		strike = t.armed[instance]
		delete(t.armed, instance)
	}
	t.mu.Unlock()
	return strike == nil || strike()
}

// ended notes the answer to the end of a transaction, or to a new beginning.
func (t *transactions) ended(id string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.open, id)
}

// died forgets what an instance had open.
func (t *transactions) died(instance string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for id := range t.open {
		if instanceOf(id) == instance {
			delete(t.open, id)
		}
	}
}

// clientPrefix is what the client ids of package exactly begin with; the instance
// follows.
const clientPrefix = "exactly-"

func instanceOf(transactionalID string) string {
	_, instance, _ := strings.Cut(transactionalID, "/")
	return instance
}

// kafkaProxy stands before the broker, and is its advertised address.
type kafkaProxy struct {
	proxy
	txns   *transactions
	stalls *stalls
}

// serve passes a connection's requests and responses, frame by frame.
func (p *kafkaProxy) serve(ctx context.Context, client, server net.Conn) {
	var mu sync.Mutex
	ends := map[int32]string{}
	named := map[[16]byte]bool{}
	both(client, server, func() {
		for {
			frame, err := readFrame(client)
			if err != nil {
				return
			}
			r := parseRequest(frame)
			if !p.txns.passes(r) {
				return
			}
			if r.key == fetchKey {
				for _, topic := range fetched(frame) {
					named[topic] = true
				}
				p.stalls.pass(ctx, strings.TrimPrefix(r.clientID, clientPrefix), named)
			}
			if r.key == endTxnKey || r.key == initProducerIDKey { // Each ends what was open.
				mu.Lock()
				ends[r.correlation] = r.transactionalID
				mu.Unlock()
			}
			p.delayed(ctx)
			if _, err := server.Write(frame); err != nil {
				return
			}
		}
	}, func() {
		for {
			frame, err := readFrame(server)
			if err != nil {
				return
			}
			if len(frame) >= 8 {
				correlation := int32(binary.BigEndian.Uint32(frame[4:]))
				mu.Lock()
				id, end := ends[correlation]
				delete(ends, correlation)
				mu.Unlock()
				if end {
					p.txns.ended(id)
				}
			}
			if _, err := client.Write(frame); err != nil {
				return
			}
		}
	})
}

// proxy accepts connections and connects each to the target.
type proxy struct {
	listener net.Listener
	target   string

	mu    sync.Mutex
	delay time.Duration
	conns map[net.Conn]bool
	wg    sync.WaitGroup
}

func (p *proxy) listen(ctx context.Context, target string) error {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	p.listener, p.target, p.conns = l, target, map[net.Conn]bool{}
	return err
}

func (p *proxy) addr() string { return p.listener.Addr().String() }

func (p *proxy) retarget(target string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.target = target
}

// run serves until the listener is closed.
func (p *proxy) run(ctx context.Context, serve func(ctx context.Context, client, server net.Conn)) {
	p.wg.Go(func() {
		for {
			client, err := p.listener.Accept()
			if err != nil {
				return
			}
			p.wg.Go(func() { p.connect(ctx, client, serve) })
		}
	})
}

func (p *proxy) connect(ctx context.Context, client net.Conn, serve func(ctx context.Context, client, server net.Conn)) {
	defer func() { _ = client.Close() }() // It is over.
	p.mu.Lock()
	target := p.target
	p.mu.Unlock()
	server, err := (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, "tcp", target)
	if err != nil {
		return
	}
	defer func() { _ = server.Close() }() // As above.
	p.mu.Lock()
	p.conns[client], p.conns[server] = true, true
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.conns, client)
		delete(p.conns, server)
	}()
	serve(ctx, client, server)
}

// close ends the proxy and what passes it.
func (p *proxy) close() {
	_ = p.listener.Close()
	p.mu.Lock()
	for c := range p.conns {
		_ = c.Close()
	}
	p.mu.Unlock()
	p.wg.Wait()
}

func (p *proxy) setDelay(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.delay = d
}

// delayed waits as long as the network is slow.
func (p *proxy) delayed(ctx context.Context) {
	p.mu.Lock()
	d := p.delay
	p.mu.Unlock()
	if d == 0 {
		return
	}
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// both runs two pumps until both have ended: the end of one ends the connections.
func both(client, server net.Conn, up, down func()) {
	closeBoth := func() { _, _ = client.Close(), server.Close() }
	var wg sync.WaitGroup
	wg.Go(func() { up(); closeBoth() })
	wg.Go(func() { down(); closeBoth() })
	wg.Wait()
}
