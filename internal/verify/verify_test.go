package verify

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

var allRules = []rules{
	{kind: "tumbling", size: 100, advance: 100, late: 50, dimension: "all"},
	{kind: "tumbling", size: 30, advance: 30, late: 0, dimension: "uploader"},
	{kind: "tumbling", size: 100, advance: 100, late: 50, dimension: "cell"},
	{kind: "hopping", size: 100, advance: 50, late: 20, dimension: "outcome"},
	{kind: "hopping", size: 100, advance: 30, late: 30, dimension: "camera_model"},
	{kind: "session", gap: 30, late: 20, dimension: "uploader"},
	{kind: "session", gap: 20, late: 0, dimension: "format"},
	{kind: "session", gap: 10, late: 50, dimension: "all"},
}

// log writes records as extract stamps them and as the loader writes them, says that
// extract has read them, and returns the watermark.
func (b *bed) log(records []sent, partitions int) int64 {
	b.t.Helper()
	watermark := stamp(records, partitions)
	b.write(records)
	ends := map[int32]int64{}
	for _, u := range records {
		ends[u.part] = max(ends[u.part], u.off+1)
	}
	for part, end := range ends {
		b.read(part, end)
	}
	return watermark
}

// play writes a random log and what the pipeline would make of it.
func (b *bed) play(seed uint64, n int, all ...rules) {
	b.t.Helper()
	rng := rand.New(rand.NewPCG(seed, seed))
	records := random(rng, b.id, 3, n)
	watermark := b.log(records, 3)
	for _, r := range all {
		b.writeWindows(r.run(records, watermark, rng), rng)
	}
}

// What a pipeline makes that follows the rules agrees, whatever the log.
func TestAgrees(t *testing.T) {
	for seed := range uint64(3) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			b := newBed(t, 3)
			b.play(seed, 600, allRules...)
			r := b.verify()
			b.want(r, map[Kind]uint64{})
			if !r.OK() || len(r.Aggregates) != len(allRules) {
				t.Errorf("drained %v (%s), %d aggregates\n%s", r.Drained, r.Behind, len(r.Aggregates), told(r))
			}
			for _, a := range r.Aggregates {
				if a.Closed < 5 || a.Open == 0 || a.Late == 0 || a.Agreed != a.Closed || len(a.Measures) != len(measures) {
					t.Errorf("%+v", a)
				}
			}
		})
	}
}

// A pipeline that is off by one anywhere is found out.
func TestOffByOne(t *testing.T) {
	hops := rules{kind: "hopping", size: 20, advance: 10, late: 20, dimension: "uploader"}
	sessions := rules{kind: "session", gap: 10, late: 20, dimension: "uploader"}
	planted := func(r rules, label string, change func(*rules)) rules {
		r.label = "-" + label
		change(&r)
		return r
	}
	mistakes := map[string]Kind{"lenient": LateMissing, "strict": LateUnexpected, "slow": WindowMissing, "hasty": WindowUnexpected, "apart": MeasureDiffers}
	all := []rules{
		hops, planted(hops, "lenient", func(r *rules) { r.shiftAccepted = -1 }), planted(hops, "strict", func(r *rules) { r.shiftAccepted = 10 }),
		planted(hops, "slow", func(r *rules) { r.shiftClosed = -1 }), planted(hops, "hasty", func(r *rules) { r.shiftClosed = 10 }),
		sessions, planted(sessions, "lenient", func(r *rules) { r.shiftAccepted = -10 }), planted(sessions, "strict", func(r *rules) { r.shiftAccepted = 1 }),
		planted(sessions, "slow", func(r *rules) { r.shiftClosed = -10 }), planted(sessions, "hasty", func(r *rules) { r.shiftClosed = 1 }),
		planted(sessions, "apart", func(r *rules) { r.shiftGap = -1 }),
	}
	noticed := map[string]int{}
	const seeds = 3
	for seed := range uint64(seeds) {
		b := newBed(t, 3)
		b.play(100+seed, 900, all...)
		r := b.verify()
		for _, a := range r.Aggregates {
			for label, kind := range mistakes {
				if !strings.HasSuffix(a.Name, "-"+label) || a.Differences == 0 {
					continue
				}
				noticed[a.Name]++
				if label != "apart" && !strings.Contains(told(r), string(kind)+" in "+a.Name) {
					t.Errorf("%s has no %s", a.Name, kind)
				}
			}
			if noticed[a.Name] == 0 && strings.HasSuffix(a.Name, "uploader") && a.Differences > 0 {
				t.Errorf("%s follows the rules: %d differences", a.Name, a.Differences)
			}
		}
	}
	for _, r := range all {
		if r.label != "" {
			t.Logf("%s is noticed in %d of %d runs", r.name(), noticed[r.name()], seeds)
		}
		if r.label != "" && noticed[r.name()] == 0 {
			t.Errorf("%s is not noticed", r.name())
		}
	}
}

