package chaos

import (
	"bytes"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// fetch is one of some topics; none where nothing has changed.
func fetch(topics ...byte) *kmsg.FetchRequest {
	r := kmsg.NewPtrFetchRequest()
	for _, id := range topics {
		t := kmsg.NewFetchRequestTopic()
		t.TopicID = [16]byte{id}
		t.Partitions = append(t.Partitions, kmsg.NewFetchRequestTopicPartition())
		r.Topics = append(r.Topics, t)
	}
	return r
}

func TestTopicsOfAFetch(t *testing.T) {
	for version := int16(fetchedByID); version <= kmsg.NewPtrFetchRequest().MaxVersion(); version++ {
		got := fetched(framed(fetch(1, 2), version, 7))
		if len(got) != 2 || got[0] != [16]byte{1} || got[1] != [16]byte{2} {
			t.Errorf("version %d names %v", version, got)
		}
		if got := fetched(framed(fetch(), version, 7)); len(got) != 0 {
			t.Errorf("version %d names %v, and has none", version, got)
		}
	}
	for _, frame := range [][]byte{nil, make([]byte, 13), framed(fetch(1), 12, 7), framed(fetch(1), 13, 7)[:30]} {
		if got := fetched(frame); len(got) != 0 {
			t.Errorf("%x names %v", frame, got)
		}
	}
}

// A fetch of the topic is held, also one that does not name it again; one of another
// topic, or of another instance, passes.
func TestAStallHoldsFetches(t *testing.T) {
	for name, c := range map[string]struct {
		instance string
		topic    byte
		held     bool
	}{
		"of the topic":        {"me", 1, true},
		"of another topic":    {"me", 2, false},
		"of another instance": {"other", 1, false},
	} {
		t.Run(name, func(t *testing.T) {
			w := wire(t)
			w.stalls.of([16]byte{1})
			request := func(r *kmsg.FetchRequest, correlation int32) []byte {
				r.SetVersion(13)
				return kmsg.NewRequestFormatter(kmsg.FormatterClientID(clientPrefix+c.instance)).AppendRequest(nil, r, correlation)
			}
			pass := func(frame []byte) chan []byte {
				got := make(chan []byte, 1)
				go func() { _, _ = w.client.Write(frame) }() // Its end is read below.
				go func() {
					frame, err := readFrame(w.server)
					if err != nil {
						t.Error(err)
					}
					got <- frame
				}()
				return got
			}
			<-pass(request(fetch(c.topic), 1))
			end := w.stalls.begin("me")
			if w.stalls.begin("me") != nil {
				t.Error("an instance is held back twice")
			}
			frame := request(fetch(), 2)
			got := pass(frame)
			if c.held {
				select {
				case <-got:
					t.Fatal("it passed")
				case <-time.After(50 * time.Millisecond):
				}
			} else if passed := <-got; !bytes.Equal(passed, frame) {
				t.Fatalf("%x passed, not %x", passed, frame)
			}
			if n := end(); (n > 0) != c.held {
				t.Errorf("%d requests were held", n)
			}
			if c.held {
				if passed := <-got; !bytes.Equal(passed, frame) {
					t.Fatalf("%x passed, not %x", passed, frame)
				}
			}
		})
	}
}
