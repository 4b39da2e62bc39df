package gokabench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/lovoo/goka"
	"github.com/lovoo/goka/codec"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tintype/tintype/exactly"
)

// Recovery is the time from the start of a member until it has answered from its
// table on every partition: cold with an empty state directory, warm with the one that the cold start
// left.
type Recovery struct {
	Keys    int    `json:"keys"`
	Bytes   int    `json:"bytes"`
	Exactly Starts `json:"exactly"`
	Stock   Starts `json:"stock"`
}

// Starts are in milliseconds, one value a round, with the medians.
type Starts struct {
	ColdMS       []float64 `json:"cold_ms"`
	WarmMS       []float64 `json:"warm_ms"`
	ColdMedianMS float64   `json:"cold_median_ms"`
	WarmMedianMS float64   `json:"warm_median_ms"`
}

func (b *bench) recovery(ctx context.Context) (*Recovery, error) {
	groups, inputs := map[string]string{}, map[string]string{}
	for _, side := range []string{adapter, stock} {
		in, err := b.create(ctx, "recovery")
		if err != nil {
			return nil, err
		}
		inputs[side], groups[side] = in, b.name("recovery-"+side)
		b.Progress(fmt.Sprintf("recovery: writing %d keys for %s", b.RecoveryKeys, side))
		if err := b.fillTable(ctx, side, groups[side], in); err != nil {
			return nil, err
		}
	}
	starts := map[string]*Starts{adapter: {}, stock: {}}
	for round := range b.Rounds {
		for _, side := range turns(round, adapter, stock) {
			cold, warm, err := b.recoverOnce(ctx, side, groups[side], inputs[side])
			if err != nil {
				return nil, fmt.Errorf("%s: %w", side, err)
			}
			b.Progress(fmt.Sprintf("recovery, round %d, %s: cold %.0f ms, warm %.0f ms", round+1, side, cold, warm))
			s := starts[side]
			s.ColdMS, s.WarmMS = append(s.ColdMS, cold), append(s.WarmMS, warm)
		}
	}
	for _, s := range starts {
		s.ColdMedianMS, s.WarmMedianMS = median(s.ColdMS), median(s.WarmMS)
	}
	return &Recovery{Keys: b.RecoveryKeys, Bytes: b.RecoveryBytes, Exactly: *starts[adapter], Stock: *starts[stock]}, nil
}

// fillTable writes a changelog as the side itself writes it: by transactions, or
// plainly, since stock goka waits for ever for a record where a marker is last.
func (b *bench) fillTable(ctx context.Context, side, group, in string) error {
	table := string(goka.GroupTable(goka.Group(group)))
	if _, err := b.createNamed(ctx, table, map[string]*string{"cleanup.policy": new("compact")}); err != nil {
		return err
	}
	client := b.client
	if side == adapter {
		var err error
		client, err = kgo.NewClient(kgo.SeedBrokers(b.Brokers...), kgo.RecordPartitioner(kgo.StickyKeyPartitioner(nil)),
			kgo.ProducerLinger(5*time.Millisecond), kgo.MaxBufferedRecords(50_000), kgo.TransactionalID(group+"/fill"))
		if err != nil {
			return fmt.Errorf("create client: %w", err)
		}
		defer client.Close()
	}
	const transaction = 10_000
	for from := 0; from < b.RecoveryKeys; from += transaction {
		if side == adapter {
			if err := client.BeginTransaction(); err != nil {
				return fmt.Errorf("begin a transaction: %w", err)
			}
		}
		err := fill(ctx, client, min(transaction, b.RecoveryKeys-from), func(i int) *kgo.Record {
			return &kgo.Record{Topic: table, Key: []byte(keyOf(from + i)), Value: b.valueOf(from + i)}
		})
		if err == nil && side == adapter {
			err = client.EndTransaction(ctx, kgo.TryCommit)
		}
		if err != nil {
			return err
		}
	}
	// The group has read its input: the adapter refuses a table without offsets.
	var offsets kadm.Offsets
	for p := range b.Partitions {
		offsets.AddOffset(in, int32(p), 0, -1)
	}
	responses, err := b.admin.CommitOffsets(ctx, group, offsets)
	if err == nil {
		err = responses.Error()
	}
	if err != nil {
		return fmt.Errorf("commit offsets: %w", err)
	}
	return nil
}

func keyOf(i int) string { return "key-" + strconv.Itoa(i) }

// valueOf differs from key to key, and hardly compresses across them.
func (b *bench) valueOf(i int) []byte {
	value := bytes.Repeat([]byte{'.'}, b.RecoveryBytes)
	state := uint64(i)*0x9e3779b97f4a7c15 + 1
	for k := range value {
		state ^= state << 13
		state ^= state >> 7
		state ^= state << 17
		value[k] = 'a' + byte(state%16)
	}
	return value
}

func (b *bench) recoverOnce(ctx context.Context, side, group, in string) (cold, warm float64, err error) {
	dir, removed, err := b.tempDir()
	if err != nil {
		return 0, 0, err
	}
	defer removed(&err)
	if cold, err = b.recoverFrom(ctx, side, group, in, dir); err != nil {
		return 0, 0, err
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) == 0 {
		return 0, 0, errors.Join(errors.New("the cold start left no state"), err)
	}
	warm, err = b.recoverFrom(ctx, side, group, in, dir)
	return cold, warm, err
}

// recoverFrom starts a member whose input asks for the last key of each
// partition, and returns when all are answered. It fails where the table does not
// hold what the changelog does.
func (b *bench) recoverFrom(ctx context.Context, side, group, in, dir string) (ms float64, err error) {
	last := map[uint32]int{}
	for i := b.RecoveryKeys - 1; i >= 0 && len(last) < b.Partitions; i-- {
		p := exactly.Murmur2([]byte(keyOf(i))) % uint32(b.Partitions)
		if _, ok := last[p]; !ok {
			last[p] = i
		}
	}
	for _, i := range last {
		record := &kgo.Record{Topic: in, Key: []byte(keyOf(i)), Value: []byte(strconv.Itoa(i))}
		if err := b.client.ProduceSync(ctx, record).FirstErr(); err != nil {
			return 0, fmt.Errorf("ask the table: %w", err)
		}
	}
	answers := make(chan error, len(last))
	graph := goka.DefineGroup(goka.Group(group), goka.Input(goka.Stream(in), new(codec.Int64), func(c goka.Context, value any) {
		var err error
		if got, _ := c.Value().([]byte); !bytes.Equal(got, b.valueOf(int(value.(int64)))) {
			err = fmt.Errorf("the table has %q for %s", got, c.Key())
		}
		select {
		case answers <- err:
		default: // Asked again, after a turn that was not committed.
		}
	}), goka.Persist(new(codec.Bytes)))
	began := time.Now()
	m, err := b.start(ctx, role{side: side, instance: "a", dir: dir}, graph)
	if err != nil {
		return 0, err
	}
	defer m.finish(&err)
	for range last {
		select {
		case err := <-answers:
			if err != nil {
				return 0, err
			}
		case <-time.After(patience):
			return 0, errors.New("the table did not answer")
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
	ms = milliseconds(time.Since(began))
	ends, err := b.admin.ListEndOffsets(ctx, in)
	if err != nil {
		return 0, fmt.Errorf("find the end of %s: %w", in, err)
	}
	asked := int64(0)
	ends.Each(func(o kadm.ListedOffset) { asked += o.Offset })
	return ms, until(ctx, "the answers to be committed", func() (bool, error) {
		done, err := b.committed(ctx, group, in)
		return done == asked, err
	})
}
