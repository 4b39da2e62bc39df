package e2e

import (
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tintype/tintype/event"
	"github.com/tintype/tintype/event/eventpb"
	"github.com/tintype/tintype/internal/deployment"
)

// An upload id is taken for the TTL, in event time, whoever sends it again and
// on whatever partition; a dead letter that is sent again passes.
func TestTheIdempotentReceiver(t *testing.T) {
	d := open(t)
	run(t, d, deployment.Work{RepeatTTL: time.Hour})
	taken := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	photo := jpegOf(t, 640, 480)
	sent := uint64(0)
	again := func(after time.Duration, key string, change func(*eventpb.Upload)) {
		t.Helper()
		u := &eventpb.Upload{UploadId: "one", UploadedAtMs: new(taken.Add(after).UnixMilli()), Body: &eventpb.Upload_Inline{Inline: photo}}
		if change != nil {
			change(u)
		}
		value, err := d.Codecs.Upload.Encode(u)
		if err != nil {
			t.Fatal(err)
		}
		r := &kgo.Record{Value: value}
		if key != "" {
			r.Key = []byte(key)
		}
		send(t, d, r)
		sent++
		eventually(t, d, sent, "SELECT count() FROM uploads")
	}
	outcomes := func(want map[string]uint64) {
		t.Helper()
		for outcome, n := range want {
			if got := count(t, d, "SELECT count() FROM uploads WHERE outcome = ?", outcome); got != n {
				t.Errorf("%d uploads are %s, want %d", got, outcome, n)
			}
		}
	}
	again(0, "one", func(u *eventpb.Upload) { u.Body = &eventpb.Upload_Inline{Inline: []byte("no photo")} })
	outcomes(map[string]uint64{"dead": 1})
	again(time.Minute, "one", nil)          // Its sender tries again.
	again(time.Minute, "", nil)             // Another client does, without a key.
	again(time.Hour, "some other key", nil) // Another partitioner, at the last moment of the TTL.
	again(-time.Hour, "one", nil)           // A late one.
	outcomes(map[string]uint64{"dead": 1, "repeat": 4})
	origin := event.Position{TopicID: uuid.New(), Partition: 0, Offset: 0}
	again(2*time.Minute, "one", func(u *eventpb.Upload) { u.RedriveOf = origin.Proto() })
	outcomes(map[string]uint64{"dead": 1, "repeat": 4, "original": 1})
	again(3*time.Minute, "one", nil) // It is taken still.
	again(2*time.Hour, "one", nil)   // And free after the TTL.
	again(2*time.Hour, "one", nil)
	outcomes(map[string]uint64{"dead": 1, "repeat": 6, "original": 1, "duplicate": 1})
}
