package statement

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tintype/tintype/cmd/chserver/internal/engine"
)

// A Server is the engine as both faces know it.
type Server struct {
	// Arguments open a connection.
	Arguments []string
	User      string
	Password  string
	// Version is the engine's: major, minor, patch.
	Version  [3]int
	TimeZone string
	// control runs what is about other connections, under its lock.
	control   *engine.Conn
	controlMu sync.Mutex
	sessions  atomic.Int64
	// open are the sessions that have not ended; closed refuses further ones.
	open   sync.WaitGroup
	openMu sync.Mutex
	closed bool
}

// Start opens the data directory.
func (s *Server) Start() error {
	var err error
	if s.control, err = engine.Connect(s.Arguments...); err != nil {
		return err
	}
	r, err := s.control.Query("SELECT version(), timezone()", "TSV")
	if err != nil {
		return err
	}
	defer r.Free()
	version, zone, _ := strings.Cut(strings.TrimSpace(string(r.Bytes())), "\t")
	if _, err := fmt.Sscanf(version, "%d.%d.%d", &s.Version[0], &s.Version[1], &s.Version[2]); err != nil {
		return fmt.Errorf("engine version %q: %w", version, err)
	}
	s.TimeZone = zone
	return nil
}

// Close stops what runs, waits until all sessions have ended, and closes the
// data directory. Where ctx ends first, the directory stays open until the
// process ends, which loses nothing that was acknowledged.
func (s *Server) Close(ctx context.Context) error {
	s.openMu.Lock()
	s.closed = true
	s.openMu.Unlock()
	ended := make(chan struct{})
	go func() {
		s.open.Wait()
		close(ended)
	}()
	stop := repeat(func() { _ = s.kill("session-") }) // What cannot be killed is waited for.
	select {
	case <-ended:
		stop()
		s.control.Close()
		return nil
	case <-ctx.Done():
		stop()
		return fmt.Errorf("statement: wait for the sessions: %w", ctx.Err())
	}
}

// Codes of ClickHouse's exceptions.
const (
	codeAuthentication = 516
	codeNotImplemented = 48
	codeRefused        = 392
	codeAborted        = 236
)

// Authenticate compares a user and a password.
func (s *Server) Authenticate(user, password string) error {
	if user == s.User && password == s.Password {
		return nil
	}
	return &engine.Error{Code: codeAuthentication, Message: user + ": Authentication failed: password is incorrect, or there is no user with such name. (AUTHENTICATION_FAILED)"}
}

// NotImplemented is the exception of what this server cannot do.
func NotImplemented(what string) error {
	return &engine.Error{Code: codeNotImplemented, Message: what + ". (NOT_IMPLEMENTED)"}
}

// A Session is one client's connection to the engine.
type Session struct {
	*engine.Conn
	Database string
	server   *Server
	tag      string
	settings map[string]string
}

// Open opens a session in a database.
func (s *Server) Open(database string) (*Session, error) {
	s.openMu.Lock()
	if s.closed {
		s.openMu.Unlock()
		return nil, &engine.Error{Code: codeAborted, Message: "the server is ending. (ABORTED)"}
	}
	s.open.Add(1)
	s.openMu.Unlock()
	conn, err := engine.Connect(s.Arguments...)
	if err != nil {
		s.open.Done()
		return nil, err
	}
	session := &Session{Conn: conn, server: s, tag: fmt.Sprintf("session-%d", s.sessions.Add(1)), settings: map[string]string{}, Database: database}
	if database != "" && database != "default" {
		if err := conn.Exec("USE " + QuoteName(database)); err != nil {
			session.Close()
			return nil, err
		}
	}
	return session, nil
}

// Close ends the session.
func (s *Session) Close() {
	s.Conn.Close()
	s.server.open.Done()
}

// Apply brings the session's settings to what a statement comes with, and names
// the statement: its log_comment in system.processes is the session's tag, a
// blank, and the query id.
func (s *Session) Apply(queryID string, want map[string]string) error {
	var changes []string
	for name := range s.settings {
		if _, ok := want[name]; !ok {
			changes = append(changes, name+" = DEFAULT")
		}
	}
	for name, value := range want {
		if old, ok := s.settings[name]; (!ok || old != value) && name != "log_comment" {
			changes = append(changes, name+" = "+Quote(value))
		}
	}
	slices.Sort(changes)
	changes = append(changes, "log_comment = "+Quote(s.tag+" "+queryID))
	if err := s.Exec("SET " + strings.Join(changes, ", ")); err != nil {
		return err
	}
	s.settings = make(map[string]string, len(want))
	for name, value := range want {
		if name != "log_comment" {
			s.settings[name] = value
		}
	}
	return nil
}

// killEvery is how long a killed session may take to end.
const killEvery = 50 * time.Millisecond

// Kill stops what the session runs until the returned function is called: what
// it is about to run may not be known to the engine yet.
func (s *Session) Kill() (stop func()) {
	return repeat(func() { _ = s.server.kill(s.tag + " ") }) // If nothing runs any more, there is nothing to kill.
}

// kill stops the statements whose tag begins so.
func (s *Server) kill(prefix string) error {
	s.controlMu.Lock()
	defer s.controlMu.Unlock()
	return s.control.Exec("KILL QUERY WHERE startsWith(Settings['log_comment'], " + Quote(prefix) + ") ASYNC")
}

// repeat calls a function now and again, until the returned one is called.
func repeat(f func()) (stop func()) {
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(killEvery)
		defer tick.Stop()
		for {
			f()
			select {
			case <-tick.C:
			case <-done:
				return
			}
		}
	}()
	return func() { close(done); <-ended }
}

// Check refuses what would break the server.
func Check(s Statement) error {
	if s.DropsDefault() {
		return &engine.Error{Code: codeRefused, Message: "the database default cannot be dropped: every connection begins there. (QUERY_IS_PROHIBITED)"}
	}
	return nil
}
