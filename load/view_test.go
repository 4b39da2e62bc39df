package load

import "testing"

// A view that throws fails the insert of its source, which has taken the rows all
// the same: they are there once, and none of them is blamed.
func TestAViewThatThrowsDoublesNothing(t *testing.T) {
	conn := fresh(t)
	for _, statement := range []string{
		"SYSTEM STOP MERGES uploads",
		"CREATE TABLE seen (n UInt8) ENGINE = MergeTree ORDER BY n",
		"CREATE MATERIALIZED VIEW picky TO seen AS SELECT throwIf(src_offset = 2) AS n FROM uploads",
		"ALTER TABLE uploads ADD CONSTRAINT small CHECK upload_id != 'u-0-5'",
	} {
		if err := conn.Exec(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	l := loader(t, conn, 0)
	for o := range int64(4) {
		added(t, l, at(developedID, 0, o), duplicate(0, o))
	}
	flushed(t, l)
	for o := range int64(4) {
		added(t, l, at(developedID, 0, 4+o), duplicate(0, 4+o))
	}
	if err := l.Flush(t.Context()); err == nil { // The constraint speaks before the view does.
		t.Fatal("a row that the table refuses passed")
	}
	if offset, ok := l.EndWith(Partition{developedID, 0}); !ok || offset != 5 {
		t.Errorf("the refused record is %d %v, want 5", offset, ok)
	}
	if rows, fates := count(t, conn, "SELECT count() FROM uploads"), count(t, conn, "SELECT uniqExact(src_offset) FROM uploads"); rows != 5 || fates != 5 {
		t.Errorf("%d rows of %d fates, want 5 of 5", rows, fates)
	}
}
