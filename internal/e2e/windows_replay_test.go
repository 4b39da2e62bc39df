package e2e

import (
	"context"
	"errors"
	"maps"
	"strconv"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/tintype/tintype/event"
	"github.com/tintype/tintype/event/eventpb"
	"github.com/tintype/tintype/internal/chaos/windowcount"
	"github.com/tintype/tintype/internal/deployment"
	"github.com/tintype/tintype/topologies"
)

// outOfOrder is an event time of which a few are late.
func (f *feed) outOfOrder(now int64) int64 {
	if f.random.IntN(6) == 0 {
		return now - f.random.Int64N(8000)
	}
	return now - f.random.Int64N(400)
}

// The same log in another deployment, and the same measures in a group of windows
// that begins anew, come to the same final results and the same late uploads.
func TestReplaysComeToTheSameWindows(t *testing.T) {
	t.Parallel()
	first := openOn(t, kafka(t), "", 0)
	w := quick(t)
	w.StateDir = t.TempDir()
	drain := run(t, first, w)
	f := newFeed(t, first, 3)
	f.stream(3*time.Second, 10*time.Millisecond, f.outOfOrder)
	c := checkWindows(t, first)
	if len(c.Late) == 0 {
		t.Error("nothing is late")
	}
	drain()

	second := openOn(t, first.Addresses.Kafka, first.Topics.Uploads.Name, 0)
	drainSecond := run(t, second, quick(t))
	awaitClosed(t, second, c)
	compare(t, "the windows of a second deployment", finals(t, second), finals(t, first))
	if late := lateRows(t, second, "late"); !maps.Equal(late, lateRows(t, first, "late")) {
		t.Errorf("a second deployment has %d late uploads, the first one %d", len(late), len(c.Late))
	}
	verified(t, second, len(c.Windows))
	drainSecond()

	before := finalResults(t, first)
	forgetGroup(t, first, event.StageWindows)
	run(t, first, w)
	for deadline := time.Now().Add(patience); ; {
		again := finalResults(t, first)
		n := 0
		for window, all := range again {
			if len(all) > 2*len(before[window]) {
				t.Fatalf("%s is final %d times", window, len(all))
			}
			n += len(all) - len(before[window])
		}
		if n >= len(c.Windows) {
			for window := range c.Windows {
				if all := again[window]; len(all) != 2 || !sameResult(all[0], all[1]) {
					t.Errorf("%s has %d final results: %v", window, len(all), all)
				}
			}
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d windows of %d are final again", n, len(c.Windows))
		}
	}
	// What is written twice is merged away; nothing else is left of the first time.
	for _, topic := range []string{first.Topics.WindowResults.Name, first.Topics.Late.Name} {
		for deadline := time.Now().Add(patience); len(lagging(t, first, topologies.Group(first.Name, event.StageLoad), topic)) > 0; {
			if time.Now().After(deadline) {
				t.Fatalf("%s is not loaded", topic)
			}
		}
	}
	for _, table := range []string{"windows", "late_uploads"} {
		if err := first.ClickHouse.Exec(t.Context(), "OPTIMIZE TABLE "+table+" FINAL"); err != nil {
			t.Fatal(err)
		}
	}
	checkWindows(t, first)
}

// finalResults are the final results of these aggregates.
func finalResults(t *testing.T, d *deployment.Deployment) map[windowcount.Window][]*eventpb.WindowResult {
	t.Helper()
	byHand := map[string]bool{}
	for _, a := range aggregates {
		byHand[a.Name()] = true
	}
	finals := map[windowcount.Window][]*eventpb.WindowResult{}
	for w, all := range results(t, d) {
		for _, r := range all {
			if r.Final && byHand[w.Aggregate] {
				finals[w] = append(finals[w], r)
			}
		}
	}
	return finals
}

// sameResult compares what the log alone decides.
func sameResult(a, b *eventpb.WindowResult) bool {
	return a.Revision == b.Revision && a.Count == b.Count && a.GetBytesIn() == b.GetBytesIn() && a.GetPixels() == b.GetPixels() &&
		a.GetBytesInMin() == b.GetBytesInMin() && a.GetBytesInMax() == b.GetBytesInMax() && a.GetUploaders() == b.GetUploaders()
}

