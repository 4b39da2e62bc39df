package chaos

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"google.golang.org/protobuf/proto"

	"github.com/tintype/tintype/event"
	"github.com/tintype/tintype/event/eventpb"
)

// The recount is independent of what it checks: a plain consumer and plain SQL,
// nothing of the loader, of the audit or of the stages.

// consume calls f with every committed record that a topic holds now.
func consume(ctx context.Context, brokers, topic string, f func(id uuid.UUID, r *kgo.Record) error) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(brokers), kgo.FetchMaxPartitionBytes(32<<20))
	if err != nil {
		return fmt.Errorf("chaos: connect: %w", err)
	}
	admin := kadm.NewClient(client)
	defer client.Close()
	details, err := admin.ListTopics(ctx, topic)
	if err == nil {
		err = details.Error()
	}
	if err != nil {
		return fmt.Errorf("chaos: describe %s: %w", topic, err)
	}
	ends, err := admin.ListEndOffsets(ctx, topic)
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		return fmt.Errorf("chaos: list the ends of %s: %w", topic, err)
	}
	for partition := range details[topic].Partitions {
		end, _ := ends.Lookup(topic, partition)
		// Control records are kept, so that the end of the log is seen.
		reader, err := kgo.NewClient(kgo.SeedBrokers(brokers), kgo.FetchMaxPartitionBytes(32<<20), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords(),
			kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {partition: kgo.NewOffset().AtStart()}}))
		if err != nil {
			return fmt.Errorf("chaos: connect: %w", err)
		}
		err = consumePartition(ctx, reader, end.Offset, func(r *kgo.Record) error { return f(uuid.UUID(details[topic].ID), r) })
		reader.Close()
		if err != nil {
			return fmt.Errorf("chaos: read %s/%d: %w", topic, partition, err)
		}
	}
	return nil
}

func consumePartition(ctx context.Context, reader *kgo.Client, end int64, f func(*kgo.Record) error) error {
	for at := int64(0); at < end; {
		fetches := reader.PollFetches(ctx)
		if err := fetches.Err0(); err != nil {
			return err
		}
		for iter := fetches.RecordIter(); !iter.Done(); {
			r := iter.Next()
			at = r.Offset + 1
			if r.Attrs.IsControl() || r.Offset >= end {
				continue
			}
			if err := f(r); err != nil {
				return err
			}
		}
		if errs := fetches.Errors(); len(errs) > 0 {
			return errs[0].Err
		}
	}
	return nil
}

// logOf reads the origins that the topic uploads holds, of ticks too.
func logOf(ctx context.Context, brokers, topic string) (origins, error) {
	all := origins{}
	err := consume(ctx, brokers, topic, func(id uuid.UUID, r *kgo.Record) error {
		key := string(r.Key)
		if header(r) == "tick" {
			key = tickKey
		}
		all[event.Position{TopicID: id, Partition: r.Partition, Offset: r.Offset}] = key
		return nil
	})
	return all, err
}

// A Recount is what the recount found.
type Recount struct {
	Uploads int `json:"uploads"`
	// Ticks are the log's control records; each has its row, or Others name it.
	Ticks int `json:"ticks"`
	// Of the topic developed.
	FatesMissing  int `json:"fates_missing"`
	FatesTwice    int `json:"fates_twice"`
	FatesInvented int `json:"fates_invented"`
	// Of the table uploads.
	RowsMissing  int `json:"rows_missing"`
	RowsTwice    int `json:"rows_twice"`
	RowsInvented int `json:"rows_invented"`
	// Others are differences in the tables of the stages, in renditions, ticks and
	// rollups, named.
	Others []string `json:"others"`
}

// recount compares the log's origins with fates, rows and tables.
func recount(ctx context.Context, brokers, clickHouse string, topics event.Topics, groups groups, log origins) (*Recount, error) {
	log, ticks := apart(log)
	r := &Recount{Uploads: len(log), Others: []string{}}
	fates, err := fatesOf(ctx, brokers, topics.Developed.Name)
	if err != nil {
		return nil, err
	}
	for at := range log {
		switch n := len(fates[at]); {
		case n == 0:
			r.FatesMissing++
		case n > 1:
			r.FatesTwice += n - 1
		}
	}
	for at, all := range fates {
		if _, there := log[at]; !there {
			r.FatesInvented += len(all)
		}
	}
	if err := r.sightings(ctx, brokers, topics.Photos.Name, fates); err != nil {
		return nil, err
	}
	if err := r.tables(ctx, brokers, groups, fates); err != nil {
		return nil, err
	}
	return r, r.rows(ctx, clickHouse, log, ticks, fates)
}

