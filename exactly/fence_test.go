package exactly

import (
	"context"
	"strconv"
	"testing"
	"time"

	"github.com/lovoo/goka"
	"github.com/twmb/franz-go/pkg/kgo"
)

// A member that was killed within a transaction leaves it open. The survivors do
// not wait for the broker to time it out, neither to recover their tables nor to
// have their outputs read.
func TestSurvivorsEndADeadMembersTransaction(t *testing.T) {
	l := newLab(t)
	drain := l.running(l.config("a", ""), l.counting())
	l.send(numbered(100)...)
	l.read(l.out, 100)
	if err := drain(); err != nil {
		t.Fatal(err)
	}
	open := func(id string) *kgo.Client {
		dead, err := kgo.NewClient(kgo.SeedBrokers(l.brokers...), kgo.TransactionalID(id), kgo.TransactionTimeout(5*time.Minute),
			kgo.RecordPartitioner(kgo.ManualPartitioner()))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(dead.Close)
		if err := dead.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		for p := range int32(labPartitions) {
			for _, topic := range []string{l.out, string(goka.GroupTable(l.group))} {
				if err := dead.ProduceSync(t.Context(), &kgo.Record{Topic: topic, Partition: p, Key: []byte("k0"), Value: []byte("-1")}).FirstErr(); err != nil {
					t.Fatal(err)
				}
			}
		}
		return dead
	}
	dead := open(transactionalID(string(l.group), "dead"))
	l.running(l.config("b", ""), l.counting())
	for i := range 100 {
		l.send(&kgo.Record{Key: []byte("k" + strconv.Itoa(i%37)), Value: []byte(strconv.Itoa(100 + i))})
	}
	l.exact(l.read(l.out, 200), 200)
	l.table(200)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := dead.EndTransaction(ctx, kgo.TryCommit); err == nil {
		t.Error("the dead member's transaction could be committed afterwards")
	}
}

// Who is in the group, or of another group, is left alone.
func TestNobodyElseIsFenced(t *testing.T) {
	l := newLab(t)
	drain := l.running(l.config("a", ""), l.counting())
	l.send(numbered(100)...)
	l.read(l.out, 100)
	other, err := kgo.NewClient(kgo.SeedBrokers(l.brokers...), kgo.TransactionalID(string(l.group)+"-x/b"))
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if err := other.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	if err := other.ProduceSync(t.Context(), &kgo.Record{Topic: l.out, Value: []byte("other")}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	var status Status
	cfg := l.config("c", "")
	cfg.Status = &status
	l.running(cfg, l.counting())
	l.await(status.Ready)
	if err := other.EndTransaction(t.Context(), kgo.TryCommit); err != nil {
		t.Errorf("a transaction of another group was ended: %v", err)
	}
	if err := drain(); err != nil {
		t.Fatal(err)
	}
}
