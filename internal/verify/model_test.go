package verify

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sort"
	"strconv"

	"github.com/google/uuid"
)

// The model is a pipeline of its own: it takes uploads one by one, as they
// interleave, and keeps open windows by the rules as they are written down. It
// shares nothing with the statements.

// sent is one record of the topic uploads.
type sent struct {
	topic     uuid.UUID
	part      int32
	off       int64
	tick      bool
	outcome   string
	claimed   *int64
	appended  int64
	t, st     int64 // As extract stamps them.
	uploader  string
	format    *string
	camera    *string
	lat, lon  *float64
	bytes     *uint64
	bytesOut  *uint64
	width     *uint64
	height    *uint64
	extractMS *float32
	renderMS  *float32
}

// rules are the inequalities of one aggregate, and by how much a planted mistake
// shifts them.
type rules struct {
	kind                     string
	size, advance, gap, late int64
	dimension                string
	// All shifts are 0 where nothing is wrong.
	shiftAccepted, shiftClosed, shiftGap int64
	// label tells aggregates apart.
	label string
}

func (r rules) name() string {
	return fmt.Sprintf("%s-%d-%d-%s%s", r.kind, max(r.size, r.gap), r.advance, r.dimension, r.label)
}

// win is an open or closed window.
type win struct {
	key        string
	start, end int64
	uploads    []sent
	shown      int // The revision that was shown, with these bounds.
}

type lateOne struct {
	sent
	key   string
	start int64
}

// goneRow is a session that was shown with bounds that it has no more.
type goneRow struct {
	win
	revision int
}

// modeled is what comes of one aggregate.
type modeled struct {
	rules  rules
	open   []*win
	late   []lateOne
	stale  []goneRow
	finals []*win
}

func (m rules) keyOf(u sent) (string, bool) {
	value := ""
	switch m.dimension {
	case "all":
		return "", true
	case "uploader":
		value = u.uploader
	case "format":
		if u.format != nil {
			value = *u.format
		}
	case "camera_model":
		if u.camera != nil {
			value = *u.camera
		}
	case "outcome":
		value = u.outcome
	case "cell":
		if u.lat != nil && u.lon != nil {
			value = strconv.Itoa(int(math.Floor(*u.lat))) + ":" + strconv.Itoa(int(math.Floor(*u.lon)))
		}
	}
	if len(value) > 256 {
		sum := sha256.Sum256([]byte(value))
		value = "sha256:" + hex.EncodeToString(sum[:])
	}
	return value, value != ""
}

// run takes in the records in their order, and closes at the end what a watermark
// closes.
func (r rules) run(records []sent, watermark int64, rng *rand.Rand) *modeled {
	m := &modeled{rules: r}
	for _, u := range records {
		key, ok := r.keyOf(u)
		if u.tick || u.outcome == "lost" || !ok {
			continue
		}
		if r.kind == "session" {
			m.session(u, key, rng)
			continue
		}
		for start := int64(0); start <= u.t; start += r.advance {
			if u.t >= start+r.size {
				continue
			}
			if accepted := start+r.size > u.st-r.late+r.shiftAccepted; !accepted {
				m.late = append(m.late, lateOne{u, key, start})
				continue
			}
			i := slices.IndexFunc(m.open, func(w *win) bool { return w.key == key && w.start == start })
			if i < 0 {
				i = len(m.open)
				m.open = append(m.open, &win{key: key, start: start, end: start + r.size})
			}
			m.open[i].uploads = append(m.open[i].uploads, u)
		}
	}
	m.open = slices.DeleteFunc(m.open, func(w *win) bool {
		closed := w.end <= watermark-r.late+r.shiftClosed
		if r.kind == "session" {
			closed = w.end < watermark-r.late-2*r.gap+r.shiftClosed
		}
		if closed {
			m.finals = append(m.finals, w)
		}
		return closed
	})
	return m
}

func (m *modeled) session(u sent, key string, rng *rand.Rand) {
	if accepted := u.t >= u.st-m.rules.late-m.rules.gap+m.rules.shiftAccepted; !accepted {
		m.late = append(m.late, lateOne{u, key, u.t})
		return
	}
	gap := m.rules.gap + m.rules.shiftGap
	merged := &win{key: key, start: u.t, end: u.t, uploads: []sent{u}}
	var rest, met []*win
	for _, w := range m.open {
		if w.key == key && w.end >= u.t-gap && w.start <= u.t+gap {
			met = append(met, w)
			merged.start, merged.end = min(merged.start, w.start), max(merged.end, w.end)
			merged.uploads = append(merged.uploads, w.uploads...)
		} else {
			rest = append(rest, w)
		}
	}
	for _, w := range met {
		if w.start == merged.start && w.end == merged.end {
			merged.shown = w.shown
		} else if w.shown > 0 {
			m.stale = append(m.stale, goneRow{*w, w.shown})
		}
	}
	if rng.IntN(4) == 0 {
		merged.shown = len(merged.uploads)
	}
	m.open = append(rest, merged)
}

