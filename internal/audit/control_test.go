package audit

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"google.golang.org/protobuf/proto"

	"github.com/tintype/tintype/event"
	"github.com/tintype/tintype/event/eventpb"
)

// control appends a control record to a partition of a topic.
func (b *bed) control(topic string, partition int32, kind event.Control, value []byte) {
	b.t.Helper()
	r := &kgo.Record{
		Topic: topic, Partition: partition, Key: []byte("\x00control 0"), Value: value,
		Headers: []kgo.RecordHeader{{Key: "other", Value: []byte("tick")}, {Key: event.ControlHeader, Value: []byte(kind)}},
	}
	if err := b.options.Kafka.ProduceSync(b.t.Context(), r).FirstErr(); err != nil {
		b.t.Fatal(err)
	}
}

// ticked is the row of a tick in partition 0.
func (b *bed) ticked(offset int) {
	b.t.Helper()
	b.insert("ticks", []string{"event_time", "src_topic_id", "src_partition", "src_offset"}, []string{"now64(3)", "'" + b.id.String() + "'", "0", strconv.Itoa(offset)})
}

// letter is the row of a dead letter of an upload of partition 0.
func (b *bed) letter(offset int, stage, reason string) {
	b.t.Helper()
	b.insert("dead_letters", []string{"upload_id", "stage", "reason", "src_topic_id", "src_partition", "src_offset"},
		[]string{"'u'", "'" + stage + "'", "'" + reason + "'", "'" + b.id.String() + "'", "0", strconv.Itoa(offset)})
}

// A tick is an offset's end, too.
func TestTicks(t *testing.T) {
	b := newBed(t)
	b.send(b.options.Kafka, 0, 3)
	b.row(b.id, 0, 0)
	b.ticked(1)
	b.read(0, 2)
	if r := b.audit(); !r.OK() || b.partition(r, 0).Ticks != 1 {
		t.Errorf("differences %v: %v", r.Differences, r.Examples)
	}
	b.ticked(0)
	b.read(0, 3)
	b.wantDifferences(b.audit(), map[Kind]uint64{Twice: 1, Missing: 1})
}

// A tick of the log has a row, is under way to it, was refused, or is missing.
func TestTicksOfTheLog(t *testing.T) {
	b := newBed(t)
	uploads := b.options.Topics.Uploads.Name
	value, err := proto.Marshal(&eventpb.Tick{AllowanceMs: 10_000})
	if err != nil {
		t.Fatal(err)
	}
	for range 4 {
		b.control(uploads, 0, event.ControlTick, value)
	}
	b.send(b.options.Kafka, 0, 1)
	b.read(0, 5)
	b.ticked(0)
	under, err := proto.Marshal(&eventpb.Ticked{Stamp: &eventpb.Stamp{Origin: event.Position{TopicID: b.id, Offset: 1}.Proto()}})
	if err != nil {
		t.Fatal(err)
	}
	b.control(b.options.Topics.Ticks.Name, 1, event.ControlWatermarks, value) // Of none of our stages, and no tick.
	b.sendAt(b.options.Kafka, b.options.Since, b.options.Topics.Ticks.Name, 1, under)
	b.letter(2, "load", "refused_by_sink")
	b.letter(4, "load", "refused_by_sink") // Of an upload, which keeps its fate: it is missing all the same.
	b.options.Wait = 0
	r := b.audit()
	b.wantDifferences(r, map[Kind]uint64{Missing: 2})
	if p := b.partition(r, 0); p.Ticks != 2 || p.Pending != 1 || p.Missing != 2 || r.Drained || !strings.Contains(r.Behind, "1 records of "+b.options.Topics.Ticks.Name) {
		t.Errorf("%+v, behind %q", p, r.Behind)
	}
	if len(r.Examples) != 2 || r.Examples[0].Table != "ticks" || r.Examples[0].Position != b.id.String()+"/0/3" || r.Examples[1].Table != "uploads" {
		t.Errorf("%v", r.Examples)
	}
	b.ticked(1)
	b.ticked(3)
	b.row(b.id, 0, 4)
	b.commit(b.options.Load, b.options.Topics.Ticks.Name, 1, 2)
	r = b.audit()
	if p := b.partition(r, 0); !r.OK() || p.Ticks != 4 || p.Rows != 1 {
		t.Errorf("differences %v: %v, %+v", r.Differences, r.Examples, p)
	}
}

