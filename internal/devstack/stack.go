package devstack

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// Addresses are where the parts of a stack listen.
type Addresses struct {
	Kafka          string `json:"kafka"`
	ClickHouse     string `json:"clickhouse"`
	ClickHouseHTTP string `json:"clickhouse_http"`
	Blobs          string `json:"blobs"`
}

// Options say how to start a stack.
type Options struct {
	// Dir keeps everything; one process at a time may use it.
	Dir string
	// KafkaListen, ClickHouseListen and ClickHouseHTTPListen are host:port;
	// port 0, or no address, takes a free port.
	KafkaListen, ClickHouseListen, ClickHouseHTTPListen string
	// EngineLib and Chserver name the engine and its server, see
	// EngineOptions and ClickHouseOptions.
	EngineLib, Chserver string
	// ClickHousePassword is asked of clients where it is not empty.
	ClickHousePassword string
	Log                *slog.Logger
}

// Stack is a running Kafka, ClickHouse and folder of blobs.
type Stack struct {
	addresses  Addresses
	lock       *lockFile
	kafka      *Kafka
	clickhouse *ClickHouse
	failed     chan error
	close      sync.Once
	closeErr   error
}

// stopTimeout is how long the engine may take to end.
const stopTimeout = 10 * time.Second

// Start starts the stack of a folder, with what the folder holds.
func Start(ctx context.Context, o Options) (*Stack, error) {
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return nil, fmt.Errorf("devstack: find %s: %w", o.Dir, err)
	}
	blobs := filepath.Join(dir, "blobs")
	if err := os.MkdirAll(blobs, 0o755); err != nil {
		return nil, fmt.Errorf("devstack: make the folder of the stack (--dir): %w", err)
	}
	lock, err := lockDir(dir)
	if err != nil {
		return nil, err
	}
	s := &Stack{lock: lock, failed: make(chan error, 1)}
	if err := s.start(ctx, dir, o); err != nil {
		return nil, errors.Join(err, s.Close()) //nolint:contextcheck // What was started ends even where ctx has ended.
	}
	s.addresses = Addresses{
		Kafka: s.kafka.Addr(), ClickHouse: s.clickhouse.URL(), ClickHouseHTTP: "http://" + s.clickhouse.HTTP(),
		Blobs: "file://" + filepath.ToSlash(blobs),
	}
	go s.watch()
	return s, nil
}

// start starts the parts; Close ends what was started.
func (s *Stack) start(ctx context.Context, dir string, o Options) (err error) {
	if err := o.checkListen(ctx); err != nil {
		return err
	}
	if _, err := chserver(o.Chserver); err != nil {
		return err
	}
	lib, err := EnsureEngine(ctx, EngineOptions{Lib: o.EngineLib, Log: o.Log})
	if err != nil {
		return err
	}
	s.kafka, err = StartKafka(ctx, KafkaOptions{Dir: filepath.Join(dir, "kafka"), Listen: o.KafkaListen, Log: o.Log})
	if err != nil {
		return err
	}
	s.clickhouse, err = StartClickHouse(ctx, ClickHouseOptions{
		Dir: filepath.Join(dir, "clickhouse"), Binary: o.Chserver, Lib: lib, Listen: o.ClickHouseListen,
		HTTPListen: o.ClickHouseHTTPListen, Password: o.ClickHousePassword, Log: o.Log,
	})
	return err
}

func (s *Stack) watch() {
	<-s.clickhouse.Done()
	if err := s.clickhouse.Err(); err != nil {
		s.failed <- err
	}
}

// Addresses are the addresses that were taken.
func (s *Stack) Addresses() Addresses { return s.addresses }

// Failed has the error of a part that could not be kept running.
func (s *Stack) Failed() <-chan error { return s.failed }

// Close ends the parts and lets another process have the folder.
func (s *Stack) Close() error {
	s.close.Do(func() {
		ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
		defer cancel()
		var err error
		if s.clickhouse != nil {
			err = s.clickhouse.Stop(ctx)
		}
		if s.kafka != nil {
			err = errors.Join(err, s.kafka.Close())
		}
		s.closeErr = errors.Join(err, s.lock.release())
	})
	return s.closeErr
}
