package exactly

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lovoo/goka"
	"github.com/lovoo/goka/codec"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("github.com/rcrowley/go-metrics.(*meterArbiter).tick"),
		// It lingers for a second after Close; a database left open still shows by its other goroutines.
		goleak.IgnoreTopFunction("github.com/syndtr/goleveldb/leveldb.(*DB).mpoolDrain"))
}

const patience = time.Minute

// brokers is the real broker that the environment names, or a kfake of this
// test's own.
func brokers(t testing.TB) []string {
	t.Helper()
	if address := os.Getenv("TINTYPE_TEST_KAFKA"); address != "" {
		return []string{address}
	}
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	return cluster.ListenAddrs()
}

// lab is a broker with topics and a group of this test's own.
type lab struct {
	t       testing.TB
	brokers []string
	client  *kgo.Client
	admin   *kadm.Client
	group   goka.Group
	in, out string
}

const labPartitions = 4

func newLab(t testing.TB) *lab {
	t.Helper()
	return newLabAt(t, brokers(t))
}

func newLabAt(t testing.TB, brokers []string) *lab {
	t.Helper()
	l := &lab{t: t, brokers: brokers}
	name := strings.ToLower(strings.NewReplacer("/", "-", "_", "-").Replace(t.Name())) + strconv.FormatInt(time.Now().UnixNano(), 36)
	l.group, l.in, l.out = goka.Group(name), name+"-in", name+"-out"
	client, err := kgo.NewClient(kgo.SeedBrokers(l.brokers...), kgo.RecordPartitioner(kgo.StickyKeyPartitioner(nil)),
		kgo.UnknownTopicRetries(-1)) // A broker shows a topic a while after it was created.
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	l.client, l.admin = client, kadm.NewClient(client)
	if resp, err := l.admin.CreateTopics(context.Background(), labPartitions, 1, nil, l.in, l.out); err != nil || resp.Error() != nil {
		t.Fatal(err, resp.Error())
	}
	return l
}

func (l *lab) send(records ...*kgo.Record) {
	l.t.Helper()
	for _, r := range records {
		if r.Topic == "" {
			r.Topic = l.in
		}
	}
	if err := l.client.ProduceSync(context.Background(), records...).FirstErr(); err != nil {
		l.t.Fatal(err)
	}
}

// await waits until ok.
func (l *lab) await(ok func() bool) {
	l.t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); !ok(); <-tick.C {
		if time.Now().After(deadline) {
			l.t.Fatal("it did not come to be")
		}
	}
}

// committedAll reports whether the group has committed all of the input, which
// holds no markers. A partition that the group has not come to has no offset.
func (l *lab) committedAll() bool {
	l.t.Helper()
	ends, err := l.admin.ListEndOffsets(l.t.Context(), l.in)
	if err != nil {
		l.t.Fatal(err)
	}
	committed, err := l.admin.FetchOffsets(l.t.Context(), string(l.group))
	if err != nil {
		return false // The group is not there yet.
	}
	for partition := range int32(labPartitions) {
		end, _ := ends.Lookup(l.in, partition)
		at, ok := committed.Lookup(l.in, partition)
		if end.Offset > 0 && (!ok || at.At < end.Offset) {
			return false
		}
	}
	return true
}

// numbered makes n records over a few keys.
func numbered(n int) []*kgo.Record {
	records := make([]*kgo.Record, n)
	for i := range records {
		records[i] = &kgo.Record{Key: fmt.Appendf(nil, "k%d", i%37), Value: fmt.Append(nil, i)}
	}
	return records
}

// config is a member's.
func (l *lab) config(instance, dir string) Config {
	return Config{Brokers: l.brokers, Instance: instance, StateDir: dir, CreateTopics: true, CommitInterval: 20 * time.Millisecond}
}

// counting counts records by key and passes each on with its count.
func (l *lab) counting() *goka.GroupGraph {
	return goka.DefineGroup(l.group,
		goka.Input(goka.Stream(l.in), new(codec.String), func(ctx goka.Context, value any) {
			n, _ := ctx.Value().(int64)
			ctx.SetValue(n + 1)
			ctx.Emit(goka.Stream(l.out), ctx.Key(), fmt.Sprintf("%v", value))
		}),
		goka.Output(goka.Stream(l.out), new(codec.String)), goka.Persist(new(codec.Int64)),
	)
}

