package verify

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
)

var counts = rules{kind: "tumbling", size: 10, advance: 10, late: 5, dimension: "uploader"}

// twoWindows is a log of one partition with two closed windows of a, and one of b.
func (b *bed) twoWindows() []sent {
	b.t.Helper()
	records := []sent{
		b.upload(0, 0, 1, "a"), b.upload(0, 1, 2, "a"), b.upload(0, 2, 3, "a"), b.upload(0, 5, 3, "a"), b.upload(0, 6, 9, "b"),
		b.upload(0, 7, 12, "a"), b.upload(0, 8, 100, "b"),
	}
	b.log(records, 1)
	return records
}

// A partition that nobody knows a time of lets nothing close.
func TestNoWatermark(t *testing.T) {
	b := newBed(t, 2)
	b.twoWindows()
	b.insert("windows", counted(counts, "a", 0, 10, 4), final(counts, "b", 0, 10, 1))
	r := b.verify()
	b.want(r, map[Kind]uint64{WindowUnexpected: 1})
	b.wantText(r, "partition 1 of", "there is no watermark", "the watermark has not closed the window")
	if r.Watermark != nil || r.Closed() != 0 {
		t.Errorf("watermark %v, %d closed", r.Watermark, r.Closed())
	}
}

// What is selected is compared, and nothing else.
func TestSelection(t *testing.T) {
	b := newBed(t, 1)
	b.twoWindows()
	other := counts
	other.label = "-other"
	b.insert("windows", final(counts, "a", 0, 10, 3), final(counts, "a", 10, 20, 1), final(counts, "b", 0, 10, 2), final(other, "a", 0, 10, 4), final(other, "b", 0, 10, 1))
	for _, c := range []struct {
		patterns string
		keys     []string
		since    int64
		want     map[Kind]uint64
		closed   uint64
	}{
		{closed: 6, want: map[Kind]uint64{MeasureDiffers: 2, WindowMissing: 1}},
		{patterns: "*-other", closed: 3, want: map[Kind]uint64{WindowMissing: 1}},
		{patterns: "*-other *-uploader", closed: 6, want: map[Kind]uint64{MeasureDiffers: 2, WindowMissing: 1}},
		{patterns: "*-uploader@1970-01-01T00:00:00Z", closed: 2, want: map[Kind]uint64{MeasureDiffers: 2}},
		{patterns: "*@1970-01-01T00:00:00.010Z *-uploader@1970-01-01T00:00:00.020Z", closed: 2, want: map[Kind]uint64{WindowMissing: 1}},
		{keys: []string{"b", "it's"}, closed: 2, want: map[Kind]uint64{MeasureDiffers: 1}},
		{since: 1, closed: 2, want: map[Kind]uint64{WindowMissing: 1}},
		{since: 11, want: map[Kind]uint64{}},
	} {
		b.options.Patterns, b.options.Keys, b.options.Since = nil, c.keys, time.Time{}
		for text := range strings.FieldsSeq(c.patterns) {
			p, err := ParsePattern(text)
			if err != nil {
				t.Fatal(err)
			}
			b.options.Patterns = append(b.options.Patterns, p)
		}
		if c.since > 0 {
			b.options.Since = time.UnixMilli(c.since)
		}
		r := b.verify()
		b.want(r, c.want)
		if r.Closed() != c.closed {
			t.Errorf("%+v: %d windows are closed", c, r.Closed())
		}
	}
	b.options.Patterns = []Pattern{{Glob: "session-*"}}
	_, err := Run(t.Context(), b.options)
	if none := new(NoAggregateError); !errors.As(err, &none) || !slices.Equal(none.Known, []string{counts.name(), other.name()}) {
		t.Errorf("nothing is selected: %v", err)
	}
	for _, text := range []string{"", "@1970-01-01T00:00:00Z", "x@", "x@noon", "["} {
		if p, err := ParsePattern(text); err == nil {
			t.Errorf("%q is %+v", text, p)
		}
	}
}

// A final row may come late; one that comes in time is no difference.
func TestFinalRowsAreWaitedFor(t *testing.T) {
	b := newBed(t, 1)
	b.twoWindows()
	b.insert("windows", final(counts, "a", 0, 10, 4), final(counts, "b", 0, 10, 1), counted(counts, "a", 10, 20, 1))
	b.options.Wait = time.Minute
	done := make(chan *Report)
	go func() { done <- b.verify() }()
	select {
	case r := <-done:
		t.Errorf("it did not wait: %s", told(r))
	case <-time.After(2 * time.Second):
		b.insert("windows", final(counts, "a", 10, 20, 1))
		b.want(<-done, map[Kind]uint64{})
	}
}

