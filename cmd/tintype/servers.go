package main

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"

	"github.com/tintype/tintype/internal/deployment"
)

// serverFlags name the servers of a command that starts the embedded stack
// where it is given none; demo and bench share them.
type serverFlags struct {
	stackFlags
	Kafka      string `help:"Kafka to use instead of the embedded one." placeholder:"ADDRESS"`
	ClickHouse string `name:"clickhouse" help:"ClickHouse to use instead of the embedded one." placeholder:"ADDRESS"`
}

// servers starts the embedded stack in a folder, or takes the servers that are
// given; the function that it returns stops what was started.
func (f serverFlags) servers(e *env, dir string) (demoAddresses, func() error, error) {
	given := demoAddresses{Kafka: f.Kafka, ClickHouse: f.ClickHouse, Blobs: fileURL(filepath.Join(dir, "blobs"))}
	if f.Kafka != "" && f.ClickHouse != "" {
		if err := errors.Join(checkKafka(f.Kafka), checkClickHouse(f.ClickHouse)); err != nil {
			return given, nil, &usageError{err}
		}
		return given, func() error { return nil }, nil
	}
	if f.Kafka != "" || f.ClickHouse != "" {
		return given, nil, &usageError{errors.New("give both --kafka and --clickhouse, or neither")}
	}
	e.say("starting Kafka and ClickHouse in " + dir)
	stack, err := f.elsewhere(e, flagDefaults()).start(e, dir)
	if err != nil {
		return given, nil, err
	}
	a := stack.Addresses()
	return demoAddresses{Kafka: a.Kafka, ClickHouse: a.ClickHouse, ClickHouseHTTP: a.ClickHouseHTTP, Blobs: a.Blobs}, stack.Close, nil
}

// openAt opens a deployment on servers.
func openAt(ctx context.Context, a demoAddresses, names nameFlags, log *slog.Logger) (*deployment.Deployment, error) {
	flags := deploymentFlags{nameFlags: names, Blobs: a.Blobs, CreateTopics: true}
	flags.Kafka, flags.ClickHouse = a.Kafka, a.ClickHouse
	return flags.open(ctx, log)
}
