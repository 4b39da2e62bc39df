package servers

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
)

// ParseClickHouse reads host:port or a URL:
//
//	clickhouse://user@host:9000/database
//	clickhouse+tls://user@host:9440/database?ca=/etc/ca.pem&cert=…&key=…&server_name=…
//
// The user and the database are "default" where they are not named. The
// password given beside the address wins over one inside it.
func ParseClickHouse(address, password string) (*clickhouse.Options, error) {
	if !strings.Contains(address, "://") {
		address = "clickhouse://" + address
	}
	u, err := url.Parse(address)
	if err != nil {
		return nil, fmt.Errorf("servers: clickhouse address: %w", redactURLError(err))
	}
	if u.Scheme != "clickhouse" && u.Scheme != "clickhouse+tls" {
		return nil, fmt.Errorf("servers: clickhouse address: unknown scheme %q, want clickhouse or clickhouse+tls", u.Scheme)
	}
	if u.Hostname() == "" {
		return nil, fmt.Errorf("servers: clickhouse address %s: want a host", u.Redacted())
	}
	if err := allowOnly("clickhouse address", u.Query(), "ca", "cert", "key", "server_name", "insecure"); err != nil {
		return nil, err
	}
	host := u.Host
	if u.Port() == "" {
		port := "9000"
		if u.Scheme == "clickhouse+tls" {
			port = "9440"
		}
		host += ":" + port
	}
	options := &clickhouse.Options{
		Addr: []string{host},
		Auth: clickhouse.Auth{
			Database: orDefault(strings.Trim(u.Path, "/")),
			Username: orDefault(u.User.Username()),
			Password: password,
		},
		DialTimeout: 5 * time.Second,
		Compression: &clickhouse.Compression{Method: clickhouse.CompressionLZ4},
		ClientInfo:  clickhouse.ClientInfo{Products: []struct{ Name, Version string }{{Name: "tintype"}}},
	}
	if inline, ok := u.User.Password(); ok && password == "" {
		options.Auth.Password = inline
	}
	if u.Scheme == "clickhouse+tls" {
		if options.TLS, err = tlsConfig(u.Query()); err != nil {
			return nil, err
		}
	}
	return options, nil
}

func orDefault(s string) string {
	if s == "" {
		return "default"
	}
	return s
}

// redactURLError keeps the reason and drops the address, which may hold a
// password.
func redactURLError(err error) error {
	if e, ok := errors.AsType[*url.Error](err); ok {
		return e.Err
	}
	return err
}
