package devtest

import (
	"errors"
	"strings"
	"testing"

	"github.com/ClickHouse/clickhouse-go/v2"
)

// Database makes a database in the shared ClickHouse and returns its address.
func Database(t testing.TB, name string) string {
	t.Helper()
	server := ClickHouse(t)
	conn, err := clickhouse.Open(&clickhouse.Options{Addr: []string{server.Native()}})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(conn.Exec(t.Context(), "CREATE DATABASE "+name), conn.Close()); err != nil {
		t.Fatal(err)
	}
	return strings.TrimSuffix(server.URL(), "/default") + "/" + name
}