// running runs a member until the returned function drains it.
func (l *lab) running(cfg Config, graph *goka.GroupGraph) (drain func() error) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		err := Run(ctx, cfg, graph)
		if ctx.Err() == nil {
			l.t.Errorf("the member ended by itself: %v", err)
		}
		done <- err
	}()
	drain = sync.OnceValue(func() error {
		cancel()
		select {
		case err := <-done:
			return err
		case <-time.After(patience):
			return errors.New("did not drain")
		}
	})
	l.t.Cleanup(func() {
		if err := drain(); err != nil && !l.t.Failed() {
			l.t.Error(err)
		}
	})
	return drain
}

// read returns the committed values of a topic, as often as they are there,
// once it holds at least n of them.
func (l *lab) read(topic string, n int) map[string]int {
	l.t.Helper()
	seen := map[string]int{}
	l.each(topic, n, func(value string) { seen[value]++ })
	return seen
}

// each calls f with the committed values of a topic, in the order of each
// partition, once it holds at least n of them.
func (l *lab) each(topic string, n int, f func(value string)) {
	l.t.Helper()
	reader, err := kgo.NewClient(kgo.SeedBrokers(l.brokers...), kgo.ConsumeTopics(topic), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		l.t.Fatal(err)
	}
	defer reader.Close()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	total := 0
	take := func(r *kgo.Record) { f(string(r.Value)); total++ }
	for total < n {
		fetches := reader.PollFetches(ctx)
		if err := fetches.Err0(); err != nil {
			l.t.Fatalf("read %s: %d of %d: %v", topic, total, n, err)
		}
		fetches.EachRecord(take)
	}
	// Whatever was written twice is there by now, or is written in the time that
	// a few more polls take.
	more, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
	defer cancel()
	for more.Err() == nil {
		reader.PollFetches(more).EachRecord(take)
	}
}

// exact fails unless each of the first n numbers is there once.
func (l *lab) exact(seen map[string]int, n int) {
	l.t.Helper()
	for i := range n {
		if c := seen[strconv.Itoa(i)]; c != 1 {
			l.t.Fatalf("record %d came out %d times", i, c)
		}
	}
	if len(seen) != n {
		l.t.Fatalf("%d different records came out of %d", len(seen), n)
	}
}

// table sums the last values of the group's changelog, once it holds what is wanted:
// a transaction's markers come to its partitions one after the other.
func (l *lab) table(want int64) {
	l.t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(l.brokers...))
	if err != nil {
		l.t.Fatal(err)
	}
	defer client.Close()
	var sum int64
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		if sum = l.sum(client); sum >= want {
			break
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-l.t.Context().Done():
			return
		}
	}
	if sum != want {
		l.t.Fatalf("the table counts %d records, want %d", sum, want)
	}
}

// sum adds up the last values of the group's changelog that are committed by now.
func (l *lab) sum(client *kgo.Client) int64 {
	l.t.Helper()
	topic := string(goka.GroupTable(l.group))
	ends, err := kadm.NewClient(client).ListCommittedOffsets(l.t.Context(), topic)
	if err != nil {
		l.t.Fatal(err)
	}
	last := map[string]int64{}
	ends.Each(func(end kadm.ListedOffset) {
		err := Scan(l.t.Context(), client, Range{Topic: topic, Partition: end.Partition, End: end.Offset}, func(r *kgo.Record) {
			if r.Attrs.IsControl() {
				return
			}
			n, err := strconv.ParseInt(string(r.Value), 10, 64)
			if err != nil {
				l.t.Error(err)
			}
			last[string(r.Key)] = n
		})
		if err != nil {
			l.t.Fatal(err)
		}
	})
	var sum int64
	for _, n := range last {
		sum += n
	}
	return sum
}

func TestEachRecordCountsOnce(t *testing.T) {
	l := newLab(t)
	l.send(numbered(2000)...)
	var status Status
	cfg := l.config("a", t.TempDir())
	cfg.Status = &status
	l.running(cfg, l.counting())
	l.exact(l.read(l.out, 2000), 2000)
	l.table(2000)
	if s := status.Snapshot(); s.Records != 2000 || s.Committed == 0 || s.InFlight != 0 || s.LastError != "" {
		t.Errorf("status %+v", s)
	}
	if !status.Ready() {
		t.Error("a member that works is not ready")
	}
}

