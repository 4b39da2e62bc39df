package gokabench

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/IBM/sarama"
	"github.com/lovoo/goka"
	"github.com/lovoo/goka/storage"

	"github.com/tintype/tintype/exactly"
)

// Sides are what is compared.
const (
	adapter = "exactly" // this project's, exactly once
	stock   = "stock"   // goka over sarama, at least once
)

const (
	adapterSettings = "exactly once; commit when drained, or after the commit interval; the defaults otherwise"
	stockSettings   = "at least once; acks all, flush after 2 ms or 512 KiB, channels of 2048, fetches of 8 MiB and at most 100 ms, " +
		"heartbeats each second, offsets committed each 100 ms; the defaults otherwise"
)

// A member is a processor that runs.
type member struct {
	// ready is closed once its tables are recovered and records flow.
	ready <-chan struct{}
	ended chan error
	stop  context.CancelFunc
}

// patience bounds every wait for something that should happen soon.
const patience = 2 * time.Minute

// await waits until a member is ready.
func (m *member) await(ctx context.Context) error {
	select {
	case <-m.ready:
		return nil
	case err := <-m.ended:
		m.ended <- err
		return fmt.Errorf("the processor ended by itself: %w", err)
	case <-time.After(patience):
		return errors.New("the processor was not ready in time")
	case <-ctx.Done():
		return ctx.Err()
	}
}

// drain ends a member and waits until it has ended.
func (m *member) drain() error {
	m.stop()
	select {
	case err := <-m.ended:
		m.ended <- err
		return err
	case <-time.After(patience):
		return errors.New("the processor did not drain")
	}
}

// A role says how to run a member.
type role struct {
	side     string
	instance string
	dir      string
	linger   time.Duration
}

// start runs a graph.
func (b *bench) start(ctx context.Context, r role, graph *goka.GroupGraph) (*member, error) {
	ctx, stop := context.WithCancel(ctx)
	m := &member{ended: make(chan error, 1), stop: stop}
	if r.side == stock {
		p, err := goka.NewProcessor(b.Brokers, graph, stockOptions(r.dir)...)
		if err != nil {
			stop()
			return nil, fmt.Errorf("make stock goka's processor: %w", err)
		}
		ready := make(chan struct{})
		go func() {
			if p.WaitForReadyContext(ctx) == nil && ctx.Err() == nil {
				close(ready)
			}
		}()
		m.ready = ready
		go func() { m.ended <- p.Run(ctx) }()
		return m, nil
	}
	ready := make(chan struct{})
	once := sync.OnceFunc(func() { close(ready) })
	m.ready = ready
	cfg := exactly.Config{
		Brokers: b.Brokers, Instance: r.instance, StateDir: r.dir, CreateTopics: true, CommitInterval: b.CommitInterval, Linger: r.linger,
		Hooks: exactly.Hooks{Assigned: func(context.Context, []exactly.Claim) error { once(); return nil }},
	}
	go func() { m.ended <- exactly.Run(ctx, cfg, graph) }()
	return m, nil
}

// stockConfig is the tuning that was found best for stock goka.
func stockConfig() *sarama.Config {
	c := goka.DefaultConfig()
	c.Version = sarama.V2_8_0_0
	c.ChannelBufferSize = 2048
	c.Producer.RequiredAcks = sarama.WaitForAll
	c.Producer.Flush.Frequency = 2 * time.Millisecond
	c.Producer.Flush.Bytes = 512 << 10
	c.Consumer.Offsets.Initial = sarama.OffsetOldest
	c.Consumer.Offsets.AutoCommit.Interval = 100 * time.Millisecond
	c.Consumer.Fetch.Default = 8 << 20
	c.Consumer.Fetch.Max = 64 << 20
	c.Consumer.MaxWaitTime = 100 * time.Millisecond
	c.Consumer.Group.Heartbeat.Interval = time.Second
	return c
}

// stockOptions give each of goka's builders a configuration of its own, since
// they write into it.
func stockOptions(dir string) []goka.ProcessorOption {
	topics := goka.NewTopicManagerConfig()
	topics.Table.Replication, topics.Stream.Replication = 1, 1
	return []goka.ProcessorOption{
		goka.WithLogger(quiet{}), goka.WithHasher(exactly.Murmur2Hasher()), goka.WithStorageBuilder(storage.DefaultBuilder(dir)),
		goka.WithConsumerGroupBuilder(goka.ConsumerGroupBuilderWithConfig(stockConfig())),
		goka.WithProducerBuilder(goka.ProducerBuilderWithConfig(stockConfig())),
		goka.WithConsumerSaramaBuilder(goka.SaramaConsumerBuilderWithConfig(stockConfig())),
		goka.WithTopicManagerBuilder(goka.TopicManagerBuilderWithConfig(stockConfig(), topics)),
	}
}

// quiet is goka's logger: what matters comes back as an error.
type quiet struct{}

func (quiet) Print(...any)          {}
func (quiet) Println(...any)        {}
func (quiet) Printf(string, ...any) {}

// finish drains a member at the end of a function that may have failed.
func (m *member) finish(err *error) { *err = errors.Join(*err, m.drain()) }
