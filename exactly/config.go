package exactly

import (
	"context"
	"errors"
	"fmt"
	"hash"
	"log/slog"
	"regexp"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	defaultCommitInterval     = 100 * time.Millisecond
	defaultTransactionTimeout = 30 * time.Second
	defaultSessionTimeout     = 10 * time.Second
	minSessionTimeout         = 6 * time.Second
	defaultMaxPollRecords     = 10_000
	defaultMaxMessageBytes    = 1 << 20
)

// Config says how one goka group runs on Kafka transactions. The zero value of
// each optional field means its default.
type Config struct {
	// Brokers are the seed addresses. Required.
	Brokers []string
	// KafkaOptions holds dialer, TLS, SASL and hooks. They are applied to every
	// client that the package makes; options the protocol depends on win.
	KafkaOptions []kgo.Opt
	// Instance names this member of the group, uniquely among the processes
	// that run at the same time and stable over restarts: the transactional id
	// is "<group>/<instance>", and a restart fences its dead predecessor by it.
	// Required; letters, digits, '.', '_' and '-'.
	Instance string
	// StateDir is the root of the LevelDB state. Tables live below cluster id,
	// group, instance, topic id and partition, so that a directory never serves
	// another cluster or a re-created topic. It is locked. Empty: tables are
	// kept in memory and recovered in full on every assignment.
	StateDir string
	// Delivery is what the group promises. Default ExactlyOnce.
	Delivery Delivery
	// CommitInterval is the latest commit after the first record of a
	// transaction. Default 100 ms.
	CommitInterval time.Duration
	// Linger is the least age of a transaction, counted from its first record,
	// before it is committed because the input is drained. Default 0.
	Linger time.Duration
	// TransactionTimeout is Kafka's transaction.timeout.ms; a third of it is the
	// budget that one transaction may spend on records. Default 30 s.
	TransactionTimeout time.Duration
	// SessionTimeout is the group's. Brokers refuse less than 6 s, and so does
	// New. Default 10 s.
	SessionTimeout time.Duration
	// HeartbeatInterval defaults to a quarter of SessionTimeout, at most 1 s: a
	// member learns of a rebalance from its next heartbeat.
	HeartbeatInterval time.Duration
	// MaxPollRecords bounds the records in hand. Default 10,000.
	MaxPollRecords int
	// MaxMessageBytes bounds one emitted record: a larger one is refused with
	// an *OversizeError before it is produced. Default 1 MiB.
	MaxMessageBytes int32
	// Replication of the table and loop topics that are created; 0 means
	// min(3, brokers).
	Replication int
	// CreateTopics allows to create the group's table and loop topics.
	CreateTopics bool
	// Hasher assigns keys to partitions, for the producer and for goka. Default:
	// Murmur2Hasher, as Kafka's own clients.
	Hasher func() hash.Hash32
	// Prepare, when set, says which work is done on polled records before their
	// callbacks, GOMAXPROCS tasks side by side.
	Prepare Prepare
	// Hooks tie the caller's own state to the transaction.
	Hooks Hooks
	// Status, when set, is kept up to date for probes and metrics.
	Status *Status
	// Log receives what happens to the session. Default: nothing.
	Log *slog.Logger
}

// Claim is one assigned partition with what the group last committed for it.
type Claim struct {
	Topic     string
	TopicID   [16]byte // zero if the broker has none
	Partition int32
	Offset    int64 // next offset to read as committed, -1 if none
	Metadata  string
}

