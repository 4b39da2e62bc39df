package windowcount

import (
	"maps"
	"testing"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kgo"
	"google.golang.org/protobuf/proto"

	"github.com/tintype/tintype/event/eventpb"
)

// log makes the records of a topic of two partitions: an event time each, or -1
// where none is claimed; a tick has no uploader.
func log(partition int32, times ...int64) []Record {
	var records []Record
	for i, t := range times {
		r := Record{Topic: uuid.UUID{1}, Partition: partition, Offset: int64(i), AppendedMS: 1000, Uploader: "ann", Bytes: int64(i + 1)}
		if t >= 0 {
			r.ClaimedMS = &t
		}
		records = append(records, r)
	}
	return records
}

// The limits of each rule, one to either side.
func TestRules(t *testing.T) {
	for name, c := range map[string]struct {
		aggregate Aggregate
		log       []Record
		windows   map[[2]int64]int64 // bounds and count
		late      []int64            // starts
		closed    [][2]int64
	}{
		"an upload at the end of a window is in the next one": {
			aggregate: Aggregate{Kind: "tumbling", Size: 10, Grace: 5, Dimension: "all"}, log: log(0, 9, 10),
			windows: map[[2]int64]int64{{0, 10}: 1, {10, 20}: 1},
		},
		"a window takes uploads until the stream time is its end and the grace": {
			aggregate: Aggregate{Kind: "tumbling", Size: 10, Grace: 5, Dimension: "all"}, log: log(0, 3, 14, 4, 15, 5),
			windows: map[[2]int64]int64{{0, 10}: 2, {10, 20}: 2}, late: []int64{0},
		},
		"an upload may be late for one window and in another": {
			aggregate: Aggregate{Kind: "hopping", Size: 10, Advance: 5, Dimension: "all"}, log: log(0, 12, 7),
			windows: map[[2]int64]int64{{5, 15}: 2, {10, 20}: 1}, late: []int64{0},
		},
		"no window starts before the epoch": {
			aggregate: Aggregate{Kind: "hopping", Size: 10, Advance: 4, Dimension: "all"}, log: log(0, 5),
			windows: map[[2]int64]int64{{0, 10}: 1, {4, 14}: 1},
		},
		"a gap joins, more than a gap parts": {
			aggregate: Aggregate{Kind: "session", Gap: 10, Grace: 100, Dimension: "uploader"}, log: log(0, 0, 21, 10),
			windows: map[[2]int64]int64{{0, 10}: 2, {21, 21}: 1},
		},
		"a session is asked of the upload alone": {
			aggregate: Aggregate{Kind: "session", Gap: 10, Grace: 5, Dimension: "uploader"}, log: log(0, 30, 15, 14),
			windows: map[[2]int64]int64{{15, 15}: 1, {30, 30}: 1}, late: []int64{14},
		},
		"closing waits for all partitions": {
			aggregate: Aggregate{Kind: "tumbling", Size: 10, Grace: 5, Dimension: "all"}, log: append(log(0, 3, 40), log(1, 15)...),
			windows: map[[2]int64]int64{{0, 10}: 1, {40, 50}: 1, {10, 20}: 1}, closed: [][2]int64{{0, 10}},
		},
		"and a session for two gaps and a grace": {
			aggregate: Aggregate{Kind: "session", Gap: 10, Grace: 5, Dimension: "uploader"}, log: append(log(0, 0, 1, 12, 40), log(1, 38)...),
			windows: map[[2]int64]int64{{0, 1}: 2, {12, 12}: 1, {38, 40}: 2}, closed: [][2]int64{{0, 1}, {12, 12}},
		},
		"what claims no time has that of the stream": {
			aggregate: Aggregate{Kind: "tumbling", Size: 10, Dimension: "all"}, log: log(0, -1, 25, -1),
			windows: map[[2]int64]int64{{1000, 1010}: 1, {20, 30}: 2},
		},
		"what is ahead has the time it was appended at": {
			aggregate: Aggregate{Kind: "tumbling", Size: 10, Dimension: "all"}, log: log(0, 1101, 1001, 1100),
			windows: map[[2]int64]int64{{1000, 1010}: 2, {1100, 1110}: 1},
		},
	} {
		t.Run(name, func(t *testing.T) {
			for i := range c.log { // "a gap joins" and its neighbours are of one partition.
				c.log[i].Offset = int64(i)
			}
			got := Of(c.log, []Aggregate{c.aggregate}, 2, 100)
			windows, closed := map[[2]int64]int64{}, map[[2]int64]bool{}
			for w, totals := range got.Windows {
				windows[[2]int64{w.Start, w.End}] = totals.Count
				if got.Closed(w) {
					closed[[2]int64{w.Start, w.End}] = true
				}
			}
			if !maps.Equal(windows, c.windows) {
				t.Errorf("windows %v, want %v", windows, c.windows)
			}
			if len(got.Late) != len(c.late) {
				t.Errorf("late %v, want %v", got.Late, c.late)
			}
			for l := range got.Late {
				if l.Start != c.late[0] {
					t.Errorf("late for %d, want %v", l.Start, c.late)
				}
			}
			if len(closed) != len(c.closed) {
				t.Errorf("closed %v, want %v", closed, c.closed)
			}
			for _, bounds := range c.closed {
				if !closed[bounds] {
					t.Errorf("%v is not closed", bounds)
				}
			}
		})
	}
}