// add adds what was there twice before the tables were merged.
func (r *Recount) add(m merged) {
	r.RowsTwice += int(m.uploads)
	for table, n := range map[string]int64{"renditions": m.renditions, "dead_letters": m.deadLetters} {
		if n > 0 {
			r.differ("%s: %d rows were there twice before a merge", table, n)
		}
	}
}

// groups names the consumer groups.
type groups struct{ extract, transform, load string }

// A fate is one record of the topic developed.
type fate struct{ *eventpb.Developed }

// content names the bytes and the renditions that a fate tells of.
func (f fate) content() string {
	return hex.EncodeToString(f.GetFacts().GetSha256()) + " " + f.GetSpec()
}

// fatesOf reads all fates by their origins.
func fatesOf(ctx context.Context, brokers, topic string) (map[event.Position][]fate, error) {
	fates := map[event.Position][]fate{}
	err := consume(ctx, brokers, topic, func(_ uuid.UUID, r *kgo.Record) error {
		d := new(eventpb.Developed)
		if err := proto.Unmarshal(r.Value, d); err != nil {
			return err
		}
		origin := event.PositionOf(d.GetStamp().GetOrigin())
		fates[origin] = append(fates[origin], fate{d})
		return nil
	})
	return fates, err
}

// last reads the last value of each key of a changelog.
func last(ctx context.Context, brokers, topic string) (map[string][]byte, error) {
	values := map[string][]byte{}
	err := consume(ctx, brokers, topic, func(_ uuid.UUID, r *kgo.Record) error {
		if r.Value == nil {
			delete(values, string(r.Key))
		} else {
			values[string(r.Key)] = r.Value
		}
		return nil
	})
	return values, err
}

// sightings compares the log of photos with the fates: of each content the first
// photo that lived is the original, and each later one its duplicate.
func (r *Recount) sightings(ctx context.Context, brokers, topic string, fates map[event.Position][]fate) error {
	seen, photos := map[string]bool{}, map[event.Position]int{}
	err := consume(ctx, brokers, topic, func(_ uuid.UUID, record *kgo.Record) error {
		if header(record) != "" {
			return nil // It is for the stages alone.
		}
		photo := new(eventpb.Photo)
		if err := proto.Unmarshal(record.Value, photo); err != nil {
			return err
		}
		origin := event.PositionOf(photo.GetStamp().GetOrigin())
		photos[origin]++
		if len(fates[origin]) != 1 || fates[origin][0].Outcome == eventpb.Outcome_OUTCOME_DEAD {
			return nil // Counted elsewhere, or no sighting.
		}
		f := fates[origin][0]
		want := eventpb.Outcome_OUTCOME_DUPLICATE
		if !seen[f.content()] {
			want = eventpb.Outcome_OUTCOME_ORIGINAL
		}
		seen[f.content()] = true
		if f.Outcome != want {
			r.differ("the photo at %s is %s, by the log of photos %s", origin, event.OutcomeName(f.Outcome), event.OutcomeName(want))
		}
		return nil
	})
	if err != nil {
		return err
	}
	for origin, all := range fates {
		for _, f := range all {
			if sighting := f.Outcome == eventpb.Outcome_OUTCOME_ORIGINAL || f.Outcome == eventpb.Outcome_OUTCOME_DUPLICATE; sighting && photos[origin] != 1 {
				r.differ("the upload at %s has %d photos", origin, photos[origin])
			}
		}
	}
	return nil
}

// differ notes a difference.
func (r *Recount) differ(format string, args ...any) {
	r.Others = append(r.Others, fmt.Sprintf(format, args...))
}

