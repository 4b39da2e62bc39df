package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tintype/tintype/event"
	"github.com/tintype/tintype/exactly"
	"github.com/tintype/tintype/internal/deployment"
	"github.com/tintype/tintype/internal/servers"
	"github.com/tintype/tintype/load"
	"github.com/tintype/tintype/topologies"
)

// doctorCommand checks a deployment without changing it.
type doctorCommand struct {
	kafkaFlag
	clickHouseFlag
	nameFlags
	Registry string        `help:"Schema registry URL; none is used without it." placeholder:"URL"`
	Blobs    string        `help:"Blob store URL (default: ${default})." default:"${blobs}" placeholder:"URL"`
	Timeout  time.Duration `help:"How long each check may take." default:"10s"`
	Output   string        `short:"o" env:"-" help:"text, or json: one line a check." enum:"text,json" default:"text"`
}

// Help shows an example.
func (doctorCommand) Help() string {
	return "Example:\n  tintype doctor --kafka broker:9092 --clickhouse clickhouse://me@ch:9000/photos\n\nIt changes nothing. Exit code 1 when a check fails."
}

// A check is one line of the doctor.
type check struct {
	Check  string `json:"check"`
	OK     bool   `json:"ok"`
	Detail string `json:"detail"`
}

// Run implements the command.
func (c *doctorCommand) Run(e *env) error {
	if err := errors.Join(checkKafka(c.Kafka), checkClickHouse(c.ClickHouse)); err != nil {
		return &usageError{err}
	}
	passwords, err := secrets()
	if err != nil {
		return &setupError{err}
	}
	failed := 0
	report := func(k check) error {
		if !k.OK {
			failed++
		}
		if c.Output == "json" {
			return json.NewEncoder(e.stdout).Encode(k)
		}
		mark := "ok   "
		if !k.OK {
			mark = "FAIL "
		}
		_, err := fmt.Fprintf(e.stdout, "%s %-28s %s\n", mark, k.Check, k.Detail)
		return err
	}
	checks := []func(context.Context, deployment.Secrets) []check{c.kafka, c.clickHouse, c.blobs, c.registry}
	for _, run := range checks {
		ctx, cancel := context.WithTimeout(e.ctx, c.Timeout)
		results := run(ctx, passwords)
		cancel()
		for _, k := range results {
			if err := report(k); err != nil {
				return err
			}
		}
	}
	if failed > 0 {
		return fmt.Errorf("doctor: %d checks failed", failed)
	}
	return nil
}

// verdict makes a check of an error, or of what was found.
func verdict(name string, err error, found string) check {
	if err != nil {
		return check{Check: name, Detail: err.Error()}
	}
	return check{Check: name, OK: true, Detail: found}
}

// kafka checks the brokers, the topics and the groups.
func (c *doctorCommand) kafka(ctx context.Context, passwords deployment.Secrets) []check {
	cluster, err := servers.ParseKafka(c.Kafka, passwords.Kafka)
	if err != nil {
		return []check{verdict("kafka", err, "")}
	}
	client, err := cluster.Client()
	if err != nil {
		return []check{verdict("kafka", err, "")}
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	meta, err := admin.BrokerMetadata(ctx)
	if err != nil {
		return []check{verdict("kafka", fmt.Errorf("%s does not answer: %w; %s", cluster, err, servers.KafkaHint(err)), "")}
	}
	results := []check{verdict("kafka", nil, fmt.Sprintf("%s, cluster %s, %d brokers", cluster, meta.Cluster, len(meta.Brokers)))}
	results = append(results, c.failover(ctx, admin, meta.Brokers.NodeIDs())...)
	topics := event.TopicsOf(c.Deployment, c.UploadsTopic)
	count, err := topologies.CheckTopics(ctx, admin, topics)
	results = append(results, verdict("topics", cluster.Advise(err, c.Deployment+"-"), fmt.Sprintf("%d topics of %d partitions, stamped by append time", len(topics.All()), count)))
	for _, topic := range topics.All() {
		if id, err := deployment.TopicID(ctx, admin, topic.Name); err == nil {
			results = append(results, verdict("topic "+topic.Name, nil, "id "+id.String()))
		}
	}
	results = append(results, c.ticks(ctx, client))
	return append(results, c.groups(ctx, client, cluster)...)
}

// groups tells each group's members and lag; a group that never ran is no
// failure.
func (c *doctorCommand) groups(ctx context.Context, client *kgo.Client, cluster *servers.Kafka) []check {
	var results []check
	for _, stage := range topologies.Stages() {
		group := topologies.Group(c.Deployment, stage)
		lag, err := exactly.Behind(ctx, client, group)
		found := "not running"
		if len(lag.Members) > 0 {
			found = fmt.Sprintf("%s, %d members, %d records behind", lag.State, len(lag.Members), lag.Lag.Total())
		}
		results = append(results, verdict("group "+group, cluster.Advise(err, c.Deployment+"-"), found))
	}
	return results
}

// clickHouse checks the server and its schema.
func (c *doctorCommand) clickHouse(ctx context.Context, passwords deployment.Secrets) []check {
	options, err := servers.ParseClickHouse(c.ClickHouse, passwords.ClickHouse)
	if err != nil {
		return []check{verdict("clickhouse", err, "")}
	}
	conn, err := load.Open(ctx, options)
	if err != nil {
		return []check{verdict("clickhouse", servers.AdviseClickHouse(err), "")}
	}
	defer func() { _ = conn.Close() }() // It only read.
	version, err := conn.ServerVersion()
	if err != nil {
		return []check{verdict("clickhouse", err, "")}
	}
	results := []check{verdict("clickhouse", nil, fmt.Sprintf("%s, version %s, database %s", options.Addr[0], version.Version, options.Auth.Database))}
	return append(results, verdict("tables", load.CheckSchema(ctx, conn), "schema as this program wants it"))
}

// blobs checks the blob store.
func (c *doctorCommand) blobs(ctx context.Context, _ deployment.Secrets) []check {
	store, err := openBlobs(ctx, c.Blobs)
	if err != nil {
		return []check{verdict("blobs", err, "")}
	}
	defer func() { _ = store.Close() }() // It only read.
	return []check{verdict("blobs", store.Check(ctx), redacted(c.Blobs))}
}

// registry checks the schema registry, where one is used.
func (c *doctorCommand) registry(ctx context.Context, passwords deployment.Secrets) []check {
	if c.Registry == "" {
		return nil
	}
	return []check{verdict("registry", servers.CheckRegistry(ctx, c.Registry, passwords.Registry), redacted(c.Registry))}
}
