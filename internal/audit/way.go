package audit

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tintype/tintype/event"
	"github.com/tintype/tintype/event/eventpb"
	"github.com/tintype/tintype/exactly"
)

// A hop is a topic on the way from extract to the tables, and the group that
// reads it.
type hop struct {
	group, topic string
	// stamp reads the stamp of a record's value; nil where there is none, in uploads.
	stamp func([]byte) *eventpb.Stamp
}

// holds reports whether a record is to become a row: the ends of transactions are
// not, nor are control records, which stages send each other. In uploads they are
// ticks, which have rows.
func (h hop) holds(r *kgo.Record) bool {
	return !r.Attrs.IsControl() && (h.stamp == nil || controlOf(r) == "")
}

// controlOf says which control record a record is; "" for any other.
func controlOf(r *kgo.Record) event.Control {
	for _, header := range r.Headers {
		if header.Key == event.ControlHeader {
			return event.Control(header.Value)
		}
	}
	return ""
}

// way is where records are between extract and the tables.
type way struct {
	options Options
	admin   *kadm.Client
	hops    []hop
	// noted is what the groups had committed before rows were looked at.
	noted []kadm.OffsetResponses
}

func newWay(o Options) *way {
	codecs := event.NewCodecs()
	return &way{options: o, admin: kadm.NewClient(o.Kafka), hops: []hop{
		{o.Extract, o.ExtractLoop, func(v []byte) *eventpb.Stamp { return codecs.Rekeyed.Read(v).Message.GetStamp() }},
		{o.Transform, o.Topics.Photos.Name, func(v []byte) *eventpb.Stamp { return codecs.Photo.Read(v).Message.GetStamp() }},
		{o.Load, o.Topics.Developed.Name, func(v []byte) *eventpb.Stamp { return codecs.Developed.Read(v).Message.GetStamp() }},
		{o.Load, o.Topics.Ticks.Name, func(v []byte) *eventpb.Stamp { return codecs.Ticked.Read(v).Message.GetStamp() }},
		{o.Load, o.Topics.DeadLetters.Name, func(v []byte) *eventpb.Stamp { return codecs.DeadLetter.Read(v).Message.GetStamp() }},
	}}
}

// nearEnd is how few offsets behind a group may be to be looked at closely.
const nearEnd = 16

// awaitExtract waits until extract has read what the log holds now, or until
// the deadline. It returns the ends of what it has waited for.
func (w *way) awaitExtract(ctx context.Context, deadline time.Time) (kadm.ListedOffsets, error) {
	h := hop{group: w.options.Extract, topic: w.options.Topics.Uploads.Name}
	ends, err := w.ends(ctx, h.topic)
	if err == nil {
		_, err = w.awaitEnds(ctx, h, ends, deadline)
	}
	return ends, err
}

// await waits until what extract had read has passed the stages behind it. At
// the deadline it says who is behind, and notes where the groups are.
func (w *way) await(ctx context.Context, deadline time.Time) (behind string, err error) {
	last := w.hops[len(w.hops)-1]
	for _, hop := range append(w.hops, last) { // Twice: the loader may write dead letters itself.
		if behind, err = w.awaitHop(ctx, hop, deadline); err != nil || behind != "" {
			break
		}
	}
	if err != nil || behind == "" {
		return "", err
	}
	for _, hop := range w.hops {
		committed, err := w.committed(ctx, hop.group)
		if err != nil {
			return "", err
		}
		w.noted = append(w.noted, committed)
	}
	return behind, nil
}

// awaitHop waits until a group has read what a topic holds now.
func (w *way) awaitHop(ctx context.Context, h hop, deadline time.Time) (behind string, err error) {
	ends, err := w.ends(ctx, h.topic)
	if err != nil {
		return "", err
	}
	return w.awaitEnds(ctx, h, ends, deadline)
}

// awaitEnds waits until a group has read a topic up to its ends.
func (w *way) awaitEnds(ctx context.Context, h hop, ends kadm.ListedOffsets, deadline time.Time) (behind string, err error) {
	for pause := 20 * time.Millisecond; ; pause = min(2*pause, 500*time.Millisecond) {
		committed, err := w.committed(ctx, h.group)
		if err != nil {
			return "", err
		}
		waiting, err := w.waiting(ctx, h, committed, ends)
		if err != nil || waiting == 0 {
			return "", err
		}
		if time.Now().Add(pause).After(deadline) {
			return fmt.Sprintf("group %s is %d records of %s behind", h.group, waiting, h.topic), nil
		}
		select {
		case <-ctx.Done():
			return "", ctx.Err()
		case <-time.After(pause):
		}
	}
}

