// Command chserver runs the ClickHouse engine, a library, as a server on this
// machine: clients of the native protocol and of HTTP see ordinary ClickHouse.
// It is what the embedded stack of tintype starts.
package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/tintype/tintype/cmd/chserver/internal/engine"
	"github.com/tintype/tintype/cmd/chserver/internal/httpface"
	"github.com/tintype/tintype/cmd/chserver/internal/native"
	"github.com/tintype/tintype/cmd/chserver/internal/statement"
)

// options are the command line.
type options struct {
	dir, listen, httpListen, lib, user, passwordFile string
	tlsCert, tlsKey                                  string
	maxMemory                                        int64
	ownerPipe                                        bool
}

func main() {
	var o options
	flag.StringVar(&o.dir, "dir", "", "folder of the data; one process a folder")
	flag.StringVar(&o.listen, "listen", "127.0.0.1:0", "address of the native protocol; port 0 takes a free one")
	flag.StringVar(&o.httpListen, "http-listen", "127.0.0.1:0", "address of HTTP; port 0 takes a free one")
	flag.StringVar(&o.lib, "lib", "", "path of libchdb.so")
	flag.StringVar(&o.user, "user", "default", "name of the one user")
	flag.StringVar(&o.passwordFile, "password-file", "", "file with the user's password; or set CHSERVER_PASSWORD")
	flag.StringVar(&o.tlsCert, "tls-cert", "", "PEM file of the certificate; both protocols speak TLS with it")
	flag.StringVar(&o.tlsKey, "tls-key", "", "PEM file of the certificate's key")
	flag.Int64Var(&o.maxMemory, "max-memory", 4<<30, "bytes that the engine may hold")
	flag.BoolVar(&o.ownerPipe, "owner-pipe", false, "end when standard input ends")
	flag.Parse()
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	if err := run(o, log); err != nil {
		log.Error("chserver ended", slog.Any("error", err))
		if _, locked := errors.AsType[*lockedError](err); locked {
			os.Exit(3)
		}
		os.Exit(1)
	}
}

func run(o options, log *slog.Logger) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // A second signal ends the process at once.
	if o.ownerPipe {
		var cancel context.CancelFunc
		ctx, cancel = context.WithCancel(ctx)
		go func() {
			_, _ = io.Copy(io.Discard, os.Stdin) // However it ends, the owner is gone.
			cancel()
		}()
	}
	server, unlock, err := open(o)
	if err != nil {
		return err
	}
	defer unlock()
	return serve(ctx, o, server, log)
}

// open locks the folder and opens the engine in it.
func open(o options) (*statement.Server, func(), error) {
	if o.dir == "" || o.lib == "" {
		return nil, nil, errors.New("chserver: --dir and --lib are required")
	}
	password, err := password(o.passwordFile)
	if err != nil {
		return nil, nil, err
	}
	dir, err := filepath.Abs(o.dir)
	if err != nil {
		return nil, nil, fmt.Errorf("chserver: folder: %w", err)
	}
	lib, err := filepath.Abs(o.lib)
	if err != nil {
		return nil, nil, fmt.Errorf("chserver: library: %w", err)
	}
	// The engine reads a config.xml that it finds in its working directory or in
	// HOME, and takes the zone of the process for the server's.
	home := filepath.Join(dir, "home")
	if err := os.MkdirAll(home, 0o750); err != nil {
		return nil, nil, fmt.Errorf("chserver: make folder: %w", err)
	}
	unlock, err := lock(dir)
	if err != nil {
		return nil, nil, err
	}
	err = errors.Join(os.Chdir(home), os.Setenv("HOME", home), os.Setenv("TZ", "UTC"))
	if err == nil {
		err = engine.Load(lib)
	}
	server := &statement.Server{User: o.user, Password: password, Arguments: []string{
		"--path=" + filepath.Join(dir, "data"),
		// On a terminal the engine would log there; it calls its own way of ending
		// an insert fatal. What concerns a client is told to the client.
		"--logger.console=0",
		// A whole answer is held in memory by the library: the bound is loose,
		// since the peak is about twice the result.
		"--max_server_memory_usage=" + strconv.FormatInt(o.maxMemory, 10),
		"--max_memory_usage=" + strconv.FormatInt(o.maxMemory/2, 10),
		"--max_result_bytes=" + strconv.FormatInt(o.maxMemory/4, 10),
	}}
	if err == nil {
		err = server.Start()
	}
	if err != nil {
		unlock()
		return nil, nil, err
	}
	return server, unlock, nil
}

func password(file string) (string, error) {
	if file == "" {
		return os.Getenv("CHSERVER_PASSWORD"), nil
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("chserver: password file: %w", err)
	}
	return strings.TrimRight(string(data), "\r\n"), nil
}

// serve serves both faces until ctx ends, and says where on standard output.
func serve(ctx context.Context, o options, server *statement.Server, log *slog.Logger) error {
	var lc net.ListenConfig
	tcp, err := lc.Listen(ctx, "tcp", o.listen)
	if err != nil {
		return fmt.Errorf("chserver: listen: %w", err)
	}
	web, err := lc.Listen(ctx, "tcp", o.httpListen)
	if err != nil {
		return errors.Join(fmt.Errorf("chserver: listen for HTTP: %w", err), tcp.Close())
	}
	if tcp, web, err = secured(o, tcp, web); err != nil {
		return errors.Join(err, tcp.Close(), web.Close())
	}
	face := &http.Server{Handler: httpface.New(server), ReadHeaderTimeout: 10 * time.Second}
	ended := make(chan error, 2)
	go func() { ended <- native.Serve(tcp, server, log) }()
	go func() {
		err := face.Serve(web)
		if errors.Is(err, http.ErrServerClosed) {
			err = nil
		}
		ended <- err
	}()
	line := map[string]any{
		"native": tcp.Addr().String(), "http": web.Addr().String(), "pid": os.Getpid(),
		"version": fmt.Sprintf("%d.%d.%d", server.Version[0], server.Version[1], server.Version[2]),
	}
	err = json.NewEncoder(os.Stdout).Encode(line)
	if err == nil {
		select {
		case <-ctx.Done():
		case err = <-ended:
			ended <- nil
		}
	}
	return errors.Join(err, end(context.WithoutCancel(ctx), tcp, face, server, ended))
}

// secured has both listeners speak TLS, where there is a certificate.
func secured(o options, tcp, web net.Listener) (secureTCP, secureWeb net.Listener, err error) {
	if o.tlsCert == "" && o.tlsKey == "" {
		return tcp, web, nil
	}
	pair, err := tls.LoadX509KeyPair(o.tlsCert, o.tlsKey)
	if err != nil {
		return tcp, web, fmt.Errorf("chserver: certificate: %w", err)
	}
	config := &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}
	return tls.NewListener(tcp, config), tls.NewListener(web, config), nil
}

// endTimeout is how long the end waits for statements that do not stop.
const endTimeout = 10 * time.Second

// end hangs up on all clients and waits until their statements have ended.
func end(ctx context.Context, tcp net.Listener, face *http.Server, server *statement.Server, ended chan error) error {
	ctx, cancel := context.WithTimeout(ctx, endTimeout)
	defer cancel()
	err := errors.Join(tcp.Close(), face.Close(), server.Close(ctx))
	for range cap(ended) {
		select {
		case one := <-ended:
			err = errors.Join(err, one)
		case <-ctx.Done():
			return errors.Join(err, errors.New("chserver: a client did not go"))
		}
	}
	return err
}
