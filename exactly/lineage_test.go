package exactly

import (
	"errors"
	"maps"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"pgregory.net/rapid"
)

func TestLineageReadsItself(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		l := lineage(rapid.MapOf(rapid.StringMatching(`[a-zA-Z0-9._-]{1,20}`), rapid.Custom(func(t *rapid.T) uuid.UUID {
			return uuid.UUID(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "id"))
		})).Draw(rt, "lineage"))
		if read := parseLineage(l.String()); !maps.Equal(read, l) {
			rt.Fatalf("%q reads as %v", l.String(), read)
		}
	})
	for _, other := range []string{"", "tintype1 stream_time_ms=1", "exactly1 in", "exactly1 in=x"} {
		if l := parseLineage(other); l != nil {
			t.Errorf("%q reads as %v", other, l)
		}
	}
}

// recreate deletes a topic and makes it anew, when the broker shows it gone.
func (l *lab) recreate(topic string) {
	l.t.Helper()
	if _, err := l.admin.DeleteTopic(l.t.Context(), topic); err != nil {
		l.t.Fatal(err)
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); ; <-tick.C {
		_, err := l.admin.CreateTopic(l.t.Context(), labPartitions, 1, nil, topic)
		if err == nil {
			return
		}
		if !errors.Is(err, kerr.TopicAlreadyExists) || time.Now().After(deadline) {
			l.t.Fatal(err)
		}
	}
}

// sendAnew produces with a client that has not seen the topic before.
func (l *lab) sendAnew(records ...*kgo.Record) {
	l.t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(l.brokers...), kgo.RecordPartitioner(kgo.StickyKeyPartitioner(nil)),
		kgo.UnknownTopicRetries(-1)) // A broker shows a topic a while after it was created.
	if err != nil {
		l.t.Fatal(err)
	}
	defer client.Close()
	for _, r := range records {
		r.Topic = l.in
	}
	if err := client.ProduceSync(l.t.Context(), records...).FirstErr(); err != nil {
		l.t.Fatal(err)
	}
}

// An input that is deleted and created anew, while the member runs or while none
// does, is read from its beginning, and the table keeps what it has.
func TestAnInputThatIsCreatedAnew(t *testing.T) {
	for _, running := range []bool{true, false} {
		name := "while none runs"
		if running {
			name = "while it runs"
		}
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			records := numbered(900)
			dir := t.TempDir()
			drain := l.running(l.config("a", dir), l.counting())
			l.send(records[:300]...)
			l.read(l.out, 300)
			for round := 1; round < 3; round++ {
				if !running {
					if err := drain(); err != nil {
						t.Fatal(err)
					}
				}
				l.recreate(l.in)
				if !running {
					drain = l.running(l.config("a", dir), l.counting())
				}
				l.sendAnew(records[300*round : 300*(round+1)]...)
				l.exact(l.read(l.out, 300*(round+1)), 300*(round+1))
			}
			l.table(900)
		})
	}
}
