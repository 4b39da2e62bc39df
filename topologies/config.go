package topologies

import (
	"cmp"
	"fmt"
	"log/slog"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tintype/tintype/blob"
	"github.com/tintype/tintype/event"
	"github.com/tintype/tintype/exactly"
	"github.com/tintype/tintype/extract"
	"github.com/tintype/tintype/transform/pixel"
	"github.com/tintype/tintype/transform/window"
)

// Config says what a deployment's processors work on and with.
type Config struct {
	// Deployment prefixes the goka groups.
	Deployment string
	Topics     event.Topics
	Codecs     *event.Codecs

	Brokers      []string
	KafkaOptions []kgo.Opt
	// CreateTopics lets groups create their tables and loops.
	CreateTopics bool

	Blobs *blob.Store
	// ClickHouse is used by the load stage alone; it may be nil without it.
	ClickHouse driver.Conn

	// Specs are the renditions to make.
	Specs []pixel.Spec
	// Limits guard extract.
	Limits extract.Limits
	// DecodeBudget is how long one photo may take to render; 0: 5 s.
	DecodeBudget time.Duration
	// RepeatTTL is how long, in event time, an upload id is taken: the same id
	// within it is a repeat; 0: 30 days.
	RepeatTTL time.Duration
	// RenderMemory bounds, in bytes, what all photos in hand of this process hold
	// together, as files and while they are rendered; 0: 256 MiB.
	RenderMemory int64

	// StateDir holds the tables of this instance.
	StateDir string
	// Instance is unique among the running instances of a deployment.
	Instance string
	// Delivery is what the stages promise; "": exactly once.
	Delivery exactly.Delivery
	// CommitInterval is the longest a transaction gathers; 0: 100 ms.
	CommitInterval time.Duration
	// LoadLinger is how long the loader gathers rows for an insert; 0: 100 ms.
	LoadLinger time.Duration
	// Windows are the aggregates of the deployment; nil: [DefaultAggregates].
	Windows *window.Set
	// EarlyCadence is the least time between two early results of a key; 0: 1 s.
	EarlyCadence time.Duration
	// MaxOpenWindows is how many open windows of an aggregate a key may have; 0: 10,000.
	MaxOpenWindows int
	// MaxAhead is how far an upload's event time may be ahead of its append time; 0: 1 min.
	MaxAhead time.Duration
	// TickAfter is how long a partition of uploads is idle before a tick moves its
	// stream time; 0: 10 s, less than 0: never.
	TickAfter time.Duration
	// TickAllowance is how far a tick stays behind its append time; 0: 10 s.
	TickAllowance time.Duration
	// TransactionTimeout is how long the broker waits for a transaction to end; 0: 30 s.
	TransactionTimeout time.Duration

	Metrics *Metrics
	Log     *slog.Logger
	// Now is the clock; nil: time.Now.
	Now func() time.Time
}

// withDefaults fills what is not set and refuses what cannot work.
func (c Config) withDefaults() (Config, error) {
	c.Deployment = cmp.Or(c.Deployment, event.DefaultDeployment)
	if c.Topics.Uploads.Name == "" {
		c.Topics = event.TopicsOf(c.Deployment, "")
	}
	if c.Codecs == nil {
		c.Codecs = event.NewCodecs()
	}
	if len(c.Specs) == 0 {
		c.Specs = pixel.DefaultSpecs()
	}
	c.DecodeBudget = cmp.Or(c.DecodeBudget, 5*time.Second)
	c.RepeatTTL = cmp.Or(c.RepeatTTL, 30*24*time.Hour)
	c.RenderMemory = cmp.Or(c.RenderMemory, 256<<20)
	c.CommitInterval = cmp.Or(c.CommitInterval, 100*time.Millisecond)
	c.LoadLinger = cmp.Or(c.LoadLinger, 100*time.Millisecond)
	c.TransactionTimeout = cmp.Or(c.TransactionTimeout, 30*time.Second)
	c.EarlyCadence = cmp.Or(c.EarlyCadence, time.Second)
	c.MaxOpenWindows = cmp.Or(c.MaxOpenWindows, 10_000)
	c.MaxAhead = cmp.Or(c.MaxAhead, time.Minute)
	c.TickAfter = cmp.Or(c.TickAfter, 10*time.Second)
	c.TickAllowance = cmp.Or(c.TickAllowance, 10*time.Second)
	if c.Windows == nil {
		set, err := window.NewSet(DefaultAggregates())
		if err != nil {
			return c, err
		}
		c.Windows = set
	}
	if c.Metrics == nil {
		c.Metrics = NewMetrics()
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Blobs == nil {
		return c, fmt.Errorf("topologies: no blob store")
	}
	if c.DecodeBudget > c.TransactionTimeout/3 {
		return c, fmt.Errorf("topologies: the decode budget %v is over a third of the transaction timeout %v: a slow photo could never commit",
			c.DecodeBudget, c.TransactionTimeout)
	}
	return c, nil
}

// Stages lists all stages in the order of the pipeline.
func Stages() []event.Stage {
	return []event.Stage{event.StageExtract, event.StageTransform, event.StageWindows, event.StageLoad}
}

// LoopTopic names the loop topic of a group, by goka's rule.
func LoopTopic(group string) string { return group + "-loop" }

// Group is the consumer group of a stage.
func Group(deployment string, stage event.Stage) string {
	return deployment + "-" + string(stage)
}
