package chaos

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tintype/tintype/event"
	"github.com/tintype/tintype/exactly"
	"github.com/tintype/tintype/internal/chaos/windowcount"
	"github.com/tintype/tintype/internal/devstack"
	"github.com/tintype/tintype/internal/kafkatest"
)

// lab is the servers, the proxies and the workers of a run.
type lab struct {
	options Options
	dir     string
	topics  event.Topics
	groups  groups

	broker     *kafkatest.Broker
	kafka      *kafkaProxy
	engine     string
	engineLog  *os.File
	clickHouse *devstack.ClickHouse
	workers    []*worker // The last one joins and leaves.

	// brokerBusy and clickHouseBusy are held while a fault works on a server.
	brokerBusy, clickHouseBusy sync.Mutex
	outages                    outages

	ledger  *ledger
	uploads *uploads

	// windowLog is the log of uploads as far as it was read, the topics that are gone
	// first.
	windowLog []windowcount.Record

	mu       sync.Mutex
	gone     origins // of topics that were created anew
	merged   merged
	hits     Hits
	troubles []string
}

// openLab starts the servers.
func openLab(ctx context.Context, o Options) (l *lab, err error) {
	l = &lab{options: o, dir: o.Dir, topics: event.TopicsOf(event.DefaultDeployment, ""), gone: origins{}}
	l.groups = groups{extract: "tintype-extract", transform: "tintype-transform", load: "tintype-load"}
	defer func() {
		if err != nil {
			err = errors.Join(err, l.close(context.WithoutCancel(ctx)))
		}
	}()
	if l.ledger, err = openLedger(filepath.Join(l.dir, "ledger.jsonl")); err != nil {
		return l, err
	}
	l.kafka = &kafkaProxy{txns: newTransactions(), stalls: newStalls()}
	l.kafka.txns.none = o.Delivery != exactly.ExactlyOnce
	if err := l.kafka.listen(ctx, ""); err != nil {
		return l, fmt.Errorf("chaos: listen for Kafka: %w", err)
	}
	l.broker, err = kafkatest.Start(ctx, kafkatest.Options{
		Dir: filepath.Join(l.dir, "kafka"), OwnController: true, Properties: map[string]string{"advertised.listeners": "PLAINTEXT://" + l.kafka.addr()},
	})
	if err != nil {
		return l, err
	}
	l.kafka.retarget(l.broker.Addr())
	l.kafka.run(ctx, l.kafka.serve)
	if l.engine, err = devstack.EnsureEngine(ctx, devstack.EngineOptions{}); err != nil {
		return l, err
	}
	if l.engineLog, err = os.Create(filepath.Join(l.dir, "clickhouse.log")); err != nil {
		return l, fmt.Errorf("chaos: create the log of ClickHouse: %w", err)
	}
	if err := l.startClickHouse(ctx); err != nil {
		return l, err
	}
	aggregates, err := l.writeAggregates()
	if err != nil {
		return l, err
	}
	for i := range o.Workers + 1 {
		w, err := l.newWorker(ctx, i+1, aggregates)
		if err != nil {
			return l, err
		}
		l.workers = append(l.workers, w)
	}
	return l, nil
}

// startClickHouse starts the engine, on its former ports where it had some.
func (l *lab) startClickHouse(ctx context.Context) error {
	options := devstack.ClickHouseOptions{Dir: filepath.Join(l.dir, "clickhouse"), Binary: l.options.Chserver, Lib: l.engine, Stderr: l.engineLog}
	if l.clickHouse != nil {
		options.Listen, options.HTTPListen = l.clickHouse.Native(), l.clickHouse.HTTP()
	}
	started, err := devstack.StartClickHouse(ctx, options)
	if err != nil {
		return fmt.Errorf("chaos: start ClickHouse: %w", err)
	}
	l.clickHouse = started
	return nil
}