// Windows that start before an aggregate's first row are left out, as are the late
// uploads of that time.
func TestDeclaredLater(t *testing.T) {
	b := newBed(t, 1)
	records := b.twoWindows()
	b.write([]sent{b.upload(0, 9, 3, "a").stamped(3, 100)})
	b.read(0, 10)
	b.insert("windows", final(counts, "a", 10, 20, 1))
	r := b.verify()
	b.want(r, map[Kind]uint64{})
	b.wantText(r, "2 windows were left out that start before the first one of the table, 1970-01-01T00:00:00.010Z")
	if a := r.Aggregates[0]; a.Before != 2 || a.Closed != 1 || a.Open != 1 {
		t.Errorf("%+v", a)
	}
	b.insert("late_uploads", late(counts, records[1], "a", 0)) // It is not late, whenever that was.
	b.want(b.verify(), map[Kind]uint64{LateUnexpected: 1})
}

// What an aggregate is must be known and one.
func TestWhatCannotBeCompared(t *testing.T) {
	b := newBed(t, 1)
	r := b.verify()
	b.want(r, map[Kind]uint64{})
	b.wantText(r, "the table windows is empty", "there is no watermark")
	b.twoWindows()
	named := func(label string, columns ...string) line {
		r := counts
		r.label = label
		return final(r, "nobody", 0, 10, 4).with(columns...)
	}
	b.insert("windows", named("-twice"), named("-twice", "grace_ms=6", "revision=6"), named("-mood", "dimension='mood'"), named("-sliding", "kind='sliding'"), named("-nothing", "size_ms=0"))
	r = b.verify()
	b.want(r, map[Kind]uint64{})
	b.wantText(r, "-twice was not compared: its rows tell 2 definitions of it", `its dimension "mood" is none that is known here`, `kind "sliding" and its sizes make no window`, "-nothing was not compared")
	if len(r.Aggregates) != 0 || len(r.Notes) != 4 {
		t.Errorf("%+v, %q", r.Aggregates, r.Notes)
	}
}

// A window does not count what the pipeline says it left out: too many were open.
func TestOverflow(t *testing.T) {
	for _, r := range []rules{counts, {kind: "session", gap: 2, late: 5, dimension: "uploader"}} {
		b := newBed(t, 1)
		records := b.twoWindows()
		start := int64(0)
		if r.kind == "session" {
			start = records[2].t
			b.insert("windows", final(r, "a", 1, 3, 3), final(r, "a", 12, 12, 1), final(r, "b", 9, 9, 1))
		} else {
			b.insert("windows", final(r, "a", 0, 10, 3), final(r, "a", 10, 20, 1), final(r, "b", 0, 10, 1))
		}
		b.want(b.verify(), map[Kind]uint64{MeasureDiffers: 1})
		b.insert("late_uploads", late(r, records[2], "a", start).with("cause='overflow'"))
		report := b.verify()
		b.want(report, map[Kind]uint64{})
		b.wantText(report, "1 uploads are not counted by a window because their key had too many open ones")
		if report.Aggregates[0].Overflow != 1 {
			t.Errorf("%+v", report.Aggregates[0])
		}
	}
}

// What a topic that is created anew brings to a window that was closed is left out.
func TestATopicCreatedAnew(t *testing.T) {
	b := newBed(t, 1)
	b.twoWindows()
	b.insert("windows", final(counts, "a", 0, 10, 4), final(counts, "b", 0, 10, 1), final(counts, "a", 10, 20, 1))
	if _, err := b.admin.DeleteTopic(t.Context(), b.options.Topics.Uploads.Name); err != nil {
		t.Fatal(err)
	}
	old := b.id
	b.create(b.options.Topics.Uploads.Name, 1)
	if b.id == old {
		t.Fatal("the topic kept its id")
	}
	r := b.verify() // Nothing of the new topic yet, and what the old one closed stays closed.
	b.want(r, map[Kind]uint64{})
	if r.Watermark != nil || r.Closed() != 3 || len(r.Partitions) != 2 {
		t.Errorf("watermark %v, %d closed, %+v", r.Watermark, r.Closed(), r.Partitions)
	}
	reborn := []sent{b.upload(0, 0, 4, "a"), b.upload(0, 1, 101, "b")}
	b.log(reborn, 1)
	b.want(b.verify(), map[Kind]uint64{MeasureDiffers: 1})
	b.insert("late_uploads", late(counts, reborn[0], "a", 0).with("cause='closed'"))
	r = b.verify()
	b.want(r, map[Kind]uint64{})
	b.wantText(r, "1 uploads are not counted by a window that was closed when")
	if r.Closed() != 3 || r.Watermark.UnixMilli() != 101 || r.Aggregates[0].Reborn != 1 {
		t.Errorf("watermark %v, %+v", r.Watermark, r.Aggregates)
	}
}

