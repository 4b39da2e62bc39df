package topologies

import (
	"slices"
	"testing"
	"time"

	"github.com/tintype/tintype/event"
	"github.com/tintype/tintype/exactly"
)

// A partition is idle when nothing was read of it for a while; one with uploads of the
// past is given longer.
func TestIdlePartitions(t *testing.T) {
	now := time.UnixMilli(1_000_000)
	topics := event.TopicsOf("", "")
	ticks := newTicker(&extractStage{stageBase: &stageBase{Config: Config{Topics: topics, TickAfter: 10 * time.Second, Now: func() time.Time { return now }}}})
	var claims []exactly.Claim
	for p := range int32(3) {
		claims = append(claims, exactly.Claim{Topic: topics.Uploads.Name, Partition: p}, exactly.Claim{Topic: "loop", Partition: p})
	}
	expect := func(why string, want ...int32) {
		t.Helper()
		if got := slices.Sorted(slices.Values(ticks.idle())); !slices.Equal(got, want) {
			t.Errorf("%s: %v are idle, want %v", why, got, want)
		}
	}
	ticks.assign(claims)
	now = now.Add(9 * time.Second)
	expect("just assigned")
	ticks.read(1, 2_000_000, 2_000_000-60_000)
	ticks.read(2, 2_000_000, 2_000_000-60_001)
	now = now.Add(time.Second)
	ticks.assign(claims)
	expect("an abort is no sign of life", 0)
	now = now.Add(9 * time.Second)
	expect("as long after a record", 0, 1)
	now = now.Add(20 * time.Second)
	expect("three times as long where the uploads are of the past", 0, 1, 2)
	ticks.ticked(2)
	expect("a tick is under way", 0, 1)
	ticks.assign(claims[:2])
	expect("what was taken away", 0)
}
