package e2e

import (
	"maps"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tintype/tintype/event"
	"github.com/tintype/tintype/exactly"
	"github.com/tintype/tintype/internal/deployment"
	"github.com/tintype/tintype/topologies"
)

// members are the holders of a group's partitions of a topic.
func members(t *testing.T, d *deployment.Deployment, group, topic string) map[int32]string {
	t.Helper()
	admin, err := d.Kafka.Admin()
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close()
	described, err := admin.DescribeGroups(t.Context(), group)
	if err != nil {
		t.Fatal(err)
	}
	holders := map[int32]string{}
	for _, m := range described[group].Members {
		if assigned, ok := m.Assigned.AsConsumer(); ok {
			for _, a := range assigned.Topics {
				for _, partition := range a.Partitions {
					if a.Topic == topic {
						holders[partition] = m.MemberID
					}
				}
			}
		}
	}
	return holders
}

// lagging are the partitions of a topic that a group has not read to the end.
func lagging(t *testing.T, d *deployment.Deployment, group, topic string) map[int32]int64 {
	t.Helper()
	client, err := d.Kafka.Client()
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	behind, err := exactly.Behind(t.Context(), client, group)
	if err != nil {
		t.Fatal(err)
	}
	lag := map[int32]int64{}
	for partition, l := range behind.Lag[topic] {
		if l.Lag > 0 {
			lag[partition] = l.Lag
		}
	}
	return lag
}

// One partition of transform stands still, since the blob store does not answer its
// instance, while the others go on: closing waits for it, and drops nothing.
func TestAStalledPartitionDelaysClosing(t *testing.T) {
	t.Parallel()
	stall := time.Duration(fromEnv(t, "TINTYPE_TEST_STALL_SECONDS", 8)) * time.Second
	d := openOn(t, kafka(t), "", 2)
	address, gate := stallable(t, strings.TrimPrefix(d.Addresses.Blobs, "file://"))
	other, err := deployment.Open(t.Context(), deployment.Options{
		Addresses: deployment.Addresses{Kafka: d.Addresses.Kafka, Blobs: address}, Name: d.Name, UploadsTopic: d.UploadsTopic, CreateTopics: true, Log: d.Log,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := other.Close(); err != nil {
			t.Error(err)
		}
	})
	run(t, d, quick(t))
	stalling := quick(t)
	stalling.Stages = []event.Stage{event.StageTransform}
	run(t, other, stalling)
	group, photos := topologies.Group(d.Name, event.StageTransform), d.Topics.Photos.Name
	f := newFeed(t, d, 6)
	steady := func(length time.Duration) { f.stream(length, 10*time.Millisecond, inOrder) }
	steady(time.Second)
	var holders map[int32]string
	for deadline := time.Now().Add(patience); ; steady(100 * time.Millisecond) {
		if holders = members(t, d, group, photos); len(holders) == 2 && holders[0] != holders[1] {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the partitions of transform are held by %v", holders)
		}
	}
	steady(time.Second)

	gate.shut()
	began := time.Now()
	steady(stall)
	// The one that goes on may have a few records on their way.
	if lag := lagging(t, d, group, photos); max(lag[0], lag[1]) < 40 || min(lag[0], lag[1]) > max(lag[0], lag[1])/2 {
		t.Errorf("the partitions of transform lag by %v", lag)
	}
	if now := members(t, d, group, photos); !maps.Equal(now, holders) {
		t.Errorf("the partitions of transform were held by %v, now by %v", holders, now)
	}
	if n := count(t, d, "SELECT count() FROM windows WHERE final AND window_end > fromUnixTimestamp64Milli(?)", began.UnixMilli()); n > 0 {
		t.Errorf("%d windows were closed while uploads for them were not through", n)
	}
	if n := count(t, d, "SELECT uniqExact(window_start) FROM windows WHERE aggregate = 'tumbling-1s-all' AND window_start > fromUnixTimestamp64Milli(?)", began.UnixMilli()); n < 2 {
		t.Errorf("only %d windows show early results in %v", n, stall)
	}
	gate.reopen()
	reopened := time.Now()
	steady(500 * time.Millisecond)
	c := checkWindows(t, d)
	if len(c.Late) > 0 {
		t.Errorf("%d uploads are late, which came in order", len(c.Late))
	}
	t.Logf("%d uploads, %d windows; all closed and verified %v after a stall of %v", c.Uploads, len(c.Windows), time.Since(reopened).Round(100*time.Millisecond), stall)
}

// A process that runs transform is stopped for longer than its session: another one
// takes over, and when it goes on it has nothing to say any more.
func TestAStoppedProcessDelaysClosing(t *testing.T) {
	t.Parallel()
	if os.Getenv("TINTYPE_TEST_KAFKA") != "" {
		t.Skip("the stack of tintype dev has its own Kafka; make chaos stops processes on the real broker")
	}
	stop := time.Duration(fromEnv(t, "TINTYPE_TEST_STALL_SECONDS", 13)) * time.Second
	a, _ := dev(t, t.TempDir())
	d := openAt(t, a)
	w := newWorkers(t, a)
	running := []*exec.Cmd{w.start("0"), w.start("1", "--only", "transform")}
	f := newFeed(t, d, 7)
	steady := func(length time.Duration) { f.stream(length, 20*time.Millisecond, inOrder) }
	group, photos := topologies.Group(d.Name, event.StageTransform), d.Topics.Photos.Name
	held := func() int {
		byMember := map[string]int{}
		for _, member := range members(t, d, group, photos) {
			byMember[member]++
		}
		return len(byMember)
	}
	for deadline := time.Now().Add(patience); held() != 2; steady(200 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("two processes do not share the partitions of transform")
		}
	}
	steady(2 * time.Second)
	if err := running[1].Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	steady(stop)
	if n := held(); n != 1 {
		t.Errorf("%d processes hold the partitions of transform after a stop of %v", n, stop)
	}
	if err := running[1].Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	steady(2 * time.Second)
	c := checkWindows(t, d)
	if len(c.Late) > 0 {
		t.Errorf("%d uploads are late, which came in order", len(c.Late))
	}
	prove(t, a, "audit", "--strict")
	for _, cmd := range running {
		end(t, cmd)
	}
	t.Logf("%d uploads, %d windows", c.Uploads, len(c.Windows))
}