// Uploads whose rows ClickHouse refused tell no measure and no key.
func TestRefusedUploads(t *testing.T) {
	b := newBed(t, 1)
	records := b.twoWindows()
	all := rules{kind: "tumbling", size: 10, advance: 10, late: 5, dimension: "all"}
	gaps := rules{kind: "session", gap: 2, late: 5, dimension: "uploader"}
	b.insert("dead_letters", line{
		"upload_id": "'u'", "stage": "'load'", "reason": "'refused_by_sink'", "src_topic_id": "'" + b.id.String() + "'", "src_partition": "0", "src_offset": "9",
	})
	refused := b.upload(0, 9, 98, "").stamped(98, 100)
	b.write([]sent{refused, b.upload(0, 10, 120, "").stamped(120, 120)})
	b.read(0, 11)
	// It was of b, of 7 bytes, and made one session of b longer.
	b.insert("windows",
		final(all, "", 0, 10, 5), final(all, "", 10, 20, 1), final(all, "", 90, 100, 1).with("bytes_in=7"), final(all, "", 100, 110, 1),
		final(counts, "a", 0, 10, 4), final(counts, "b", 0, 10, 1), final(counts, "a", 10, 20, 1), final(counts, "b", 90, 100, 1), final(counts, "b", 100, 110, 1),
		final(gaps, "a", 1, 3, 4), final(gaps, "a", 12, 12, 1), final(gaps, "b", 9, 9, 1), final(gaps, "b", 98, 100, 2))
	r := b.verify()
	b.want(r, map[Kind]uint64{})
	b.wantText(r, "ClickHouse refused the rows of 1 uploads")
	for _, a := range r.Aggregates {
		if want := map[string]uint64{counts.name(): 1, gaps.name(): 2}[a.Name]; a.Blurred != want {
			t.Errorf("%+v, want %d blurred", a, want)
		}
	}
	b.insert("windows", final(all, "", 90, 100, 2).with("bytes_in=7"))
	b.want(b.verify(), map[Kind]uint64{MeasureDiffers: 1, WindowTwice: 1})
	_ = records
}

// While records are under way nothing is proved, and only closed windows are
// compared.
func TestNotDrained(t *testing.T) {
	b := newBed(t, 1)
	b.twoWindows()
	b.write([]sent{b.upload(0, 9, 3, "a").stamped(3, 7)})
	b.insert("windows", final(counts, "a", 0, 10, 3), final(counts, "nobody", 0, 10, 1), final(counts, "b", 0, 10, 1))
	b.options.Wait = 0
	b.send(b.options.Topics.Measures.Name)
	r := b.verify()
	b.want(r, map[Kind]uint64{MeasureDiffers: 1, WindowMissing: 1})
	if r.Drained || r.OK() || !strings.Contains(r.Behind, b.options.Windows) || r.Aggregates[0].Later != 1 {
		t.Errorf("drained %v, %q, %+v", r.Drained, r.Behind, r.Aggregates)
	}
	b.wantText(r, "rows are under way")
}

// What extract reads meanwhile may close windows that were open.
func TestLaterWindows(t *testing.T) {
	b := newBed(t, 1)
	b.twoWindows()
	rows := []line{final(counts, "a", 0, 10, 4), final(counts, "b", 0, 10, 1), final(counts, "a", 10, 20, 1), final(counts, "b", 100, 110, 2)}
	b.insert("windows", rows...)
	b.options.Wait = time.Minute
	b.send(b.options.Topics.Photos.Name)
	done := make(chan *Report)
	go func() { done <- b.verify() }()
	select {
	case r := <-done:
		t.Fatalf("it did not wait: %s", told(r))
	case <-time.After(time.Second):
	}
	b.write([]sent{b.upload(0, 9, 105, "b").stamped(105, 105), b.upload(0, 10, 200, "").stamped(200, 200)})
	b.read(0, 11)
	b.commit(b.options.Transform, b.options.Topics.Photos.Name, 0, 1)
	r := <-done
	b.want(r, map[Kind]uint64{})
	if a := r.Aggregates[0]; a.Later != 1 || a.Closed != 3 || !r.OK() {
		t.Errorf("%+v", a)
	}
	b.want(b.verify(), map[Kind]uint64{})
	if r := b.verify(); r.Closed() != 4 || r.Partitions[0].TopicID == uuid.Nil {
		t.Errorf("%d closed", r.Closed())
	}
}
