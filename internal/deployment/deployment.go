// Package deployment opens a deployment from its addresses: the clients, the
// topics, the schema and the runner of its stages, in the order in which they
// need each other. The commands, the bench harness and the end-to-end tests
// all start here.
package deployment

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/tintype/tintype/blob"
	"github.com/tintype/tintype/event"
	"github.com/tintype/tintype/exactly"
	"github.com/tintype/tintype/extract"
	"github.com/tintype/tintype/internal/servers"
	"github.com/tintype/tintype/load"
	"github.com/tintype/tintype/topologies"
	"github.com/tintype/tintype/transform/pixel"
	"github.com/tintype/tintype/transform/window"
)

// Addresses are the servers of a deployment.
type Addresses struct {
	Kafka      string
	ClickHouse string
	Registry   string
	Blobs      string
}

// Secrets are the passwords that belong to the addresses.
type Secrets struct {
	Kafka      string
	ClickHouse string
	Registry   string
}

// Options say which deployment to open.
type Options struct {
	Addresses
	Secrets
	Name         string
	UploadsTopic string
	// Partitions is for a new deployment; 0: the default.
	Partitions   int
	CreateTopics bool
	Log          *slog.Logger
}

// A Deployment is open: its servers answer and its topics are right.
type Deployment struct {
	Options
	Kafka      *servers.Kafka
	ClickHouse driver.Conn
	Blobs      *blob.Store
	Codecs     *event.Codecs
	Topics     event.Topics
	// PartitionCount is the partition count of every topic.
	PartitionCount int
	// UploadsID is the topic id of uploads.
	UploadsID uuid.UUID
}

// Open connects to the servers of a deployment, makes its topics where that is
// wanted, and brings the schema of ClickHouse up to date. An empty ClickHouse
// address leaves ClickHouse out. The caller closes the deployment.
func Open(ctx context.Context, o Options) (_ *Deployment, err error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Name == "" {
		o.Name = event.DefaultDeployment
	}
	d := &Deployment{Options: o, Topics: event.TopicsOf(o.Name, o.UploadsTopic)}
	defer func() {
		if err != nil {
			err = errors.Join(err, d.Close())
		}
	}()
	if d.Kafka, err = servers.ParseKafka(o.Addresses.Kafka, o.Secrets.Kafka); err != nil {
		return nil, err
	}
	if err := d.openTopics(ctx); err != nil {
		return nil, d.Advise(err)
	}
	if d.Codecs, err = servers.Codecs(ctx, o.Addresses.Registry, o.Secrets.Registry, d.Topics); err != nil {
		return nil, err
	}
	if d.Blobs, err = blob.Open(ctx, o.Blobs); err != nil {
		return nil, err
	}
	if o.Addresses.ClickHouse != "" {
		if d.ClickHouse, err = openClickHouse(ctx, o.Addresses.ClickHouse, o.Secrets.ClickHouse); err != nil {
			return nil, err
		}
	}
	return d, nil
}

// openTopics finds the deployment's topics, or makes them.
func (d *Deployment) openTopics(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	if err := d.Kafka.Reachable(ctx); err != nil {
		return err
	}
	admin, err := d.Kafka.Admin()
	if err != nil {
		return err
	}
	defer admin.Close()
	if d.CreateTopics {
		d.PartitionCount, err = topologies.EnsureTopics(ctx, admin, d.Topics, d.Partitions)
	} else {
		d.PartitionCount, err = topologies.CheckTopics(ctx, admin, d.Topics)
	}
	if err != nil {
		return err
	}
	d.UploadsID, err = TopicID(ctx, admin, d.Topics.Uploads.Name)
	return err
}

// TopicID asks for the id of a topic.
func TopicID(ctx context.Context, admin *kadm.Client, topic string) (uuid.UUID, error) {
	details, err := admin.ListTopics(ctx, topic)
	if err != nil {
		return uuid.UUID{}, fmt.Errorf("deployment: id of topic %s: %w", topic, err)
	}
	if err := details.Error(); err != nil {
		return uuid.UUID{}, fmt.Errorf("deployment: id of topic %s: %w", topic, err)
	}
	return uuid.UUID(details[topic].ID), nil
}

