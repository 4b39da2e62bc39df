package audit

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// A Hop is a topic on the way from extract to the tables, and the group that reads
// it.
type Hop struct{ Group, Topic string }

// Await waits until what the first topic holds now has passed all hops, in their
// order, or until the deadline. Then it says who is behind.
func Await(ctx context.Context, client *kgo.Client, deadline time.Time, hops ...Hop) (behind string, err error) {
	w := &way{options: Options{Kafka: client}, admin: kadm.NewClient(client)}
	for _, h := range hops {
		if behind, err = w.awaitHop(ctx, hop{group: h.Group, topic: h.Topic}, deadline); err != nil || behind != "" {
			return behind, err
		}
	}
	return "", nil
}