// stamp gives records their times, in the order of each partition, and returns the
// watermark.
func stamp(records []sent, partitions int) (watermark int64) {
	type source struct {
		topic uuid.UUID
		part  int32
	}
	greatest := map[source]int64{}
	for i := range records {
		u := &records[i]
		s := source{u.topic, u.part}
		now, known := greatest[s]
		switch {
		case u.claimed != nil:
			if !known || *u.claimed > now {
				now = *u.claimed
			}
			u.t, u.st, greatest[s] = *u.claimed, now, now
		case known:
			u.t, u.st = now, now
		default:
			u.t, u.st = u.appended, u.appended
		}
	}
	if len(greatest) < partitions {
		return math.MinInt64 / 2
	}
	watermark = math.MaxInt64
	for _, t := range greatest {
		watermark = min(watermark, t)
	}
	return watermark
}

// pick returns one of the values, or nil.
func pick[T any](rng *rand.Rand, values ...T) *T {
	if i := rng.IntN(len(values) + 1); i < len(values) {
		return &values[i]
	}
	return nil
}

var longName = string(slices.Repeat([]byte("x"), 300))

// random makes records whose times lie on a grid of 10 ms and go forth and back.
func random(rng *rand.Rand, id uuid.UUID, partitions, n int) []sent {
	next := make([]int64, partitions)
	var records []sent
	for i := range n {
		part := rng.IntN(partitions)
		u := sent{topic: id, part: int32(part), off: next[part], appended: int64(i) * 10}
		next[part] += 1 + rng.Int64N(2)
		t := max(0, int64(i)*3/10*10+10*rng.Int64N(20)-10*rng.Int64N(30))
		u.claimed = &t
		switch rng.IntN(12) {
		case 0:
			u.tick = true
		case 1:
			u.claimed = nil
		}
		u.outcome = []string{"original", "duplicate", "repeat", "dead", "lost"}[min(rng.IntN(9), 4)]
		if rng.IntN(8) > 0 && u.outcome == "lost" {
			u.outcome = "original"
		}
		if u.outcome == "lost" {
			u.claimed = nil
		}
		u.uploader = []string{"", "ann", "bob", "cy'\\n", longName}[rng.IntN(5)]
		u.format, u.camera = pick(rng, "jpeg", "png", ""), pick(rng, "A", "B")
		u.lat, u.lon = pick(rng, -0.5, 0, 12.9), pick(rng, 179.5, -180)
		u.bytes, u.bytesOut = pick[uint64](rng, 1, 1000, 5_000_000_000), pick[uint64](rng, 10, 20)
		if rng.IntN(3) > 0 {
			u.width, u.height = pick[uint64](rng, 4000, 100_000), pick[uint64](rng, 3000, 70_000)
		}
		u.extractMS, u.renderMS = pick(rng, rng.Float32()*100, 0), pick(rng, rng.Float32()*1000, 0.0001)
		records = append(records, u)
	}
	return records
}

func text[T any](value *T) string {
	switch v := any(value).(type) {
	case *string:
		if v != nil {
			return quote(*v)
		}
	default:
		if value != nil {
			return fmt.Sprint(*value)
		}
	}
	return "NULL"
}

// write writes the records as the loader does.
func (b *bed) write(records []sent) {
	b.t.Helper()
	var uploads, ticks []line
	for _, u := range records {
		l := line{"src_topic_id": "'" + u.topic.String() + "'", "src_partition": strconv.Itoa(int(u.part)), "src_offset": strconv.FormatInt(u.off, 10)}
		if u.tick {
			ticks = append(ticks, l.with("event_time="+at(u.t)))
			continue
		}
		uploads = append(uploads, u.line(l))
	}
	b.insert("uploads", uploads...)
	if len(ticks) > 0 {
		b.insert("ticks", ticks...)
	}
}

func (u sent) line(l line) line {
	l = l.with("upload_id='u'", "outcome='"+u.outcome+"'", "uploader="+quote(u.uploader), "format="+text(u.format), "camera_model="+text(u.camera),
		"latitude="+text(u.lat), "longitude="+text(u.lon), "bytes="+text(u.bytes), "bytes_out="+text(u.bytesOut), "width="+text(u.width), "height="+text(u.height),
		"extract_ms="+text(u.extractMS), "transform_ms="+text(u.renderMS), "uploaded_at=NULL", "event_time=NULL", "stream_time=NULL", "append_time=NULL")
	if u.outcome == "lost" {
		return l
	}
	if u.claimed != nil {
		l["uploaded_at"] = at(*u.claimed)
	}
	return l.with("event_time="+at(u.t), "stream_time="+at(u.st), "append_time="+at(u.appended))
}