// close ends all processes.
func (l *lab) close(ctx context.Context) error {
	var errs []error
	for _, w := range l.workers {
		if w.starts > 0 {
			errs = append(errs, w.stop(ctx, 20*time.Second))
		}
	}
	if l.uploads != nil {
		l.uploads.client.Close()
	}
	if l.ledger != nil {
		errs = append(errs, l.ledger.close())
	}
	if l.kafka != nil {
		l.kafka.close()
	}
	for _, w := range l.workers {
		w.clickHouse.close()
	}
	if l.clickHouse != nil {
		errs = append(errs, l.clickHouse.Stop(ctx))
	}
	if l.engineLog != nil {
		errs = append(errs, l.engineLog.Close())
	}
	if l.broker != nil {
		errs = append(errs, l.broker.Stop(ctx))
	}
	return errors.Join(errs...)
}

// begin starts the workers; the first makes the topics and the tables.
func (l *lab) begin(ctx context.Context) error {
	if err := l.workers[0].start(); err != nil {
		return err
	}
	if err := l.awaitReady(ctx); err != nil {
		return err
	}
	if err := holdMerges(ctx, l.clickHouse.Native()); err != nil {
		return err
	}
	for _, w := range l.workers[1:l.options.Workers] {
		if err := w.start(); err != nil {
			return err
		}
	}
	u, err := newUploads(l.kafka.addr(), l.topics.Uploads.Name, l.options.Seed, l.ledger)
	l.uploads = u
	return err
}

// ErrMissing says that Java or Maven is missing, which the broker needs.
var ErrMissing = kafkatest.ErrMissing

// awaitReady waits until the first worker has made the topics and the tables.
func (l *lab) awaitReady(ctx context.Context) error {
	conn, err := clickhouse.Open(&clickhouse.Options{Addr: []string{l.clickHouse.Native()}})
	if err != nil {
		return fmt.Errorf("chaos: connect to ClickHouse: %w", err)
	}
	err = l.poll(ctx, time.Minute, "the tables", func(ctx context.Context, _ *kgo.Client) (bool, error) {
		return conn.Exec(ctx, "SELECT * FROM late_uploads LIMIT 0") == nil, nil
	})
	if err := errors.Join(err, conn.Close()); err != nil {
		return err
	}
	return l.poll(ctx, time.Minute, "the topics", func(ctx context.Context, client *kgo.Client) (bool, error) {
		names := make([]string, 0, 4)
		for _, t := range l.topics.All() {
			names = append(names, t.Name)
		}
		details, err := kadm.NewClient(client).ListTopics(ctx, names...)
		if err != nil || details.Error() != nil {
			return false, nil //nolint:nilerr // Asked again.
		}
		l.kafka.stalls.of(details[l.topics.Photos.Name].ID)
		return true, nil
	})
}

// poll asks until it is so, with a client of its own.
func (l *lab) poll(ctx context.Context, patience time.Duration, what string, ok func(context.Context, *kgo.Client) (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	client, err := kgo.NewClient(kgo.SeedBrokers(l.kafka.addr()), kgo.MetadataMinAge(100*time.Millisecond))
	if err != nil {
		return fmt.Errorf("chaos: connect: %w", err)
	}
	defer client.Close()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		done, err := ok(ctx, client)
		if err != nil || done {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("chaos: wait for %s: %w", what, ctx.Err())
		case <-tick.C:
		}
	}
}

// awaitDrained waits until the stages have read all that there is. A stage that
// does not come to its end within the patience is a trouble of its own.
func (l *lab) awaitDrained(ctx context.Context, patience time.Duration) error {
	steady, behind := 0, "nobody was asked"
	err := l.poll(ctx, patience, "the stages to read all", func(ctx context.Context, client *kgo.Client) (bool, error) {
		for _, w := range l.workers[:l.options.Workers] {
			if err := w.revive(); err != nil {
				return false, err
			}
		}
		for _, group := range []string{l.groups.extract, l.groups.transform, windowsGroup, l.groups.load} {
			asking, cancel := context.WithTimeout(ctx, 5*time.Second)
			lag, err := exactly.Behind(asking, client, group)
			cancel()
			delete(lag.Lag, group+"-table") // It is written, not read.
			if err != nil || lag.Lag.Total() != 0 || lag.Lag == nil {
				steady = 0
				if ctx.Err() == nil {
					behind = behindText(group, lag.Lag, err)
				}
				return false, nil
			}
		}
		steady++ // A record may be between two stages while both are asked.
		return steady == 3, nil
	})
	if err != nil {
		return fmt.Errorf("%w: %s", err, behind)
	}
	return nil
}

