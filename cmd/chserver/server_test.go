package main

import (
	"context"
	"errors"
	"os"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/tintype/tintype/internal/devstack"
	"github.com/tintype/tintype/internal/devstack/devtest"
)

// patience is how long a test waits for what must come.
const patience = time.Minute

func TestMain(m *testing.M) { os.Exit(devtest.Main(m)) }

// start starts a server in a folder, under a supervisor that starts it again.
func start(t *testing.T, dir, password string) *devstack.ClickHouse {
	t.Helper()
	files := devtest.NeedEngine(t)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	server, err := devstack.StartClickHouse(ctx, devstack.ClickHouseOptions{
		Dir: dir, Binary: files.Chserver, Lib: files.Lib, Password: password, Stderr: t.Output(),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := server.Stop(ctx); err != nil {
			t.Error(err)
		}
	})
	return server
}

// connect opens a connection of clickhouse-go.
func connect(t *testing.T, server *devstack.ClickHouse, password string, change ...func(*clickhouse.Options)) driver.Conn {
	t.Helper()
	options := &clickhouse.Options{Addr: []string{server.Native()}, Auth: clickhouse.Auth{Password: password}}
	for _, c := range change {
		c(options)
	}
	conn, err := clickhouse.Open(options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	})
	return conn
}

// within is a context with the patience of a test.
func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// number is the answer of a query of one number.
func number(t *testing.T, conn driver.Conn, query string) uint64 {
	t.Helper()
	var n uint64
	if err := conn.QueryRow(within(t), "SELECT toUInt64(("+query+"))").Scan(&n); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return n
}

// code is the code of a server's exception; 0 for any other error.
func code(err error) int32 {
	if e, ok := errors.AsType[*clickhouse.Exception](err); ok {
		return e.Code
	}
	return 0
}