// writeWindows writes what comes of an aggregate as the loader does.
func (b *bed) writeWindows(m *modeled, rng *rand.Rand) {
	b.t.Helper()
	var windows, late []line
	for _, w := range m.finals {
		if rng.IntN(3) == 0 {
			windows = append(windows, m.row(w, rng).with("revision=1", "count=1"))
		}
		windows = append(windows, m.row(w, rng).with("final=true", fmt.Sprintf("revision=%d", len(w.uploads)+1)))
	}
	for _, w := range m.open {
		if w.shown > 0 || m.rules.kind != "session" && rng.IntN(2) == 0 {
			windows = append(windows, m.row(w, rng))
		}
	}
	for _, s := range m.stale {
		windows = append(windows, m.row(&s.win, rng).with(fmt.Sprintf("revision=%d", s.revision)),
			m.row(&s.win, rng).with(fmt.Sprintf("revision=%d", s.revision+1), "retracted=true", "count=0"))
	}
	for _, l := range m.late {
		late = append(late, l.line(m.rules))
	}
	b.insert("windows", windows...)
	if len(late) > 0 {
		b.insert("late_uploads", late...)
	}
}

func (l lateOne) line(r rules) line {
	return line{
		"aggregate": quote(r.name()), "dimension": quote(r.dimension), "key": quote(l.key), "window_start": at(l.start), "cause": "'late'",
		"event_time": at(l.t), "stream_time": at(l.st),
		"src_topic_id": "'" + l.topic.String() + "'", "src_partition": strconv.Itoa(int(l.part)), "src_offset": strconv.FormatInt(l.off, 10),
	}
}

// row is a window as it is, with all measures.
func (m *modeled) row(w *win, rng *rand.Rand) line {
	r := m.rules
	size, advance, gap := r.size, r.advance, r.gap
	l := line{
		"aggregate": quote(r.name()), "kind": quote(r.kind), "size_ms": fmt.Sprint(size), "advance_ms": fmt.Sprint(advance), "gap_ms": fmt.Sprint(gap), "grace_ms": fmt.Sprint(r.late),
		"dimension": quote(r.dimension), "key": quote(w.key), "window_start": at(w.start), "window_end": at(w.end),
		"revision": fmt.Sprint(len(w.uploads)), "final": "false", "retracted": "false", "count": fmt.Sprint(len(w.uploads)), "emitted_at": at(0),
	}
	var in, out, pixels, least, most *uint64
	add := func(to **uint64, n uint64, f func(a, b uint64) uint64) {
		if *to == nil {
			*to = &n
		} else {
			n = f(**to, n)
			*to = &n
		}
	}
	sum := func(a, b uint64) uint64 { return a + b }
	names := map[string]bool{}
	var took []float64
	for _, u := range w.uploads {
		if u.bytes != nil {
			add(&in, *u.bytes, sum)
			add(&least, *u.bytes, func(a, b uint64) uint64 { return min(a, b) })
			add(&most, *u.bytes, func(a, b uint64) uint64 { return max(a, b) })
		}
		if u.bytesOut != nil {
			add(&out, *u.bytesOut, sum)
		}
		if u.width != nil && u.height != nil {
			add(&pixels, *u.width**u.height, sum)
		}
		if u.uploader != "" {
			names[u.uploader] = true
		}
		if u.extractMS != nil || u.renderMS != nil {
			ms := 0.0
			if u.extractMS != nil {
				ms += float64(*u.extractMS)
			}
			if u.renderMS != nil {
				ms += float64(*u.renderMS)
			}
			took = append(took, ms)
		}
	}
	l["bytes_in"], l["bytes_out"], l["pixels"], l["bytes_in_min"], l["bytes_in_max"], l["uploaders"] = text(in), text(out), text(pixels), text(least), text(most), "NULL"
	if n := float64(len(names)); n > 0 {
		if n > 128 { // As far off as it may be, or less.
			n = math.Round(n * (1 + 0.09*(2*rng.Float64()-1)))
		}
		l["uploaders"] = fmt.Sprint(uint64(n))
	}
	sort.Float64s(took)
	for name, q := range map[string]float64{"latency_ms_p50": 0.5, "latency_ms_p95": 0.95, "latency_ms_p99": 0.99} {
		l[name] = "NULL"
		if len(took) > 0 {
			rank := q * float64(len(took)-1)
			value := max(took[[]int{int(math.Floor(rank)), int(math.Ceil(rank))}[rng.IntN(2)]], 1e-3)
			l[name] = fmt.Sprintf("%g", value*(1+0.0099*(2*rng.Float64()-1)))
		}
	}
	return l
}
