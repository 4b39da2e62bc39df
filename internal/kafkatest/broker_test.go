package kafkatest

import (
	"context"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

const patience = time.Minute

// What a committed transaction wrote is read back after kill -9, on the same
// address; what the open one wrote is not, and its successor ends it.
func TestTransactionSurvivesKill(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	broker := Run(t)
	makeTopic(ctx, t, broker.Addr(), "photos", 1)
	var want []string
	for i := range 100 {
		want = append(want, strconv.Itoa(i))
	}
	client := begin(ctx, t, broker.Addr(), want...)
	if err := client.EndTransaction(ctx, kgo.TryCommit); err != nil {
		t.Fatal(err)
	}
	client.Close()
	open := begin(ctx, t, broker.Addr(), "in a transaction that never ends")
	defer open.Close()

	addr, pid := broker.Addr(), broker.PID()
	if err := broker.Kill(); err != nil {
		t.Fatal(err)
	}
	if broker.PID() != 0 {
		t.Fatal("a killed broker has a process id")
	}
	began := time.Now()
	if err := broker.Restart(ctx); err != nil {
		t.Fatal(err)
	}
	t.Logf("restarted in %d ms", time.Since(began).Milliseconds())
	if broker.Addr() != addr || broker.PID() == pid {
		t.Fatalf("restarted on %s as process %d, was on %s as process %d", broker.Addr(), broker.PID(), addr, pid)
	}
	client = begin(ctx, t, addr, "last")
	defer client.Close()
	if err := client.EndTransaction(ctx, kgo.TryCommit); err != nil {
		t.Fatal(err)
	}
	read(ctx, t, addr, append(want, "last"))
}

// begin writes in a transaction and leaves it open.
func begin(ctx context.Context, t *testing.T, addr string, values ...string) *kgo.Client {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.TransactionalID("kafkatest"), kgo.DefaultProduceTopic("photos"))
	if err != nil {
		t.Fatal(err)
	}
	if err := client.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	var records []*kgo.Record
	for _, v := range values {
		records = append(records, kgo.StringRecord(v))
	}
	if err := client.ProduceSync(ctx, records...).FirstErr(); err != nil {
		t.Fatal(err)
	}
	return client
}

// read holds what a topic's reader of committed records gets against want.
func read(ctx context.Context, t *testing.T, addr string, want []string) {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.ConsumeTopics("photos"),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	var got []string
	for len(got) < len(want) || got[len(got)-1] != want[len(want)-1] {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err0(); err != nil {
			t.Fatalf("%v after %d records", err, len(got))
		}
		fetches.EachRecord(func(r *kgo.Record) { got = append(got, string(r.Value)) })
	}
	if !slices.Equal(got, want) {
		t.Fatalf("read %q, want %q", got, want)
	}
}

// A folder that was stopped in peace opens again on another port, and what a
// broker is asked to set is set.
func TestFolderOpensOnAnotherPort(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	first := Run(t)
	makeTopic(ctx, t, first.Addr(), "kept", 3)
	if err := first.Stop(ctx); err != nil {
		t.Fatal(err)
	}
	if err := first.Stop(ctx); err != nil {
		t.Fatalf("stopping what is stopped: %v", err)
	}
	second, err := Start(ctx, Options{Dir: first.options.Dir, Properties: map[string]string{"message.max.bytes": "2000000"}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := second.Stop(context.WithoutCancel(ctx)); err != nil {
			t.Error(err)
		}
	}()
	client, err := kgo.NewClient(kgo.SeedBrokers(second.Addr()))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	topics, err := admin.ListTopics(ctx, "kept")
	if err != nil || len(topics["kept"].Partitions) != 3 {
		t.Fatalf("%v, topic kept: %+v", err, topics["kept"])
	}
	configs, err := admin.DescribeBrokerConfigs(ctx, 1)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"message.max.bytes": "2000000", "auto.create.topics.enable": "false",
		"transaction.abort.timed.out.transaction.cleanup.interval.ms": "1000",
	}
	for _, c := range configs[0].Configs {
		if w, asked := want[c.Key]; asked && c.MaybeValue() == w {
			delete(want, c.Key)
		}
	}
	if len(want) != 0 {
		t.Errorf("not set: %v", want)
	}
}

func makeTopic(ctx context.Context, t *testing.T, addr, topic string, partitions int32) {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(addr))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	created, err := kadm.NewClient(client).CreateTopic(ctx, partitions, 1, nil, topic)
	if err != nil || created.Err != nil {
		t.Fatal(err, created.Err)
	}
}