// waiting counts the records of a hop that its group has not read. The markers that
// end transactions, and control records, have offsets, too, so near the end it looks.
func (w *way) waiting(ctx context.Context, h hop, committed kadm.OffsetResponses, ends kadm.ListedOffsets) (int64, error) {
	n := int64(0)
	err := w.unread(ctx, h.topic, committed, ends, func(r exactly.Range) error {
		if r.End-r.From > nearEnd {
			n += r.End - r.From
			return nil
		}
		return exactly.Scan(ctx, w.options.Kafka, r, func(record *kgo.Record) {
			if h.holds(record) {
				n++
			}
		})
	})
	return n, err
}

// unread calls f with what a group has not read of each partition.
func (w *way) unread(ctx context.Context, topic string, committed kadm.OffsetResponses, ends kadm.ListedOffsets, f func(exactly.Range) error) error {
	if len(ends) == 0 {
		return nil
	}
	starts, err := w.admin.ListStartOffsets(ctx, topic)
	if err == nil {
		err = starts.Error()
	}
	if err != nil {
		return fmt.Errorf("audit: list first offsets of %s: %w", topic, err)
	}
	for partition, end := range ends[topic] {
		r := exactly.Range{Topic: topic, Partition: partition, End: end.Offset}
		if at, ok := starts.Lookup(topic, partition); ok {
			r.From = at.Offset
		}
		if at, ok := committed.Lookup(topic, partition); ok {
			r.From = max(r.From, at.At)
		}
		if r.From >= r.End {
			continue
		}
		if err := f(r); err != nil {
			return err
		}
	}
	return nil
}

// ends are the ends of a topic's partitions; none where it does not exist, as a
// loop that was never needed.
func (w *way) ends(ctx context.Context, topic string) (kadm.ListedOffsets, error) {
	ends, err := w.admin.ListCommittedOffsets(ctx, topic)
	if err == nil {
		err = ends.Error()
	}
	if errors.Is(err, kerr.UnknownTopicOrPartition) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("audit: list last offsets of %s: %w", topic, err)
	}
	return ends, nil
}

// committed is what a group has committed; nothing where it never ran.
func (w *way) committed(ctx context.Context, group string) (kadm.OffsetResponses, error) {
	committed, err := w.admin.FetchOffsets(ctx, group)
	if err != nil && !errors.Is(err, kerr.GroupIDNotFound) {
		return nil, fmt.Errorf("audit: fetch offsets of group %s: %w", group, err)
	}
	return committed, nil
}

// maxUnderWay bounds how many records under way are read to tell whose they are.
const maxUnderWay = 1_000_000

// origins are the uploads whose records are under way.
type origins struct {
	records int64
	// all says that there are too many to read: any upload may be under way.
	all bool
	of  map[event.Position]struct{}
}

func (u origins) has(at event.Position) bool {
	_, ok := u.of[at]
	return u.all || ok
}

// underWay reads what the groups had not read when their offsets were noted. A
// record goes from topic to topic, so one that has no row at a later time is in
// one of these ranges or has none.
func (w *way) underWay(ctx context.Context) (origins, error) {
	found := origins{of: map[event.Position]struct{}{}}
	for i, h := range w.hops {
		ends, err := w.ends(ctx, h.topic)
		if err != nil {
			return found, err
		}
		err = w.unread(ctx, h.topic, w.noted[i], ends, func(r exactly.Range) error {
			if found.all = found.all || found.records+r.End-r.From > maxUnderWay; found.all {
				found.records += r.End - r.From
				return nil
			}
			return exactly.Scan(ctx, w.options.Kafka, r, func(record *kgo.Record) {
				if !h.holds(record) {
					return
				}
				found.records++
				if stamp := h.stamp(record.Value); stamp != nil {
					found.of[event.PositionOf(stamp.GetOrigin())] = struct{}{}
				}
			})
		})
		if err != nil {
			return found, err
		}
	}
	return found, nil
}
