package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tintype/tintype/blob"
	"github.com/tintype/tintype/internal/deployment"
	"github.com/tintype/tintype/internal/servers"
	"github.com/tintype/tintype/load"
)

// kafkaFlag, clickHouseFlag and deploymentFlags are shared by the commands, so
// that one flag means one thing everywhere.
type kafkaFlag struct {
	Kafka string `help:"Kafka: host:port,… or kafka://user@host:port?sasl=… or kafka+tls://… (default: ${default})." default:"127.0.0.1:9092" placeholder:"ADDRESS"`
}

type clickHouseFlag struct {
	ClickHouse string `name:"clickhouse" help:"ClickHouse: host:port or clickhouse://user@host:port/database or clickhouse+tls://… (default: ${default})." default:"127.0.0.1:9000" placeholder:"ADDRESS"`
}

type deploymentFlags struct {
	kafkaFlag
	clickHouseFlag
	nameFlags
	Registry string `help:"Schema registry URL; none writes plain Protobuf." placeholder:"URL"`
	Blobs    string `help:"Blob store: file:///folder, s3://bucket?region=…, mem:// (default: ${default})." default:"${blobs}" placeholder:"URL"`

	CreateTopics bool `help:"Create the topics that are missing." default:"true" negatable:""`
	Partitions   int  `help:"Partition count of a new deployment; an existing one keeps its own." default:"4"`
}

type nameFlags struct {
	Deployment   string `help:"Name of the deployment: prefix of its groups." default:"tintype"`
	UploadsTopic string `help:"Topic that uploads arrive on." default:"uploads"`
}

// flagDefaults are the defaults that depend on the machine.
func flagDefaults() map[string]string {
	data := dataDir()
	return map[string]string{
		"data":                   data,
		"blobs":                  fileURL(filepath.Join(data, "dev", "blobs")),
		"state":                  filepath.Join(data, "state"),
		"dev":                    filepath.Join(data, "dev"),
		"http_listen":            "127.0.0.1:9464",
		"kafka_listen":           "127.0.0.1:9092",
		"clickhouse_listen":      "127.0.0.1:9000",
		"clickhouse_http_listen": "127.0.0.1:8123",
	}
}

// dataDir is where this user's data goes (XDG base directories).
func dataDir() string {
	if dir := os.Getenv("XDG_DATA_HOME"); dir != "" {
		return filepath.Join(dir, "tintype")
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return filepath.Join(os.TempDir(), "tintype")
	}
	return filepath.Join(home, ".local", "share", "tintype")
}

func fileURL(path string) string {
	return (&url.URL{Scheme: "file", Path: filepath.ToSlash(path)}).String()
}

// redacted is an address that a person is shown: without the password that it
// may hold. A list of brokers is no URL that net/url reads.
func redacted(address string) string {
	rest, query, hasQuery := strings.Cut(address, "?")
	at := strings.LastIndex(rest, "@")
	if at < 0 {
		return address
	}
	user := 0
	if i := strings.Index(rest, "://"); i >= 0 {
		user = i + len("://")
	}
	if i := strings.Index(rest[user:at], ":"); i >= 0 {
		rest = rest[:user+i] + rest[at:]
	}
	if hasQuery {
		rest += "?" + query
	}
	return rest
}

// secrets reads the passwords from the environment or from files.
func secrets() (deployment.Secrets, error) {
	kafka, err1 := servers.Secret("TINTYPE_KAFKA_PASSWORD")
	clickHouse, err2 := servers.Secret("TINTYPE_CLICKHOUSE_PASSWORD")
	registry, err3 := servers.Secret("TINTYPE_REGISTRY_PASSWORD")
	return deployment.Secrets{Kafka: kafka, ClickHouse: clickHouse, Registry: registry}, errors.Join(err1, err2, err3)
}