// Members come and go, with their state and without.
func TestRebalancesAndRestartsAreExact(t *testing.T) {
	l := newLab(t)
	const n = 3000
	records := numbered(n)
	dir := t.TempDir()
	first := l.running(l.config("a", dir), l.counting())
	l.send(records[:1000]...)
	l.running(l.config("b", t.TempDir()), l.counting())
	l.send(records[1000:2000]...)
	l.read(l.out, 1500)
	if err := first(); err != nil {
		t.Fatal(err)
	}
	l.running(l.config("a", dir), l.counting())
	l.send(records[2000:]...)
	l.exact(l.read(l.out, n), n)
	l.table(n)
}

// A transaction that the hook refuses leaves nothing behind: its records are
// read again, with the state of the last commit.
func TestAbortsLeaveNothingBehind(t *testing.T) {
	l := newLab(t)
	var refusals atomic.Int32
	cfg := l.config("a", t.TempDir())
	cfg.Hooks.BeforeCommit = func(context.Context) error {
		if refusals.Add(1) <= 5 {
			return errors.New("not yet")
		}
		return nil
	}
	var status Status
	cfg.Status = &status
	l.running(cfg, l.counting())
	l.send(numbered(500)...)
	l.exact(l.read(l.out, 500), 500)
	l.table(500)
	if s := status.Snapshot(); s.Aborted < 5 {
		t.Errorf("%d transactions were aborted, want 5 at least", s.Aborted)
	}
}

// A transaction ends with the record that the hook names: nothing behind it in
// its partition is delivered before it is committed.
func TestTransactionsEndWhereTheHookSays(t *testing.T) {
	l := newLab(t)
	const end = 20
	var committed, ended atomic.Bool
	cfg := l.config("a", "")
	cfg.Hooks.EndWith = func(_ string, partition int32) (int64, bool) { return end, partition == 0 && !ended.Load() }
	cfg.Hooks.Committed = func() { committed.Store(ended.Load()) }
	graph := goka.DefineGroup(l.group, goka.Input(goka.Stream(l.in), new(codec.String), func(ctx goka.Context, value any) {
		if ctx.Partition() == 0 {
			switch offset := ctx.Offset(); {
			case offset == end:
				ended.Store(true)
			case offset > end && !committed.Load():
				t.Errorf("offset %d was delivered before %d was committed", offset, end)
			}
		}
		ctx.Emit(goka.Stream(l.out), ctx.Key(), value)
	}), goka.Output(goka.Stream(l.out), new(codec.String)))
	records := numbered(500)
	for i, r := range records {
		r.Partition = int32(i % labPartitions)
	}
	manual, err := kgo.NewClient(kgo.SeedBrokers(l.brokers...), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.UnknownTopicRetries(-1))
	if err != nil {
		t.Fatal(err)
	}
	defer manual.Close()
	for _, r := range records {
		r.Topic = l.in
	}
	if err := manual.ProduceSync(t.Context(), records...).FirstErr(); err != nil {
		t.Fatal(err)
	}
	l.running(cfg, graph)
	l.exact(l.read(l.out, 500), 500)
	if !committed.Load() {
		t.Error("the end was never committed")
	}
}

// The next owner of a partition gets it when the hook that runs has returned.
func TestARevokeWaitsForTheFlush(t *testing.T) {
	l := newLab(t)
	began, release, early := make(chan struct{}), make(chan struct{}), make(chan struct{}, 1)
	var once sync.Once
	var returned atomic.Bool
	first := l.config("a", "")
	first.Hooks.BeforeCommit = func(context.Context) error {
		once.Do(func() {
			close(began)
			<-release
			returned.Store(true)
		})
		return nil
	}
	second := l.config("b", "")
	second.Status = new(Status)
	second.Hooks.Assigned = func(_ context.Context, claims []Claim) error {
		if len(claims) > 0 && !returned.Load() {
			early <- struct{}{}
		}
		return nil
	}
	l.running(first, l.counting())
	l.send(numbered(100)...)
	<-began
	l.running(second, l.counting())
	l.await(func() bool { // It has asked to join: the group waits for the first.
		groups, err := l.admin.DescribeGroups(t.Context(), string(l.group))
		return err == nil && groups[string(l.group)].State == "PreparingRebalance"
	})
	close(release)
	l.exact(l.read(l.out, 100), 100)
	l.await(second.Status.Ready)
	select {
	case <-early:
		t.Error("the second member was assigned while the first one's hook ran")
	default:
	}
	l.table(100)
}