// tables compares the tables of transform and extract with what the fates say.
func (r *Recount) tables(ctx context.Context, brokers string, groups groups, fates map[event.Position][]fate) error {
	originals, ids := r.firsts(fates)
	sightings, err := last(ctx, brokers, groups.transform+"-table")
	if err != nil {
		return err
	}
	entries := 0
	for sha, value := range sightings {
		state := new(eventpb.Sightings)
		if err := proto.Unmarshal(value, state); err != nil {
			return err
		}
		for spec, sighting := range state.BySpec {
			entries++
			original, known := originals[sha+" "+spec]
			if !known {
				r.differ("table of transform: %s has a first sighting, which no fate tells", sha)
			} else if got, want := event.PositionOf(sighting.Origin), event.PositionOf(original.GetStamp().GetOrigin()); got != want {
				r.differ("table of transform: %s was first seen at %s, its fate says %s", sha, got, want)
			}
		}
	}
	if entries != len(originals) {
		r.differ("table of transform: %d first sightings, the fates have %d", entries, len(originals))
	}
	seen, err := last(ctx, brokers, groups.extract+"-table")
	if err != nil {
		return err
	}
	for id, n := range ids {
		if n > 1 {
			r.differ("upload id %q was taken %d times", id, n)
		}
		if seen[id] == nil {
			r.differ("table of extract: upload id %q is not there", id)
		}
	}
	named := map[string]bool{}
	for _, all := range fates {
		for _, f := range all {
			named[f.GetSender().GetUploadId()] = true
		}
	}
	for id := range seen {
		if !named[id] {
			r.differ("table of extract: upload id %q is there, and in no fate", id)
		}
	}
	return nil
}

// firsts finds the one original of each content, which all duplicates refer to, and
// how often each upload id was taken.
func (r *Recount) firsts(fates map[event.Position][]fate) (originals map[string]fate, ids map[string]int) {
	originals, ids = map[string]fate{}, map[string]int{}
	for _, all := range fates {
		for _, f := range all {
			switch id := f.GetSender().GetUploadId(); f.Outcome {
			case eventpb.Outcome_OUTCOME_ORIGINAL:
				ids[id]++
				if other, there := originals[f.content()]; there {
					r.differ("%s has two originals, upload %q and upload %q", f.content(), other.GetSender().GetUploadId(), id)
				}
				originals[f.content()] = f
			case eventpb.Outcome_OUTCOME_DUPLICATE:
				ids[id]++
			case eventpb.Outcome_OUTCOME_REPEAT:
				ids[id] += 0 // It was taken before, by an upload that may have died.
			default: // The dead may have died before their upload id was looked at.
			}
		}
	}
	for _, all := range fates {
		for _, f := range all {
			if f.Outcome != eventpb.Outcome_OUTCOME_DUPLICATE {
				continue
			}
			id := f.GetSender().GetUploadId()
			switch original, there := originals[f.content()]; {
			case !there:
				r.differ("upload %q is a duplicate of %q, which has no original", id, f.content())
			case original.GetSender().GetUploadId() != f.GetDuplicateOf():
				r.differ("upload %q is a duplicate of %q, the original is %q", id, f.GetDuplicateOf(), original.GetSender().GetUploadId())
			}
		}
	}
	return originals, ids
}

// rows compares the tables of ClickHouse, without FINAL.
func (r *Recount) rows(ctx context.Context, address string, log, ticks origins, fates map[event.Position][]fate) error {
	return onClickHouse(address, func(conn driver.Conn) error {
		if err := r.each(ctx, conn, log, fates); err != nil {
			return err
		}
		if err := r.ticks(ctx, conn, ticks); err != nil {
			return err
		}
		return r.projections(ctx, conn)
	})
}