// forgetGroup deletes the offsets of a stage's group, its table and its loop.
func forgetGroup(t *testing.T, d *deployment.Deployment, stage event.Stage) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	admin, err := d.Kafka.Admin()
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close()
	group := topologies.Group(d.Name, stage)
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for { // The member may still be leaving.
		_, err = admin.DeleteGroup(ctx, group)
		if !errors.Is(err, kerr.NonEmptyGroup) {
			break
		}
		<-tick.C
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, topic := range []string{group + "-table", topologies.LoopTopic(group)} {
		if _, err := admin.DeleteTopic(ctx, topic); err != nil {
			t.Fatal(err)
		}
		awaitGone(ctx, t, admin, topic)
	}
}

// awaitGone waits until the brokers' metadata does not show a topic any more.
func awaitGone(ctx context.Context, t *testing.T, admin *kadm.Client, topic string) {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		details, err := admin.ListTopics(ctx, topic)
		if err != nil {
			t.Fatal(err)
		}
		if !details.Has(topic) {
			return
		}
		<-tick.C
	}
}

// The topic uploads is deleted and made anew under its name: its partitions are new
// sources, whose uploads are in windows of their own time. What would be in a window
// that is closed since long is told as such.
func TestWindowsOfATopicMadeAnew(t *testing.T) {
	t.Parallel()
	d := openOn(t, kafka(t), "", 0)
	run(t, d, quick(t))
	f := newFeed(t, d, 8)
	began := time.Now().UnixMilli()
	f.stream(2*time.Second, 10*time.Millisecond, inOrder)
	if c := checkWindows(t, d); len(c.Late) > 0 {
		t.Errorf("%d uploads are late", len(c.Late))
	}
	log := uploadLog(t, d)
	makeAnew(t, d)

	again := newFeed(t, d, 9)
	again.sent = f.sent // Other uploads than before.
	const old, windowsOfOne = 8, 1 + 1 + 3 + 1
	for range old { // Their partitions have no stream time yet, so that they are not late.
		again.send(again.at(began - 60_000))
	}
	again.stream(2*time.Second, 10*time.Millisecond, inOrder)
	for _, r := range uploadLog(t, d) {
		if r.Tick || *r.ClaimedMS >= began {
			log = append(log, r)
		}
	}
	c := windowcount.Of(log, aggregates, d.PartitionCount, time.Minute.Milliseconds())
	eventually(t, d, uint64(c.Uploads+old), "SELECT count() FROM uploads")
	awaitClosed(t, d, c)
	compare(t, "windows_latest", finals(t, d), c.Windows)
	if n := len(lateRows(t, d, "closed")); n != old*windowsOfOne {
		t.Errorf("%d uploads came to closed windows, want %d", n, old*windowsOfOne)
	}
	if n := len(lateRows(t, d, "late")) + len(c.Late); n > 0 {
		t.Errorf("%d uploads are late", n)
	}
	verified(t, d, len(c.Windows))
}

// makeAnew deletes the topic uploads and makes it anew.
func makeAnew(t *testing.T, d *deployment.Deployment) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	admin, err := d.Kafka.Admin()
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close()
	uploads := d.Topics.Uploads
	if _, err := admin.DeleteTopic(ctx, uploads.Name); err != nil {
		t.Fatal(err)
	}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		_, err := admin.CreateTopic(ctx, int32(d.PartitionCount), 1,
			map[string]*string{"message.timestamp.type": new("LogAppendTime"), "max.message.bytes": new(strconv.Itoa(uploads.MaxMessageBytes))}, uploads.Name)
		if err == nil {
			break
		}
		if !errors.Is(err, kerr.TopicAlreadyExists) {
			t.Fatal(err)
		}
		<-tick.C
	}
	for former := d.UploadsID; ; <-tick.C {
		id, err := deployment.TopicID(ctx, admin, uploads.Name)
		if err != nil && !errors.Is(err, kerr.UnknownTopicOrPartition) {
			t.Fatal(err)
		}
		if err == nil && id != former {
			d.UploadsID = id
			return
		}
	}
}
