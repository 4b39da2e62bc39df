package exactly

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// nearEnd is how few offsets behind a group may be to be looked at closely.
const nearEnd = 16

// Behind returns a group with its lag to the last record of each partition. The
// lag that brokers tell goes to the end of the log, and the marker that ends a
// transaction has an offset, too: behind transactions it is never 0.
func Behind(ctx context.Context, client *kgo.Client, group string) (kadm.DescribedGroupLag, error) {
	lags, err := kadm.NewClient(client).Lag(ctx, group)
	if err != nil {
		return kadm.DescribedGroupLag{}, fmt.Errorf("exactly: ask for the lag of %s: %w", group, err)
	}
	lag := lags[group]
	if errors.Is(lag.DescribeErr, kerr.GroupIDNotFound) {
		lag.DescribeErr = nil // It never ran, or has no members and no offsets any more.
	}
	if err := lag.Error(); err != nil {
		return lag, fmt.Errorf("exactly: ask for the lag of %s: %w", group, err)
	}
	for topic, partitions := range lag.Lag {
		for partition, p := range partitions {
			if p.Err != nil || p.Lag <= 0 || p.Lag > nearEnd {
				continue
			}
			from := max(p.Commit.At, p.Start.Offset)
			last, err := lastData(ctx, client, topic, partition, from, p.End.Offset)
			if err != nil {
				return lag, err
			}
			p.Lag = max(last+1-from, 0)
			partitions[partition] = p
		}
	}
	return lag, nil
}
