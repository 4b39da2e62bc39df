package devstack

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kfake"
)

// KafkaOptions say how to start the embedded Kafka.
type KafkaOptions struct {
	// Dir keeps topics, groups and transactions over restarts.
	Dir string
	// Listen is host:port; port 0, or no address, takes a free port.
	Listen string
	Log    *slog.Logger
}

// Kafka is a broker in this process.
type Kafka struct {
	cluster *kfake.Cluster
	addr    string
	close   sync.Once
}

// StartKafka starts the broker with what its folder holds.
func StartKafka(ctx context.Context, o KafkaOptions) (*Kafka, error) {
	if o.Listen == "" {
		o.Listen = loopback
	}
	id, err := clusterID(o.Dir)
	if err != nil {
		return nil, err
	}
	var listener net.Listener
	listen := func(network, _ string) (net.Listener, error) {
		l, err := new(net.ListenConfig).Listen(ctx, network, o.Listen)
		listener = l
		return l, err
	}
	options := []kfake.Opt{
		kfake.NumBrokers(1), kfake.ListenFn(listen), kfake.DataDir(filepath.Join(o.Dir, "data")), kfake.ClusterID(id),
		kfake.GroupMinSessionTimeout(100 * time.Millisecond),
	}
	if o.Log != nil {
		options = append(options, kfake.WithLogger(kafkaLog{o.Log}))
	}
	cluster, err := kfake.NewCluster(options...)
	if err != nil {
		return nil, fmt.Errorf("devstack: start Kafka on %s in %s: %w", o.Listen, o.Dir, err)
	}
	if err := stampAppendTime(cluster); err != nil {
		cluster.Close()
		return nil, err
	}
	return &Kafka{cluster: cluster, addr: listener.Addr().String()}, nil
}

// Addr is the address that clients bootstrap from.
func (k *Kafka) Addr() string { return k.addr }

// Close writes the state to the folder and ends the broker.
func (k *Kafka) Close() error {
	k.close.Do(k.cluster.Close)
	return nil
}

// clusterID is the id that a folder's broker always has.
func clusterID(dir string) (string, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("devstack: make the Kafka folder: %w", err)
	}
	file := filepath.Join(dir, "cluster-id")
	data, err := os.ReadFile(file)
	if id := strings.TrimSpace(string(data)); err == nil && id != "" {
		return id, nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("devstack: read the cluster id: %w", err)
	}
	id := uuid.NewString()
	if err := os.WriteFile(file, []byte(id+"\n"), 0o644); err != nil {
		return "", fmt.Errorf("devstack: keep the cluster id: %w", err)
	}
	return id, nil
}

// kafkaLog passes on what the broker has to complain about. Its warnings are of
// steps that took it some milliseconds: nothing for a person to act on.
type kafkaLog struct{ log *slog.Logger }

// Logf implements kfake.Logger.
func (l kafkaLog) Logf(level kfake.LogLevel, format string, args ...any) {
	switch level {
	case kfake.LogLevelError:
		l.log.Error("kafka", slog.String("message", fmt.Sprintf(format, args...)))
	case kfake.LogLevelWarn:
		l.log.Debug("kafka", slog.String("message", fmt.Sprintf(format, args...)))
	default: // What it does is not logged.
	}
}
