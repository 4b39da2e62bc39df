package verify

import (
	"fmt"
	"math/rand/v2"
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

// play writes a random log and what the pipeline would make of it.
func (b *bed) play(seed uint64, n int, all ...rules) {
	b.t.Helper()
	const partitions = 3
	rng := rand.New(rand.NewPCG(seed, seed))
	records := random(rng, b.id, partitions, n)
	watermark := stamp(records, partitions)
	b.write(records)
	ends := map[int32]int64{}
	for _, u := range records {
		ends[u.part] = u.off + 1
	}
	for part, end := range ends {
		b.read(part, end)
	}
	for _, r := range all {
		b.writeWindows(r.run(records, watermark, rng), rng)
	}
}

// What a pipeline makes that follows the rules agrees, whatever the log.
func TestAgrees(t *testing.T) {
	for seed := range uint64(4) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			b := newBed(t, 3)
			b.play(seed, 600, allRules...)
			r := b.verify()
			b.want(r, map[Kind]uint64{})
			if !r.OK() || len(r.Aggregates) != len(allRules) {
				t.Errorf("drained %v (%s), %d aggregates\n%s", r.Drained, r.Behind, len(r.Aggregates), told(r))
			}
			for _, a := range r.Aggregates {
				t.Logf("%+v", a)
				if a.Closed < 5 || a.Late == 0 || a.Agreed != a.Closed || len(a.Measures) != len(measures) {
					t.Errorf("%+v", a)
				}
			}
		})
	}
}