// openClickHouse connects and migrates.
func openClickHouse(ctx context.Context, address, password string) (driver.Conn, error) {
	options, err := servers.ParseClickHouse(address, password)
	if err != nil {
		return nil, err
	}
	conn, err := load.Open(ctx, options)
	if err != nil {
		return nil, servers.AdviseClickHouse(err)
	}
	if err := load.Migrate(ctx, options); err != nil {
		return nil, errors.Join(servers.AdviseClickHouse(err), conn.Close())
	}
	return conn, nil
}

// Advise adds to the error of a server that refused its user which right to give.
func (d *Deployment) Advise(err error) error { return d.Kafka.Advise(err, d.Name+"-") }

// Close ends the connections.
func (d *Deployment) Close() error {
	var errs []error
	if d.ClickHouse != nil {
		errs = append(errs, d.ClickHouse.Close())
	}
	if d.Blobs != nil {
		errs = append(errs, d.Blobs.Close())
	}
	return errors.Join(errs...)
}

// Work says how a process runs the stages.
type Work struct {
	StateDir string
	// Instance is unique among the running instances and stays over restarts,
	// which fence what a dead predecessor left open; "" takes the one that the
	// state directory holds.
	Instance       string
	Specs          []pixel.Spec
	DecodeBudget   time.Duration
	RenderMemory   int64
	Delivery       exactly.Delivery
	RepeatTTL      time.Duration
	CommitInterval time.Duration
	LoadLinger     time.Duration
	Time           Time
	Metrics        *topologies.Metrics
	Stages         []event.Stage
}

// Time says how the stages treat event time; the zero value of each field means its
// default in [topologies.Config].
type Time struct {
	Windows        *window.Set
	EarlyCadence   time.Duration
	MaxOpenWindows int
	MaxAhead       time.Duration
	TickAfter      time.Duration
	TickAllowance  time.Duration
}

// Runner makes the runner of the deployment's stages.
func (d *Deployment) Runner(w Work) (*topologies.Runner, error) {
	w.StateDir = filepath.Join(w.StateDir, d.Name)
	if w.Instance == "" {
		instance, err := instanceOf(w.StateDir)
		if err != nil {
			return nil, err
		}
		w.Instance = instance
	}
	return topologies.NewRunner(topologies.Config{
		Deployment: d.Name, Topics: d.Topics, Codecs: d.Codecs,
		Brokers: d.Kafka.Brokers, KafkaOptions: d.Kafka.Options, CreateTopics: d.CreateTopics,
		Blobs: d.Blobs, ClickHouse: d.ClickHouse, Specs: w.Specs, Limits: extract.DefaultLimits(),
		DecodeBudget: w.DecodeBudget, RenderMemory: w.RenderMemory,
		StateDir: w.StateDir, Instance: w.Instance,
		Delivery: w.Delivery, RepeatTTL: w.RepeatTTL, CommitInterval: w.CommitInterval, LoadLinger: w.LoadLinger, Metrics: w.Metrics, Log: d.Log,
		Windows: w.Time.Windows, EarlyCadence: w.Time.EarlyCadence, MaxOpenWindows: w.Time.MaxOpenWindows,
		MaxAhead: w.Time.MaxAhead, TickAfter: w.Time.TickAfter, TickAllowance: w.Time.TickAllowance,
	}, w.Stages...)
}

// instanceOf reads the instance id of a state directory, or gives it one.
func instanceOf(dir string) (string, error) {
	path := filepath.Join(dir, "instance")
	data, err := os.ReadFile(path)
	if err == nil {
		return strings.TrimSpace(string(data)), nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("deployment: read instance id: %w", err)
	}
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return "", fmt.Errorf("deployment: make state directory: %w", err)
	}
	id := uuid.NewString()[:8]
	// A link fails where another process was first, so that both take its id
	// and one of them meets the lock.
	draft := path + "." + id
	if err := os.WriteFile(draft, []byte(id+"\n"), 0o600); err != nil {
		return "", fmt.Errorf("deployment: write instance id: %w", err)
	}
	err = os.Link(draft, path)
	if err := os.Remove(draft); err != nil {
		return "", fmt.Errorf("deployment: write instance id: %w", err)
	}
	switch {
	case errors.Is(err, fs.ErrExist):
		return instanceOf(dir)
	case err != nil:
		return "", fmt.Errorf("deployment: write instance id: %w", err)
	}
	return id, nil
}
