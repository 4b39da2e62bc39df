package chaos

import (
	"context"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/twmb/franz-go/pkg/kgo"
)

// A tick of the log is in origins under a key that no upload has.
const tickKey = "\x00tick"

// header is the value of a record's header that marks control records; "" where it
// has none.
func header(r *kgo.Record) string {
	for _, h := range r.Headers {
		if h.Key == "tintype-control" {
			return string(h.Value)
		}
	}
	return ""
}

// apart tells the uploads of a log from its ticks.
func apart(log origins) (uploads, ticks origins) {
	uploads, ticks = origins{}, origins{}
	for at, key := range log {
		if key == tickKey {
			ticks[at] = key
		} else {
			uploads[at] = key
		}
	}
	return uploads, ticks
}

// ticks compares the ticks of the log with their rows, one each.
func (r *Recount) ticks(ctx context.Context, conn driver.Conn, ticks origins) error {
	r.Ticks = len(ticks)
	rows, err := counts(ctx, conn, "SELECT src_topic_id, src_partition, src_offset, '' FROM ticks")
	if err != nil {
		return err
	}
	for at := range ticks {
		if n := len(rows[at]); n != 1 {
			r.differ("ticks: %d rows of the tick at %s", n, at)
		}
	}
	for at, all := range rows {
		if _, there := ticks[at]; !there {
			r.differ("ticks: %d rows of %s, which is no tick", len(all), at)
		}
	}
	return nil
}