func TestMetadataComesBack(t *testing.T) {
	l := newLab(t)
	var mu sync.Mutex
	var claims []Claim
	member := func(mark string) Config {
		cfg := l.config("a", "")
		cfg.Hooks.Assigned = func(_ context.Context, held []Claim) error {
			mu.Lock()
			defer mu.Unlock()
			claims = held
			return nil
		}
		cfg.Hooks.Metadata = func(topic string, partition int32) string { return fmt.Sprintf("%s %s %d", mark, topic, partition) }
		return cfg
	}
	drain := l.running(member("one"), l.counting())
	l.send(numbered(100)...)
	l.read(l.out, 100)
	if err := drain(); err != nil {
		t.Fatal(err)
	}
	drain = l.running(member("two"), l.counting())
	l.send(&kgo.Record{Key: []byte("k0"), Value: []byte("100")})
	l.read(l.out, 101)
	if err := drain(); err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	defer mu.Unlock()
	if len(claims) != labPartitions {
		t.Fatalf("claims %+v", claims)
	}
	for p, c := range claims {
		if want := fmt.Sprintf("one %s %d", l.in, p); c.Topic != l.in || c.Partition != int32(p) || c.Metadata != want || c.Offset <= 0 || c.TopicID == [16]byte{} {
			t.Errorf("claim %+v, want metadata %q", c, want)
		}
	}
}

func TestLoopsTombstonesAndHeaders(t *testing.T) {
	l := newLab(t)
	graph := goka.DefineGroup(l.group,
		goka.Input(goka.Stream(l.in), new(codec.String), func(ctx goka.Context, value any) {
			if value == "" { // What codec.String makes of a null value.
				ctx.Delete()
				ctx.Emit(goka.Stream(l.out), ctx.Key(), "deleted")
				return
			}
			ctx.Loopback("looped", string(ctx.Headers()["h"]), goka.WithCtxEmitHeaders(goka.Headers{"h": []byte("2")}))
			ctx.SetValue(int64(1))
		}),
		goka.Loop(new(codec.String), func(ctx goka.Context, value any) {
			ctx.Emit(goka.Stream(l.out), ctx.Key(), fmt.Sprintf("%v%s", value, ctx.Headers()["h"]))
		}),
		goka.Output(goka.Stream(l.out), new(codec.String)), goka.Persist(new(codec.Int64)),
	)
	l.running(l.config("a", t.TempDir()), graph)
	l.send(&kgo.Record{Key: []byte("k"), Value: []byte("v"), Headers: []kgo.RecordHeader{{Key: "h", Value: []byte("1")}}})
	if seen := l.read(l.out, 1); seen["12"] != 1 {
		t.Fatalf("through the loop came %v", seen)
	}
	l.send(&kgo.Record{Key: []byte("k")})
	if seen := l.read(l.out, 2); seen["deleted"] != 1 {
		t.Fatalf("a null value gave %v", seen)
	}
}

// A topic that is not there yet, or that its broker does not show yet, is waited
// for.
func TestATopicMayComeLate(t *testing.T) {
	l := newLab(t)
	l.in += "-late"
	cfg := l.config("a", "")
	cfg.Status = new(Status)
	l.running(cfg, l.counting())
	l.await(func() bool { return cfg.Status.Snapshot().Restarts > 0 })
	if _, err := l.admin.CreateTopic(t.Context(), labPartitions, 1, nil, l.in); err != nil {
		t.Fatal(err)
	}
	l.send(numbered(100)...)
	l.exact(l.read(l.out, 100), 100)
}

