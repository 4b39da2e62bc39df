package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// A Face is the HTTP face of a process: /metrics for Prometheus, /healthz (the
// process lives), /readyz (it works), and /debug/pprof for callers on loopback.
type Face struct {
	// Listen is the address to listen on; port 0 takes a free one.
	Listen string
	// Fallback takes a free port where Listen is taken.
	Fallback bool
	Metrics  prometheus.Gatherer
	Ready    func() bool
	// Pages are served beside, by pattern.
	Pages map[string]http.Handler
	Log   *slog.Logger
}

// Serve listens, serves in the background until ctx ends, and returns the
// address. The returned function waits until the face is gone.
func (f Face) Serve(ctx context.Context) (addr string, wait func(), err error) {
	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, "tcp", f.Listen)
	if err != nil && f.Fallback {
		host, _, _ := net.SplitHostPort(f.Listen)
		listener, err = lc.Listen(ctx, "tcp", net.JoinHostPort(host, "0"))
	}
	if err != nil {
		return "", nil, fmt.Errorf("lifecycle: listen for metrics: %w", err)
	}
	server := &http.Server{Handler: f.handler(), ReadHeaderTimeout: 5 * time.Second}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			f.Log.Error("the metrics server ended", slog.Any("error", err))
		}
	}()
	stop := context.AfterFunc(ctx, func() { _ = server.Close() }) // Nobody is owed the rest of a scrape.
	return listener.Addr().String(), func() {
		stop()
		_ = server.Close()
		<-done
	}, nil
}

func (f Face) handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(f.Metrics, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if !f.Ready() {
			answer(w, http.StatusServiceUnavailable, "not ready: a stage has no assignment yet, or recovers its table")
			return
		}
		answer(w, http.StatusOK, "ok")
	})
	for pattern, page := range f.Pages {
		mux.Handle(pattern, page)
	}
	mux.Handle("/debug/pprof/", onLoopback(http.HandlerFunc(pprof.Index)))
	mux.Handle("/debug/pprof/profile", onLoopback(http.HandlerFunc(pprof.Profile)))
	mux.Handle("/debug/pprof/symbol", onLoopback(http.HandlerFunc(pprof.Symbol)))
	mux.Handle("/debug/pprof/trace", onLoopback(http.HandlerFunc(pprof.Trace)))
	mux.Handle("/debug/pprof/cmdline", onLoopback(http.HandlerFunc(pprof.Cmdline)))
	return mux
}

// answer writes a line; a caller that hung up has lost nothing.
func answer(w http.ResponseWriter, status int, line string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = fmt.Fprintln(w, line)
}

// onLoopback refuses callers from other machines: profiles show what is in
// memory.
func onLoopback(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, _, err := net.SplitHostPort(r.RemoteAddr)
		if ip := net.ParseIP(host); err != nil || ip == nil || !ip.IsLoopback() {
			answer(w, http.StatusForbidden, "pprof answers on loopback only")
			return
		}
		next.ServeHTTP(w, r)
	})
}