// behindText says where a group is behind.
func behindText(group string, lag kadm.GroupLag, err error) string {
	if err != nil {
		return err.Error()
	}
	text := new(strings.Builder)
	text.WriteString(group + " is behind")
	for topic, partitions := range lag {
		for partition, p := range partitions {
			if p.Lag > 0 {
				fmt.Fprintf(text, " %s/%d: %d of %d", topic, partition, p.Lag, p.End.Offset)
			}
		}
	}
	return text.String()
}

// windowsGroup is the consumer group of the stage windows.
const windowsGroup = "tintype-windows"

// quieten starts the workers again without ticks, so that the log stays as it is, and
// waits until they have read all of it.
func (l *lab) quieten(ctx context.Context) error {
	for _, w := range l.workers[:l.options.Workers] {
		if err := w.stop(ctx, time.Minute); err != nil {
			return err
		}
		w.args = append(w.args, "--no-ticks")
		if err := w.start(); err != nil {
			return err
		}
	}
	return l.awaitDrained(ctx, drainPatience)
}

// compare compares the log of this round with what was acked.
func (l *lab) compare(log origins) {
	l.trouble(l.ledger.missing(l.uploads.round, log)...)
}

func (l *lab) trouble(texts ...string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.troubles = append(l.troubles, texts...)
}

// recreate deletes the topic uploads and makes it anew.
func (l *lab) recreate(ctx context.Context) error {
	name := l.topics.Uploads.Name
	log, err := logOf(ctx, l.kafka.addr(), name)
	if err != nil {
		return err
	}
	l.compare(log)
	maps.Copy(l.gone, log)
	if err := errors.Join(l.keepWindowLog(ctx), l.awaitRead(ctx, log)); err != nil {
		return err
	}
	deleted := false
	err = l.poll(ctx, time.Minute, "the topic to be created anew", func(ctx context.Context, client *kgo.Client) (bool, error) {
		admin := kadm.NewClient(client)
		if !deleted {
			if _, err := admin.DeleteTopic(ctx, name); err != nil && !errors.Is(err, kerr.UnknownTopicOrPartition) {
				return false, fmt.Errorf("chaos: delete topic %s: %w", name, err)
			}
			deleted = true
		}
		stamped := "LogAppendTime"
		limit := fmt.Sprint(l.topics.Uploads.MaxMessageBytes)
		_, err := admin.CreateTopic(ctx, partitionCount, 1, map[string]*string{"message.timestamp.type": &stamped, "max.message.bytes": &limit}, name)
		if errors.Is(err, kerr.TopicAlreadyExists) {
			return false, nil
		}
		if err != nil {
			return false, fmt.Errorf("chaos: create topic %s: %w", name, err)
		}
		return true, nil
	})
	if err != nil {
		return err
	}
	return l.uploads.again(l.kafka.addr())
}

// awaitRead waits until extract has read a log, ticks and all.
func (l *lab) awaitRead(ctx context.Context, log origins) error {
	ends := map[int32]int64{}
	for at := range log {
		ends[at.Partition] = max(ends[at.Partition], at.Offset+1)
	}
	return l.poll(ctx, time.Minute, "extract to read the last ticks", func(ctx context.Context, client *kgo.Client) (bool, error) {
		committed, err := kadm.NewClient(client).FetchOffsets(ctx, l.groups.extract)
		if err != nil {
			return false, nil //nolint:nilerr // Asked again.
		}
		for partition, end := range ends {
			if at, there := committed.Lookup(l.topics.Uploads.Name, partition); !there || at.At < end {
				return false, nil
			}
		}
		return true, nil
	})
}

// partitionCount is that of the deployment.
const partitionCount = 4
