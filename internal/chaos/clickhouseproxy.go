package chaos

import (
	"context"
	"net"
	"regexp"
	"sync"
	"time"
)

// insertState is how far an insert on a connection has come.
type insertState int

const (
	idle     insertState = iota
	asked                // The statement went to the server.
	expected             // The server has said which columns it wants.
	sent                 // The rows went to the server.
	answered             // The server has answered.
)

// clickHouseProxy stands between one worker and ClickHouse.
type clickHouseProxy struct {
	proxy

	state sync.Mutex
	// flights are the connections with an insert under way.
	flights map[net.Conn]bool
	// torn counts the inserts whose connection ended before their answer.
	torn int
	// rows is called once, with the rows of an insert on their way, which it
	// holds until it returns.
	rows func()
	// landed is called when an insert into a table has happened; then the answer
	// passes.
	landed func(table string)
	// lose is called once, when an insert has happened, and the connection ends
	// without the answer.
	lose func()
}

// inFlight reports whether an insert is under way.
func (p *clickHouseProxy) inFlight() bool {
	p.state.Lock()
	defer p.state.Unlock()
	return len(p.flights) > 0
}

// ends waits, for a moment, until no insert is under way, and returns how many
// ended without an answer so far.
func (p *clickHouseProxy) ends(ctx context.Context) int {
	const moment = time.Second
	deadline := time.Now().Add(moment)
	for p.inFlight() && time.Now().Before(deadline) {
		wait(ctx, time.Millisecond)
	}
	p.state.Lock()
	defer p.state.Unlock()
	return p.torn
}

func (p *clickHouseProxy) tornSoFar() int {
	p.state.Lock()
	defer p.state.Unlock()
	return p.torn
}

func (p *clickHouseProxy) set(change func(*clickHouseProxy)) {
	p.state.Lock()
	defer p.state.Unlock()
	change(p)
}

// armRows has a function called with the rows of the next insert on their way.
// disarm takes it back; false where it was called already.
func (p *clickHouseProxy) armRows(f func()) (disarm func() bool) {
	p.set(func(p *clickHouseProxy) { p.rows = f })
	return func() (armed bool) {
		p.set(func(p *clickHouseProxy) { armed, p.rows = p.rows != nil, nil })
		return armed
	}
}

// armLose has the answer to the next insert dropped, and a function called.
func (p *clickHouseProxy) armLose(f func()) (disarm func() bool) {
	p.set(func(p *clickHouseProxy) { p.lose = f })
	return func() (armed bool) {
		p.set(func(p *clickHouseProxy) { armed, p.lose = p.lose != nil, nil })
		return armed
	}
}

// insertInto finds inserts of data. What the loader notes of itself before, in
// load_owners, is none.
var insertInto = regexp.MustCompile(`INSERT INTO (?:\w+\.)?(uploads|renditions|dead_letters|ticks|windows|late_uploads)\b`)

// An insert's answer ends with the end of the stream, or is an exception.
const (
	exceptionPacket   = 2
	endOfStreamPacket = 5
)

// serve passes a connection's bytes and follows its inserts. clickhouse-go uses
// a connection for one statement at a time, and chserver answers at once.
func (p *clickHouseProxy) serve(ctx context.Context, client, server net.Conn) {
	f := &insertion{proxy: p, client: client}
	defer p.set(func(p *clickHouseProxy) {
		if p.flights[client] {
			p.torn++
		}
		delete(p.flights, client)
	})
	both(client, server, func() {
		buffer := make([]byte, 1<<20)
		for {
			n, err := client.Read(buffer)
			if err != nil {
				return
			}
			p.delayed(ctx)
			if strike := f.asks(buffer[:n]); strike != nil {
				strike()
			}
			if _, err := server.Write(buffer[:n]); err != nil {
				return
			}
		}
	}, func() {
		buffer := make([]byte, 1<<20)
		for {
			n, err := server.Read(buffer)
			if err != nil {
				return
			}
			if !f.answers(buffer[:n]) {
				return
			}
			_, err = client.Write(buffer[:n])
			if f.done(); err != nil {
				return
			}
		}
	})
}

// insertion follows the insert of one connection.
type insertion struct {
	proxy  *clickHouseProxy
	client net.Conn

	mu    sync.Mutex
	at    insertState
	table string
}

// asks notes what the client sends, and returns what is to be called with it.
func (f *insertion) asks(data []byte) (strike func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if match := insertInto.FindSubmatch(data); match != nil {
		f.at, f.table = asked, string(match[1])
		f.proxy.set(func(p *clickHouseProxy) { p.flights[f.client] = true })
	} else if f.at == expected {
		f.at = sent
		f.proxy.set(func(p *clickHouseProxy) { strike, p.rows = p.rows, nil })
	}
	return strike
}

// answers notes what the server sends, and reports whether it may pass.
func (f *insertion) answers(data []byte) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	refused, ended := data[0] == exceptionPacket, data[len(data)-1] == endOfStreamPacket
	switch {
	case f.at != idle && refused, f.at == asked && ended:
		f.at = answered
	case f.at == asked:
		f.at = expected
	case f.at == sent && ended:
		f.at = answered
		var landed func(string)
		var lose func()
		f.proxy.set(func(p *clickHouseProxy) { landed, lose, p.lose = p.landed, p.lose, nil })
		if lose != nil {
			lose()
			return false
		}
		if landed != nil {
			landed(f.table)
		}
	}
	return true
}

// done notes that what the server sent has passed.
func (f *insertion) done() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.at == answered {
		f.at = idle
		f.proxy.set(func(p *clickHouseProxy) { delete(p.flights, f.client) })
	}
}