// each compares each row with its fate.
func (r *Recount) each(ctx context.Context, conn driver.Conn, log origins, fates map[event.Position][]fate) error {
	renditions, err := counts(ctx, conn, "SELECT src_topic_id, src_partition, src_offset, name FROM renditions")
	if err != nil {
		return err
	}
	rows, err := counts(ctx, conn, "SELECT src_topic_id, src_partition, src_offset, concat(toString(outcome), ' ', upload_id, ' ', ifNull(sha256, ''), ' ', ifNull(duplicate_of, '')) FROM uploads")
	if err != nil {
		return err
	}
	for at := range log {
		outcomes := rows[at]
		switch n := len(outcomes); {
		case n == 0:
			r.RowsMissing++
			continue
		case n > 1:
			r.RowsTwice += n - 1
		}
		if len(fates[at]) != 1 || len(outcomes) != 1 {
			continue
		}
		f := fates[at][0]
		want := fmt.Sprintf("%s %s %s %s", event.OutcomeName(f.Outcome), f.GetSender().GetUploadId(), hex.EncodeToString(f.GetFacts().GetSha256()), f.GetDuplicateOf())
		if outcomes[0] != want {
			r.differ("row of %s is %q, its fate is %q", at, outcomes[0], want)
		}
		var names []string
		if f.Outcome == eventpb.Outcome_OUTCOME_ORIGINAL {
			for _, rendition := range f.Renditions {
				names = append(names, rendition.Name)
			}
		}
		got := renditions[at]
		slices.Sort(got)
		slices.Sort(names)
		if !slices.Equal(got, names) {
			r.differ("renditions of %s are %v, its fate has %v", at, got, names)
		}
	}
	for at := range rows {
		if _, there := log[at]; !there {
			r.RowsInvented++
		}
	}
	for at := range renditions {
		if _, there := log[at]; !there {
			r.differ("renditions of %s, which is no upload", at)
		}
	}
	return r.letters(ctx, conn, log, fates)
}

// letters compares the dead letters, which are told apart by stage, with the dead.
// Stage windows tells of no death: a window has left the upload out, and several may
// have.
func (r *Recount) letters(ctx context.Context, conn driver.Conn, log origins, fates map[event.Position][]fate) error {
	letters, err := counts(ctx, conn, "SELECT src_topic_id, src_partition, src_offset, toString(stage) FROM dead_letters")
	if err != nil {
		return err
	}
	for at, stages := range letters {
		if _, there := log[at]; !there {
			r.differ("dead_letters of %s, which is no upload", at)
		}
		stages = slices.DeleteFunc(stages, func(stage string) bool { return stage == "windows" })
		letters[at] = stages
		slices.Sort(stages)
		if n := len(stages) - len(slices.Compact(slices.Clone(stages))); n > 0 {
			r.differ("dead_letters: %d rows of %s are there twice", n, at)
		}
	}
	for at, all := range fates {
		if len(letters[at]) == 0 && all[0].Outcome == eventpb.Outcome_OUTCOME_DEAD {
			r.differ("dead_letters: none of %s, which is dead", at)
		}
	}
	return nil
}

// projections compares the sums of each minute with the rows that they are of.
func (r *Recount) projections(ctx context.Context, conn driver.Conn) error {
	for table, by := range map[string]string{"uploads": "outcome", "renditions": "name"} {
		sums := make([]string, 2)
		for i, settings := range []string{"optimize_use_projections = 0", "optimize_use_projections = 1, force_optimize_projection = 1"} {
			query := "SELECT toString(groupArray((m, b, n, s))) FROM (SELECT toStartOfMinute(event_time) AS m, toString(" + by + ") AS b, count() AS n, sum(bytes) AS s FROM " + table +
				" GROUP BY toStartOfMinute(event_time), " + by + " ORDER BY m, b) SETTINGS " + settings
			if err := conn.QueryRow(ctx, query).Scan(&sums[i]); err != nil {
				return fmt.Errorf("chaos: sum up %s: %w", table, err)
			}
		}
		if sums[0] != sums[1] {
			r.differ("the projection by_minute of %s differs from its rows", table)
		}
	}
	return nil
}

// counts reads one text of each row by position.
func counts(ctx context.Context, conn driver.Conn, query string) (map[event.Position][]string, error) {
	rows, err := conn.Query(ctx, query)
	if err != nil {
		return nil, fmt.Errorf("chaos: %s: %w", query, err)
	}
	all := map[event.Position][]string{}
	for rows.Next() {
		var at event.Position
		var text string
		if err := rows.Scan(&at.TopicID, &at.Partition, &at.Offset, &text); err != nil {
			return nil, errors.Join(fmt.Errorf("chaos: %s: %w", query, err), rows.Close())
		}
		all[at] = append(all[at], text)
	}
	return all, errors.Join(rows.Err(), rows.Close())
}