// upload is one upload of a hand-made log, at a time of one partition.
func (b *bed) upload(part int32, off, t int64, uploader string) sent {
	return sent{topic: b.id, part: part, off: off, claimed: &t, appended: t, outcome: "original", uploader: uploader}
}

// final is the final row of a window that only counts.
func final(r rules, key string, start, end int64, count int) line {
	return counted(r, key, start, end, count).with("final=true", fmt.Sprintf("revision=%d", count+1))
}

func counted(r rules, key string, start, end int64, count int) line {
	m := modeled{rules: r}
	return m.row(&win{key: key, start: start, end: end, uploads: make([]sent, count)}, rand.New(rand.NewPCG(1, 1)))
}

func late(r rules, u sent, key string, start int64) line {
	return lateOne{u, key, start}.line(r)
}

// Each inequality holds at its very bound, and does not one millisecond further.
func TestEqualities(t *testing.T) {
	tumbles := rules{kind: "tumbling", size: 10, advance: 10, late: 5, dimension: "uploader"}
	gaps := rules{kind: "session", gap: 10, late: 5, dimension: "uploader"}
	b := newBed(t, 1)
	records := []sent{
		b.upload(0, 0, 3, "a"),
		b.upload(0, 1, 14, "x"),
		b.upload(0, 2, 9, "a"), // Stream time 14: the window [0, 10) takes it.
		b.upload(0, 3, 15, "x"),
		b.upload(0, 4, 8, "a"), // Stream time 15: 10 > 15 − 5 does not hold.
		b.upload(0, 5, 0, "s"), // A session takes it: 0 ≥ 15 − 5 − 10.
		b.upload(0, 6, 16, "x"),
		b.upload(0, 7, 0, "s"),   // 0 ≥ 16 − 5 − 10 does not hold.
		b.upload(0, 8, 10, "s"),  // Exactly a gap after the session at 0.
		b.upload(0, 9, 21, "s"),  // More than a gap after it.
		b.upload(0, 10, 36, "x"), // Closes sessions that end before 36 − 5 − 20 = 11, and windows that end at 31 or before.
	}
	b.log(records, 1)
	b.insert("windows",
		final(tumbles, "a", 0, 10, 2), final(tumbles, "x", 10, 20, 3), final(tumbles, "s", 10, 20, 1), final(tumbles, "s", 20, 30, 1),
		final(gaps, "s", 0, 10, 2), final(gaps, "a", 3, 9, 3), counted(gaps, "x", 14, 16, 3), counted(gaps, "s", 21, 21, 1))
	b.insert("late_uploads", late(tumbles, records[4], "a", 0), late(tumbles, records[5], "s", 0), late(tumbles, records[7], "s", 0), late(gaps, records[7], "s", 0))
	r := b.verify()
	b.want(r, map[Kind]uint64{})
	for _, a := range r.Aggregates {
		if want := map[string]uint64{tumbles.name(): 4, gaps.name(): 2}[a.Name]; a.Closed != want {
			t.Errorf("%s: %d windows are closed, want %d", a.Name, a.Closed, want)
		}
	}
	b.insert("uploads", b.upload(0, 11, 0, "x").stamped(0, 36).line(line{"src_topic_id": "'" + b.id.String() + "'", "src_partition": "0", "src_offset": "11"}))
	b.read(0, 12) // Too late for everything, and for nothing that is new.
	b.want(b.verify(), map[Kind]uint64{LateMissing: 2})
}

func (u sent) stamped(t, st int64) sent {
	u.t, u.st = t, st
	return u
}

// A watermark that has come exactly to the deadline closes; a millisecond less does
// not.
func TestDeadlines(t *testing.T) {
	tumbles := rules{kind: "tumbling", size: 10, advance: 10, late: 5, dimension: "all", label: "-final"}
	gaps := rules{kind: "session", gap: 10, late: 5, dimension: "all", label: "-final"}
	openTumbles, openGaps := tumbles, gaps
	openTumbles.label, openGaps.label = "-open", "-open"
	for watermark, want := range map[int64]map[Kind]uint64{
		14: {WindowUnexpected: 2}, 15: {WindowUnexpected: 1, WindowMissing: 1}, 28: {WindowUnexpected: 1, WindowMissing: 1}, 29: {WindowMissing: 2},
	} {
		b := newBed(t, 2)
		records := []sent{b.upload(0, 0, 3, ""), b.upload(1, 0, watermark, ""), b.upload(0, 1, watermark+1000, "")}
		records[1].tick, records[2].tick = true, true
		b.log(records, 2)
		b.insert("windows", final(tumbles, "", 0, 10, 1), final(gaps, "", 3, 3, 1), counted(openTumbles, "", 0, 10, 1), counted(openGaps, "", 3, 3, 1))
		b.want(b.verify(), want)
	}
}
