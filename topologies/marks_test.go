package topologies

import (
	"testing"

	"github.com/tintype/tintype/exactly"
)

// An assignment after an abort has the marks of the last commit, whatever was about
// to be committed; any other has not.
func TestMarksTellAnAbortFromAnotherOwner(t *testing.T) {
	var m, other marks
	claims := []exactly.Claim{{Topic: "measures", Partition: 0, Offset: -1}, {Topic: "loop", Partition: 0, Offset: -1}}
	commit := func(m *marks, which ...int) {
		for _, i := range which {
			claims[i].Metadata = writeMetadata("watermark_ms", "5", "mark", m.next(claims[i].Topic, claims[i].Partition))
			claims[i].Offset++
		}
		m.commit()
	}
	expect := func(m *marks, same bool, why string) {
		t.Helper()
		if got := m.assign(claims); got != same {
			t.Errorf("%s: taken for the same: %v", why, got)
		}
	}
	expect(&m, false, "the first assignment")
	expect(&m, true, "an abort before the first commit")
	commit(&m, 0)
	expect(&m, true, "an abort after a commit")
	commit(&m, 1)
	m.next("measures", 0)
	expect(&m, true, "an abort of a commit that was about to be")
	commit(&m, 0, 1)
	expect(&other, false, "the first assignment of another process")
	commit(&other, 1)
	expect(&m, false, "another process committed meanwhile")
	expect(&m, true, "an abort after that")
	claims[0].Metadata = writeMetadata("watermark_ms", "6", "mark", m.next("measures", 0))
	expect(&m, false, "a commit of which this process never heard")
	claims = claims[:1]
	expect(&m, false, "fewer partitions")
}

func TestMetadataComesApart(t *testing.T) {
	got := readMetadata(writeMetadata("a", "1", "b", "x/2"))
	if len(got) != 2 || got["a"] != "1" || got["b"] != "x/2" {
		t.Errorf("%v", got)
	}
	for _, text := range []string{"", "other a=1", "a=1"} {
		if got := readMetadata(text); got["a"] != "" {
			t.Errorf("%q was read as %v", text, got)
		}
	}
}
