package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"

	"github.com/tintype/tintype/internal/devstack"
	"github.com/tintype/tintype/internal/servers"
)

// stackFlags are the embedded stack's; dev, demo and bench share them.
type stackFlags struct {
	KafkaListen          string `help:"Address of the embedded Kafka; port 0 takes a free one (default: ${default})." default:"${kafka_listen}" placeholder:"ADDRESS"`
	ClickHouseListen     string `name:"clickhouse-listen" help:"Address of the embedded ClickHouse, native protocol (default: ${default})." default:"${clickhouse_listen}" placeholder:"ADDRESS"`
	ClickHouseHTTPListen string `name:"clickhouse-http-listen" help:"Address of the embedded ClickHouse, HTTP (default: ${default})." default:"${clickhouse_http_listen}" placeholder:"ADDRESS"`
	EngineLib            string `help:"libchdb.so to use; without it npm or pip fetch the pinned one, once." type:"path" placeholder:"FILE"`
	Chserver             string `help:"The chserver binary; without it the one beside tintype." type:"path" placeholder:"FILE"`
}

// devCommand runs the embedded stack.
type devCommand struct {
	stackFlags
	Dir    string `help:"Folder that keeps everything over restarts." default:"${dev}" type:"path"`
	Output string `short:"o" env:"-" help:"text or json: one line with the addresses that were taken." enum:"text,json" default:"text"`
}

// Help shows examples.
func (devCommand) Help() string {
	return "Examples:\n  tintype dev\n  tintype dev --dir ./data --kafka-listen 127.0.0.1:0 --clickhouse-listen 127.0.0.1:0 --clickhouse-http-listen 127.0.0.1:0 -o json\n\n" +
		"With TINTYPE_CLICKHOUSE_PASSWORD set, ClickHouse asks for it. Then, in other terminals: tintype run, tintype produce, tintype sql."
}

// Run implements the command.
func (c *devCommand) Run(e *env) error {
	stack, err := c.start(e, c.Dir)
	if err != nil {
		return err
	}
	if err := c.print(e, stack.Addresses()); err != nil {
		return errors.Join(err, stack.Close())
	}
	select {
	case <-e.ctx.Done():
		return stack.Close()
	case err := <-stack.Failed():
		return errors.Join(err, stack.Close())
	}
}

func (c *devCommand) print(e *env, a devstack.Addresses) error {
	if c.Output == "json" {
		return json.NewEncoder(e.stdout).Encode(a)
	}
	_, err := fmt.Fprintf(e.stdout, "Kafka            %s\nClickHouse       %s\nClickHouse HTTP  %s\nBlobs            %s\n\nCtrl-C ends it.\n",
		a.Kafka, a.ClickHouse, a.ClickHouseHTTP, a.Blobs)
	return err
}

// start starts the embedded stack in a folder, with progress on stderr.
func (f stackFlags) start(e *env, dir string) (*devstack.Stack, error) {
	password, err := servers.Secret("TINTYPE_CLICKHOUSE_PASSWORD")
	if err != nil {
		return nil, &setupError{err}
	}
	for flag, address := range map[string]string{
		"kafka-listen": f.KafkaListen, "clickhouse-listen": f.ClickHouseListen, "clickhouse-http-listen": f.ClickHouseHTTPListen,
	} {
		if _, port, err := net.SplitHostPort(address); err != nil || port == "" {
			return nil, &usageError{fmt.Errorf("--%s %q: want host:port", flag, address)}
		}
	}
	log := e.logger()
	stack, err := devstack.Start(e.ctx, devstack.Options{
		Dir: dir, KafkaListen: f.KafkaListen, ClickHouseListen: f.ClickHouseListen, ClickHouseHTTPListen: f.ClickHouseHTTPListen,
		EngineLib: f.EngineLib, Chserver: f.Chserver, ClickHousePassword: password, Log: log,
	})
	if err != nil {
		return nil, &setupError{err}
	}
	return stack, nil
}

// elsewhere moves those of the default addresses that are in use to free
// ports: what runs there already must not keep a demo from running.
func (f stackFlags) elsewhere(e *env, defaults map[string]string) stackFlags {
	for name, address := range map[string]*string{
		"kafka_listen": &f.KafkaListen, "clickhouse_listen": &f.ClickHouseListen, "clickhouse_http_listen": &f.ClickHouseHTTPListen,
	} {
		if *address == defaults[name] && devstack.Busy(e.ctx, *address) {
			e.say(*address + " is in use, taking a free port")
			*address = "127.0.0.1:0"
		}
	}
	return f
}
