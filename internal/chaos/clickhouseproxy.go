package chaos

import (
	"bytes"
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
)

// clickHouseProxy stands between one worker and ClickHouse.
type clickHouseProxy struct {
	proxy

	state sync.Mutex
	// flights are the connections with an insert under way.
	flights map[netConn]bool
	// rows is called once, with the rows of an insert on their way, which it
	// holds until it returns.
	rows func()
	// landed is called once, when an insert into a table was answered; then the
	// answer passes.
	landed func(table string)
	// lose drops the answer to the next insert, and the connection.
	lose func()
}

// inFlight reports whether an insert is under way.
func (p *clickHouseProxy) inFlight() bool {
	p.state.Lock()
	defer p.state.Unlock()
	return len(p.flights) > 0
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

var insertInto = regexp.MustCompile(`INSERT INTO (?:\w+\.)?(\w+)`)

// netConn is a connection, as a key.
type netConn = net.Conn

// answerTime is how long an answer that is to be lost is waited for: until then
// the insert has happened.
const answerTime = 500 * time.Millisecond

// serve passes a connection's bytes and follows its inserts. clickhouse-go uses
// a connection for one statement at a time.
func (p *clickHouseProxy) serve(ctx context.Context, client, server net.Conn) {
	var (
		mu    sync.Mutex
		at    insertState
		table string
	)
	defer p.set(func(p *clickHouseProxy) { delete(p.flights, client) })
	both(client, server, func() {
		buffer := make([]byte, 1<<20)
		for {
			n, err := client.Read(buffer)
			if err != nil {
				return
			}
			p.delayed(ctx)
			mu.Lock()
			if match := insertInto.FindSubmatch(buffer[:n]); match != nil && !bytes.Contains(buffer[:n], []byte("SELECT")) {
				at, table = asked, string(match[1])
				p.set(func(p *clickHouseProxy) { p.flights[client] = true })
			} else if at == expected {
				at = sent
				var strike func()
				p.set(func(p *clickHouseProxy) { strike, p.rows = p.rows, nil })
				if strike != nil {
					mu.Unlock()
					strike()
					mu.Lock()
				}
			}
			mu.Unlock()
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
			mu.Lock()
			state, into := at, table
			switch at {
			case asked:
				at = expected
			case sent:
				at = idle
			}
			mu.Unlock()
			if state == sent {
				var landed func(string)
				var lose func()
				p.set(func(p *clickHouseProxy) {
					landed, lose = p.landed, p.lose
					p.lose = nil
				})
				if lose != nil {
					select {
					case <-ctx.Done():
					case <-time.After(answerTime):
					}
					lose()
					return
				}
				if landed != nil {
					landed(into)
				}
				p.set(func(p *clickHouseProxy) { delete(p.flights, client) })
			}
			if _, err := client.Write(buffer[:n]); err != nil {
				return
			}
		}
	})
}
