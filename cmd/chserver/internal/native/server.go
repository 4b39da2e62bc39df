// Package native speaks ClickHouse's native TCP protocol in front of the engine.
package native

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"sync"
	"time"

	"github.com/ClickHouse/ch-go/compress"

	"github.com/tintype/tintype/cmd/chserver/internal/engine"
	"github.com/tintype/tintype/cmd/chserver/internal/statement"
	"github.com/tintype/tintype/cmd/chserver/internal/wire"
)

// Packets of the client and of the server.
const (
	clientHello  = 0
	clientQuery  = 1
	clientData   = 2
	clientCancel = 3
	clientPing   = 4

	serverHello     = 0
	serverData      = 1
	serverException = 2
	serverProgress  = 3
	serverPong      = 4
	serverEnd       = 5
)

// Serve serves clients until the listener is closed, and then until they have
// all gone.
func Serve(listener net.Listener, server *statement.Server, log *slog.Logger) error {
	var clients sync.WaitGroup
	var mu sync.Mutex
	open := map[net.Conn]bool{}
	defer func() {
		mu.Lock()
		for conn := range open {
			_ = conn.Close() // Its client is told nothing more.
		}
		mu.Unlock()
		clients.Wait()
	}()
	for {
		conn, err := listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("native: accept: %w", err)
		}
		mu.Lock()
		open[conn] = true
		mu.Unlock()
		clients.Go(func() {
			c := &client{server: server, conn: conn, in: wire.NewReader(conn)}
			if err := c.serve(); err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, net.ErrClosed) {
				log.Debug("a client's connection ended", slog.String("client", conn.RemoteAddr().String()), slog.Any("error", err))
			}
			_ = conn.Close() // It may be closed already.
			mu.Lock()
			delete(open, conn)
			mu.Unlock()
		})
	}
}

// client is one connection.
type client struct {
	server   *statement.Server
	conn     net.Conn
	in       *wire.Reader
	out      []byte
	revision int
	session  *statement.Session
	// compressor is set once the client has asked for compressed blocks;
	// compressed says whether the last query did.
	compressor *compress.Writer
	compressed bool
}

func (c *client) serve() error {
	if err := c.hello(); err != nil {
		return err
	}
	defer c.session.Close()
	for {
		packet := c.in.Uvarint()
		if err := c.in.Err(); err != nil {
			return err
		}
		switch packet {
		case clientQuery:
			if err := c.query(); err != nil {
				return c.leave(err)
			}
		case clientData: // Of an INSERT that failed before it.
			if _, err := c.readData(c.compressed); err != nil {
				return err
			}
		case clientCancel:
		case clientPing:
			c.number(serverPong)
			if err := c.flush(); err != nil {
				return err
			}
		default:
			return fmt.Errorf("native: unknown packet %d", packet)
		}
	}
}

// leave tells a client that is still there why its connection ends.
func (c *client) leave(err error) error {
	var network net.Error
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) || errors.As(err, &network) {
		return err
	}
	return errors.Join(err, c.exception(err))
}

// hello greets, authenticates, and opens the session.
func (c *client) hello() error {
	if packet := c.in.Uvarint(); packet != clientHello {
		return fmt.Errorf("native: packet %d before hello", packet)
	}
	_ = c.in.String() // The client's name.
	_, _, theirs := c.in.Uvarint(), c.in.Uvarint(), c.in.Uvarint()
	database, user, password := c.in.String(), c.in.String(), c.in.String()
	if err := c.in.Err(); err != nil {
		return err
	}
	c.revision = min(int(theirs), wire.Revision)
	err := c.server.Authenticate(user, password)
	if err == nil {
		c.session, err = c.server.Open(database)
	}
	if err != nil {
		return errors.Join(err, c.exception(err))
	}
	c.number(serverHello)
	c.text("ClickHouse")
	c.number(uint64(c.server.Version[0]))
	c.number(uint64(c.server.Version[1]))
	c.number(wire.Revision)
	c.text(c.server.TimeZone)
	c.text("chserver")
	c.number(uint64(c.server.Version[2]))
	if err := c.flush(); err != nil {
		c.session.Close()
		return err
	}
	if c.revision >= 54458 {
		_ = c.in.String() // The quota key.
	}
	return nil
}

func (c *client) number(n uint64) { c.out = binary.AppendUvarint(c.out, n) }
func (c *client) text(s string)   { c.out = wire.AppendString(c.out, s) }

func (c *client) flush() error {
	_, err := c.conn.Write(c.out)
	c.out = c.out[:0]
	return err
}

// exception tells the client of an error; the connection goes on.
func (c *client) exception(err error) error {
	var e *engine.Error
	if !errors.As(err, &e) {
		e = &engine.Error{Code: 1002, Message: err.Error()}
	}
	c.number(serverException)
	c.out = binary.LittleEndian.AppendUint32(c.out, uint32(e.Code))
	c.text("DB::Exception")
	c.text("DB::Exception: " + e.Message)
	c.text("")
	c.out = append(c.out, 0) // No nested one.
	return c.flush()
}

// readData reads the body of a data packet.
func (c *client) readData(compressed bool) (*wire.Block, error) {
	_ = c.in.String() // The name of an external table.
	if err := c.in.Err(); err != nil {
		return nil, err
	}
	if compressed {
		// A block may span several compressed frames, and ends with one.
		return wire.NewReader(compress.NewReader(c.in)).ReadBlock(c.revision)
	}
	return c.in.ReadBlock(c.revision)
}

// maxFrame is how much of a block goes into one compressed frame.
const maxFrame = 1 << 20

// data sends a block.
func (c *client) data(block *wire.Block, compressed bool) error {
	c.number(serverData)
	c.text("")
	if !compressed {
		c.out = block.Append(c.out, c.revision)
		return nil
	}
	for plain := block.Append(nil, c.revision); len(plain) > 0; {
		n := min(len(plain), maxFrame)
		if err := c.compressor.Compress(plain[:n]); err != nil {
			return fmt.Errorf("native: compress a block: %w", err)
		}
		c.out = append(c.out, c.compressor.Data...)
		plain = plain[n:]
	}
	return nil
}

// end tells what a statement did, and that it is over.
func (c *client) end(p engine.Progress, began time.Time) error {
	c.number(serverProgress)
	c.number(p.Rows)
	c.number(p.Bytes)
	c.number(0) // Rows in all: unknown.
	if c.revision >= 54420 {
		c.number(p.WrittenRows)
		c.number(p.WrittenBytes)
	}
	if c.revision >= 54460 {
		c.number(uint64(time.Since(began)))
	}
	c.number(serverEnd)
	return c.flush()
}

// watch stops what the session runs when the client cancels or goes. While it
// waits for an answer a client sends nothing else, so that until the returned
// function is called the watcher may read.
func (c *client) watch() (stop func()) {
	done := make(chan struct{})
	over := make(chan struct{})
	go func() {
		defer close(done)
		packet, err := c.in.Peek()
		if err == nil && packet != clientCancel || errors.Is(err, os.ErrDeadlineExceeded) {
			return
		}
		defer c.session.Kill()()
		<-over
	}()
	return func() {
		close(over)
		_ = c.conn.SetReadDeadline(time.Unix(1, 0)) // Wakes the watcher.
		<-done
		_ = c.conn.SetReadDeadline(time.Time{})
	}
}
