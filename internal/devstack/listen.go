package devstack

import (
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"
)

// loopback takes a free port of this machine.
const loopback = "127.0.0.1:0"

// Busy reports whether an address is in use.
func Busy(ctx context.Context, address string) bool {
	return errors.Is(listenable(ctx, address), syscall.EADDRINUSE)
}

// listenable tells why an address cannot be listened on.
func listenable(ctx context.Context, address string) error {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if operation, ok := errors.AsType[*net.OpError](err); ok {
		return operation.Err // The rest of it is the address.
	}
	if err != nil {
		return err
	}
	return l.Close()
}

// checkListen refuses the addresses that cannot be taken, by the names of
// their flags, before anything is fetched or started.
func (o Options) checkListen(ctx context.Context) error {
	for _, l := range []struct{ server, flag, address string }{
		{"Kafka", "kafka-listen", o.KafkaListen},
		{"ClickHouse", "clickhouse-listen", o.ClickHouseListen},
		{"ClickHouse", "clickhouse-http-listen", o.ClickHouseHTTPListen},
	} {
		if l.address == "" {
			continue
		}
		if err := listenable(ctx, l.address); err != nil {
			return fmt.Errorf("devstack: %s cannot listen on %s: %w (--%s takes another address; port 0 is a free one)", l.server, l.address, err, l.flag)
		}
	}
	return nil
}