// Control records on the way are no uploads: nobody waits for them, and what they
// hold is not read as a stamp.
func TestControlRecordsOnTheWay(t *testing.T) {
	b := newBed(t)
	b.options.ExtractLoop = b.options.Topics.Photos.Name + "-loop"
	b.create(b.options.ExtractLoop)
	b.send(b.options.Kafka, 0, 1)
	b.read(0, 1)
	value, err := proto.Marshal(&eventpb.Photo{Stamp: &eventpb.Stamp{Origin: event.Position{TopicID: b.id}.Proto()}})
	if err != nil {
		t.Fatal(err)
	}
	for _, topic := range []string{b.options.ExtractLoop, b.options.Topics.Photos.Name} {
		b.control(topic, 0, event.ControlWatermarks, value)
	}
	b.options.Wait = 0
	r := b.audit()
	b.wantDifferences(r, map[Kind]uint64{Missing: 1})
	if !r.Drained || b.partition(r, 0).Pending != 0 {
		t.Errorf("drained %v (%s), %+v", r.Drained, r.Behind, r.Partitions)
	}
	// Neither do those count that a stage is far behind with.
	for range nearEnd + 5 {
		b.control(b.options.Topics.Photos.Name, 0, event.ControlWatermarks, value)
	}
	r = b.audit()
	if b.wantDifferences(r, map[Kind]uint64{Missing: 1}); !r.Drained {
		t.Errorf("behind control records: %s", r.Behind)
	}
}

// A strict audit demands what the log held when it began: in an idle log there is
// always one more tick to come.
func TestStrictDemandsNoLaterTick(t *testing.T) {
	b := newBed(t)
	b.send(b.options.Kafka, 0, 1)
	b.read(0, 1)
	ends, err := newWay(b.options).ends(t.Context(), b.options.Topics.Uploads.Name)
	if err != nil {
		t.Fatal(err)
	}
	b.control(b.options.Topics.Uploads.Name, 0, event.ControlTick, nil)
	for _, c := range []struct {
		awaited kadm.ListedOffsets
		end     int64
	}{{ends, 1}, {nil, 2}} {
		log, err := readLog(t.Context(), b.options, c.awaited)
		if err != nil {
			t.Fatal(err)
		}
		if got := log.partitions[0]; got.end != c.end || got.read != 1 {
			t.Errorf("%+v, want the end %d", got, c.end)
		}
	}
}

// Dead letters of windows, and of what is no upload, tell of no death.
func TestDeadLettersOfNoDeath(t *testing.T) {
	b := newBed(t)
	b.send(b.options.Kafka, 0, 4)
	b.read(0, 3)
	b.row(b.id, 0, 0)
	b.row(b.id, 0, 1)
	b.row(b.id, 0, 2, "outcome='dead'")
	b.letter(2, "extract", "empty_file")
	leave := func(offset int, record string) {
		b.exec(fmt.Sprintf(`INSERT INTO dead_letters (upload_id, stage, reason, src_topic_id, src_partition, src_offset, loaded_at, load_lease, load_topic_id, load_partition, load_offset)
			VALUES ('', 'windows', 'too_many_windows', '%[1]s', 0, %[2]d, now64(3), now64(3) + 60, '%[1]s', 0, %[3]s)`, b.id, offset, record))
	}
	leave(0, "7")
	leave(0, "8") // Of another window.
	leave(2, "9")
	for _, topic := range []string{"00000000-0000-4000-8000-000000000004", "00000000-0000-4000-8000-000000000005"} { // windows.results and late.
		b.insert("dead_letters", []string{"stage", "reason", "src_topic_id", "src_partition", "src_offset"}, []string{"'load'", "'refused_by_sink'", "'" + topic + "'", "0", "5"})
	}
	if r := b.audit(); !r.OK() || len(r.Partitions) != bedPartitions {
		t.Errorf("differences %v: %v, %d partitions", r.Differences, r.Examples, len(r.Partitions))
	}
	leave(0, "8") // The same record once more.
	b.row(b.id, 0, 3, "outcome='dead'")
	leave(3, "10")
	b.read(0, 4)
	b.wantDifferences(b.audit(), map[Kind]uint64{Twice: 1, NoDeadLetter: 1})
}