func TestWhatCannotHealEndsTheRun(t *testing.T) {
	run := func(cfg Config, graph *goka.GroupGraph) error {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		return Run(ctx, cfg, graph)
	}
	t.Run("oversize", func(t *testing.T) {
		l := newLab(t)
		cfg := l.config("a", "")
		cfg.MaxMessageBytes = 10
		l.send(&kgo.Record{Key: []byte("k"), Value: []byte("eleven bytes")})
		var oversize *OversizeError
		if err := run(cfg, l.counting()); !errors.As(err, &oversize) || oversize.Topic != l.out || !IsPermanent(err) {
			t.Errorf("%v", err)
		}
	})
	t.Run("callback", func(t *testing.T) {
		l := newLab(t)
		graph := goka.DefineGroup(l.group, goka.Input(goka.Stream(l.in), new(codec.String), func(goka.Context, any) { panic("oh") }))
		l.send(&kgo.Record{Key: []byte("k"), Value: []byte("v")})
		var failed *CallbackError
		if err := run(l.config("a", ""), graph); !errors.As(err, &failed) || !strings.Contains(err.Error(), "oh") {
			t.Errorf("%v", err)
		}
	})
	t.Run("hook", func(t *testing.T) {
		l := newLab(t)
		cfg := l.config("a", "")
		cfg.Hooks.Assigned = func(context.Context, []Claim) error { return Permanent(errors.New("never")) }
		if err := run(cfg, l.counting()); err == nil || !strings.Contains(err.Error(), "never") {
			t.Errorf("%v", err)
		}
	})
	t.Run("lock", func(t *testing.T) {
		l := newLab(t)
		dir := t.TempDir()
		var status Status
		cfg := l.config("a", dir)
		cfg.Status = &status
		l.running(cfg, l.counting())
		l.send(numbered(1)...)
		l.read(l.out, 1)
		var locked *LockedError
		if err := run(l.config("a", dir), l.counting()); !errors.As(err, &locked) || locked.PID != strconv.Itoa(os.Getpid()) {
			t.Errorf("%v", err)
		}
	})
	t.Run("offsets", func(t *testing.T) {
		l := newLab(t)
		drain := l.running(l.config("a", ""), l.counting())
		l.send(numbered(100)...)
		l.read(l.out, 100)
		if err := drain(); err != nil {
			t.Fatal(err)
		}
		if _, err := l.admin.DeleteGroup(t.Context(), string(l.group)); err != nil {
			t.Fatal(err)
		}
		var missing *MissingOffsetError
		if err := run(l.config("a", ""), l.counting()); !errors.As(err, &missing) {
			t.Errorf("%v", err)
		}
	})
	t.Run("topic", func(t *testing.T) {
		l := newLab(t)
		l.in += "-never"
		var topic *TopicError
		if err := run(l.config("a", ""), l.counting()); !errors.As(err, &topic) || topic.Topic != l.in || !topic.Missing {
			t.Errorf("%v", err)
		}
	})
	t.Run("range", func(t *testing.T) {
		l := newLab(t)
		drain := l.running(l.config("a", ""), l.counting())
		l.send(numbered(100)...)
		l.read(l.out, 100)
		if err := drain(); err != nil {
			t.Fatal(err)
		}
		l.send(numbered(100)...)
		ends, err := l.admin.ListEndOffsets(t.Context(), l.in)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := l.admin.DeleteRecords(t.Context(), ends.Offsets()); err != nil {
			t.Fatal(err)
		}
		var gone *OffsetOutOfRangeError
		if err := run(l.config("a", ""), l.counting()); !errors.As(err, &gone) || gone.Earliest <= gone.Committed {
			t.Errorf("%v", err)
		}
	})
}

// A directory that was wiped, or that belongs to another topic, is not trusted.
func TestStateIsRebuilt(t *testing.T) {
	l := newLab(t)
	records := numbered(300)
	for round, dir := range []string{t.TempDir(), t.TempDir(), ""} {
		drain := l.running(l.config("a", dir), l.counting())
		l.send(records[100*round : 100*(round+1)]...)
		l.read(l.out, 100*(round+1))
		if err := drain(); err != nil {
			t.Fatal(err)
		}
	}
	l.table(300)
}

func BenchmarkCount(b *testing.B) {
	l := newLab(b)
	const n = 50_000
	l.send(numbered(n)...)
	for b.Loop() {
		l.group += "x"
		var status Status
		cfg := l.config("a", b.TempDir())
		cfg.Status, cfg.CommitInterval = &status, 100*time.Millisecond
		drain := l.running(cfg, l.counting())
		tick := time.NewTicker(time.Millisecond)
		for deadline := time.Now().Add(patience); status.Snapshot().Records < n && time.Now().Before(deadline); {
			<-tick.C
		}
		tick.Stop()
		if err := drain(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(n*float64(b.N)/b.Elapsed().Seconds(), "records/s")
}