// Hooks are called from the goroutine that drives transactions, never
// concurrently with each other (but for Revoked, see there).
type Hooks struct {
	// Assigned runs after every assignment and after every abort, once tables
	// are recovered and before any record is delivered, with all partitions now
	// held. State that follows the transaction is reset here to what Metadata
	// says and, by [Status.EachKey], to what the table says. An error ends the session; Run
	// retries with backoff.
	Assigned func(ctx context.Context, claims []Claim) error
	// EndWith is asked at the start of each transaction, for each partition held:
	// if ok, the transaction that reads the partition's record at offset reads
	// nothing of that partition behind it. It must not block.
	EndWith func(topic string, partition int32) (offset int64, ok bool)
	// BeforeCommit runs once every delivered record is marked, before the
	// commit. [Produce] works on its context. An error aborts the transaction and
	// its records are polled again after a backoff.
	BeforeCommit func(ctx context.Context) error
	// Metadata is asked for each partition whose offset is about to be
	// committed; Claim.Metadata hands it back. A partition without records in
	// the transaction keeps what it had. It must not block.
	Metadata func(topic string, partition int32) string
	// Committed runs after a commit and the flush of the tables.
	Committed func()
	// Revoked runs after partitions were taken away and their tables closed.
	Revoked func(claims []Claim)
}

var instancePattern = regexp.MustCompile(`^[A-Za-z0-9._-]{1,200}$`)

// withDefaults checks cfg and fills in what is missing.
func (cfg Config) withDefaults() (Config, error) {
	if len(cfg.Brokers) == 0 {
		return cfg, permanent(errors.New("exactly: check config: Brokers is empty"))
	}
	if !instancePattern.MatchString(cfg.Instance) || cfg.Instance == "." || cfg.Instance == ".." {
		return cfg, permanent(fmt.Errorf("exactly: check config: Instance %q: want 1 to 200 letters, digits, '.', '_' or '-'", cfg.Instance))
	}
	delivery, err := ParseDelivery(string(cfg.Delivery))
	if err != nil {
		return cfg, permanent(err)
	}
	cfg.Delivery = delivery
	setDefault(&cfg.CommitInterval, defaultCommitInterval)
	cfg.setTimeouts()
	setDefault(&cfg.MaxPollRecords, defaultMaxPollRecords)
	setDefault(&cfg.MaxMessageBytes, defaultMaxMessageBytes)
	if cfg.SessionTimeout < minSessionTimeout {
		return cfg, permanent(fmt.Errorf("exactly: check config: SessionTimeout %v: brokers refuse less than %v", cfg.SessionTimeout, minSessionTimeout))
	}
	if cfg.HeartbeatInterval <= 0 || cfg.HeartbeatInterval > cfg.SessionTimeout/3 {
		return cfg, permanent(fmt.Errorf("exactly: check config: HeartbeatInterval %v: want more than 0 and at most a third of SessionTimeout %v", cfg.HeartbeatInterval, cfg.SessionTimeout))
	}
	if cfg.CommitInterval < 0 || cfg.Linger < 0 || max(cfg.CommitInterval, cfg.Linger) > cfg.TransactionTimeout/3 {
		return cfg, permanent(fmt.Errorf("exactly: check config: CommitInterval %v and Linger %v: want 0 to a third of TransactionTimeout %v", cfg.CommitInterval, cfg.Linger, cfg.TransactionTimeout))
	}
	if cfg.MaxPollRecords < 0 || cfg.MaxMessageBytes < 0 || cfg.Replication < 0 {
		return cfg, permanent(errors.New("exactly: check config: MaxPollRecords, MaxMessageBytes and Replication must not be negative"))
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Status == nil {
		cfg.Status = new(Status)
	}
	return cfg, nil
}

// setTimeouts fills in what the brokers are told.
func (cfg *Config) setTimeouts() {
	setDefault(&cfg.TransactionTimeout, defaultTransactionTimeout)
	setDefault(&cfg.SessionTimeout, defaultSessionTimeout)
	setDefault(&cfg.HeartbeatInterval, min(cfg.SessionTimeout/4, time.Second))
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// metadataAge is how old what a client tells of topics may be.
const metadataAge = 250 * time.Millisecond

// clientOptions are shared by every client that the package makes.
func (cfg *Config) clientOptions(clientID string) []kgo.Opt {
	opts := []kgo.Opt{
		kgo.SeedBrokers(cfg.Brokers...),
		kgo.ClientID(clientID),
		kgo.WithLogger(kafkaLogger{cfg.Log}),
		kgo.MetadataMinAge(metadataAge),
	}
	return append(opts, cfg.KafkaOptions...)
}