// options turns the flags into what deployment.Open takes.
func (f deploymentFlags) options(log *slog.Logger) (deployment.Options, error) {
	if err := f.check(); err != nil {
		return deployment.Options{}, &usageError{err}
	}
	passwords, err := secrets()
	if err != nil {
		return deployment.Options{}, &setupError{err}
	}
	return deployment.Options{
		Addresses: deployment.Addresses{Kafka: f.Kafka, ClickHouse: f.ClickHouse, Registry: f.Registry, Blobs: f.Blobs},
		Secrets:   passwords, Name: f.Deployment, UploadsTopic: f.UploadsTopic, Partitions: f.Partitions,
		CreateTopics: f.CreateTopics, Log: log,
	}, nil
}

// check refuses what no server needs to be asked about.
func (f deploymentFlags) check() error {
	if err := checkKafka(f.Kafka); err != nil {
		return err
	}
	if f.Partitions < 0 {
		return fmt.Errorf("--partitions %d: want 1 or more", f.Partitions)
	}
	if f.ClickHouse == "" {
		return nil
	}
	return checkClickHouse(f.ClickHouse)
}

func checkKafka(address string) error {
	if _, err := servers.ParseKafka(address, ""); err != nil {
		return fmt.Errorf("--kafka: %w", err)
	}
	return nil
}

func checkClickHouse(address string) error {
	if _, err := servers.ParseClickHouse(address, ""); err != nil {
		return fmt.Errorf("--clickhouse: %w", err)
	}
	return nil
}

// open opens the deployment that the flags name.
func (f deploymentFlags) open(ctx context.Context, log *slog.Logger) (*deployment.Deployment, error) {
	options, err := f.options(log)
	if err != nil {
		return nil, err
	}
	d, err := deployment.Open(ctx, options)
	if err != nil {
		return nil, &setupError{err}
	}
	return d, nil
}

// connect opens ClickHouse for a command that only reads.
func (f clickHouseFlag) connect(ctx context.Context) (driver.Conn, error) {
	passwords, err := secrets()
	if err != nil {
		return nil, &setupError{err}
	}
	options, err := servers.ParseClickHouse(f.ClickHouse, passwords.ClickHouse)
	if err != nil {
		return nil, &usageError{fmt.Errorf("--clickhouse: %w", err)}
	}
	conn, err := load.Open(ctx, options)
	if err != nil {
		return nil, &setupError{servers.AdviseClickHouse(err)}
	}
	return conn, nil
}

// reach makes a client of a Kafka that answers, for a command that only reads. The
// caller closes it.
func (f kafkaFlag) reach(ctx context.Context) (*servers.Kafka, *kgo.Client, error) {
	passwords, err := secrets()
	if err != nil {
		return nil, nil, &setupError{err}
	}
	cluster, err := servers.ParseKafka(f.Kafka, passwords.Kafka)
	if err != nil {
		return nil, nil, &usageError{err}
	}
	client, err := cluster.Client()
	if err != nil {
		return nil, nil, &setupError{err}
	}
	if err := client.Ping(ctx); err != nil {
		client.Close()
		return nil, nil, &setupError{fmt.Errorf("%s does not answer: %w; %s", cluster, err, servers.KafkaHint(err))}
	}
	return cluster, client, nil
}

// logger writes to stderr at the level of the command line.
func (e *env) logger() *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(e.logLevel)); err != nil {
		level = slog.LevelInfo // The parser has checked it.
	}
	return slog.New(slog.NewTextHandler(e.stderr, &slog.HandlerOptions{Level: level}))
}

// softMemoryLimit makes the garbage collector work harder before the worker
// holds more than it is meant to; GOMEMLIMIT in the environment wins.
func softMemoryLimit() {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(400 << 20)
	}
}

// openBlobs opens a blob store for a command that needs nothing else.
func openBlobs(ctx context.Context, address string) (*blob.Store, error) {
	store, err := blob.Open(ctx, address)
	if err != nil {
		return nil, &setupError{err}
	}
	return store, nil
}
