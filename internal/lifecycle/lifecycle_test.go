package lifecycle

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestFirstSignalEndsTheContext(t *testing.T) {
	ctx, stop := Signals(context.Background())
	defer stop()
	if err := syscall.Kill(os.Getpid(), syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case <-ctx.Done():
	case <-time.After(5 * time.Second):
		t.Fatal("the context outlived SIGTERM")
	}
}

func face(ready *atomic.Bool) Face {
	registry := prometheus.NewRegistry()
	counter := prometheus.NewCounter(prometheus.CounterOpts{Name: "tintype_test_total", Help: "A test."})
	registry.MustRegister(counter)
	counter.Inc()
	return Face{Listen: "127.0.0.1:0", Metrics: registry, Ready: ready.Load, Log: slog.New(slog.DiscardHandler)}
}

func TestFaceTellsHowTheProcessIs(t *testing.T) {
	var ready atomic.Bool
	ctx, cancel := context.WithCancel(t.Context())
	address, wait, err := face(&ready).Serve(ctx)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	get := func(path string) (int, string) {
		t.Helper()
		response, err := client.Get("http://" + address + path)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(response.Body)
		if err := response.Body.Close(); err != nil {
			t.Fatal(err)
		}
		if err != nil {
			t.Fatal(err)
		}
		return response.StatusCode, string(body)
	}
	if code, body := get("/readyz"); code != http.StatusServiceUnavailable || !strings.Contains(body, "not ready") {
		t.Errorf("before it works: %d %q", code, body)
	}
	ready.Store(true)
	for path, want := range map[string]string{"/readyz": "ok", "/healthz": "ok", "/metrics": "tintype_test_total 1", "/debug/pprof/cmdline": "lifecycle"} {
		if code, body := get(path); code != http.StatusOK || !strings.Contains(body, want) {
			t.Errorf("%s: %d %q", path, code, body)
		}
	}
	cancel()
	wait()
	if _, err := client.Get("http://" + address + "/healthz"); err == nil {
		t.Error("the face outlived its context")
	}
}

func TestFallbackTakesAFreePort(t *testing.T) {
	var ready atomic.Bool
	first, wait, err := face(&ready).Serve(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer wait()
	second := face(&ready)
	second.Listen = first
	if _, _, err := second.Serve(t.Context()); err == nil {
		t.Fatal("two faces share a port")
	}
	second.Fallback = true
	address, wait2, err := second.Serve(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer wait2()
	if address == first || !strings.HasPrefix(address, "127.0.0.1:") {
		t.Errorf("fell back to %s from %s", address, first)
	}
}

func TestProfilesAreForLoopbackOnly(t *testing.T) {
	var ready atomic.Bool
	for remote, want := range map[string]int{"127.0.0.1:9": http.StatusOK, "[::1]:9": http.StatusOK, "10.1.2.3:9": http.StatusForbidden, "nonsense": http.StatusForbidden} {
		request := httptest.NewRequest(http.MethodGet, "/debug/pprof/cmdline", nil)
		request.RemoteAddr = remote
		recorder := httptest.NewRecorder()
		face(&ready).handler().ServeHTTP(recorder, request)
		if recorder.Code != want {
			t.Errorf("from %s: %d, want %d", remote, recorder.Code, want)
		}
	}
}