// Names are those of results; sums are of what a window counts.
func TestNamesAndTotals(t *testing.T) {
	records := log(0, 1, 2, 3)
	records[1].Uploader = "bob"
	tick := log(0, 500)[0]
	tick.Tick, tick.Uploader = true, ""
	aggregates := []Aggregate{
		{Kind: "tumbling", Size: 90_000, Dimension: "all"}, {Kind: "hopping", Size: 60_000, Advance: 1500, Dimension: "uploader"}, {Kind: "session", Gap: 7_200_000, Dimension: "uploader"},
	}
	c := Of(append(records, tick), aggregates, 1, 100)
	want := map[Window]Totals{
		{"tumbling-90s-all", "", 0, 90_000}:              {3, 6, 1, 3, 2},
		{"hopping-1m-1500ms-uploader", "ann", 0, 60_000}: {2, 4, 1, 3, 1},
		{"hopping-1m-1500ms-uploader", "bob", 0, 60_000}: {1, 2, 2, 2, 1},
		{"session-2h-uploader", "ann", 1, 3}:             {2, 4, 1, 3, 1},
		{"session-2h-uploader", "bob", 2, 2}:             {1, 2, 2, 2, 1},
	}
	if !maps.Equal(c.Windows, want) {
		t.Errorf("windows\n%v, want\n%v", c.Windows, want)
	}
	if c.Watermark != 500 || c.Uploads != 3 {
		t.Errorf("watermark %d, %d uploads", c.Watermark, c.Uploads)
	}
	for w := range want {
		if c.Closed(w) {
			t.Errorf("%s is closed", w)
		}
	}
}

// A record that does not decode names nobody; a tick stays behind its append time.
func TestReadRecord(t *testing.T) {
	upload, err := proto.Marshal(&eventpb.Upload{Uploader: "ann", UploadedAtMs: new(int64(7)), Body: &eventpb.Upload_Inline{Inline: []byte("photo")}})
	if err != nil {
		t.Fatal(err)
	}
	tick, err := proto.Marshal(&eventpb.Tick{AllowanceMs: 300})
	if err != nil {
		t.Fatal(err)
	}
	control := func(kind string, value []byte) *kgo.Record {
		return &kgo.Record{Value: value, Headers: []kgo.RecordHeader{{Key: "tintype-control", Value: []byte(kind)}}}
	}
	if r, err := ReadRecord(uuid.UUID{1}, &kgo.Record{Partition: 2, Offset: 3, Value: upload}); err != nil || r.Uploader != "ann" || *r.ClaimedMS != 7 || r.Bytes != 5 || r.Offset != 3 {
		t.Errorf("%+v, %v", r, err)
	}
	for _, value := range [][]byte{nil, []byte("\xff\xff")} {
		if r, err := ReadRecord(uuid.UUID{1}, &kgo.Record{Value: value}); err != nil || r.Uploader != "" || r.ClaimedMS != nil || r.Tick {
			t.Errorf("%+v, %v", r, err)
		}
	}
	record := control("tick", tick)
	r, err := ReadRecord(uuid.UUID{1}, record)
	if err != nil || !r.Tick || *r.ClaimedMS != record.Timestamp.UnixMilli()-300 {
		t.Errorf("%+v, %v", r, err)
	}
	if r, err := ReadRecord(uuid.UUID{1}, control("alarm", nil)); err == nil {
		t.Errorf("%+v", r)
	}
}
