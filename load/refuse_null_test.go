package load

import (
	"errors"
	"strings"
	"testing"
)

// A constraint that does not pass NULL refuses the smallest row as well. The loader
// says why, and goes on once the constraint passes it.
func TestAConstraintHasToPassNull(t *testing.T) {
	conn := fresh(t)
	if err := conn.Exec(t.Context(), "ALTER TABLE uploads ADD CONSTRAINT small CHECK width < 5000"); err != nil {
		t.Fatal(err)
	}
	l := loader(t, conn, 0)
	d := original(0, 0)
	_, letter := dead(0, 0)
	letter.Stage, letter.Outcome = "load", &d.Outcome
	l.DeadLetter(at(deadID, 0, 0), letter)
	err := l.Flush(t.Context())
	var last *GivenUpError
	if !errors.As(err, &last) || last.Table != "uploads" || !strings.Contains(err.Error(), "which is NULL where it can be") || !strings.Contains(err.Error(), "`small`") {
		t.Fatalf("%v, want the last refusal, for NULL", err)
	}
	if err := errors.Join(
		conn.Exec(t.Context(), "ALTER TABLE uploads DROP CONSTRAINT small"),
		conn.Exec(t.Context(), "ALTER TABLE uploads ADD CONSTRAINT small CHECK width < 5000 OR width IS NULL"),
		l.Assigned(t.Context(), held(0)),
	); err != nil {
		t.Fatal(err)
	}
	l.DeadLetter(at(deadID, 0, 0), letter)
	flushed(t, l)
	for query, want := range map[string]uint64{
		"SELECT count() FROM uploads WHERE outcome = 'original' AND width IS NULL": 1,
		"SELECT count() FROM dead_letters":                                         1,
	} {
		if n := count(t, conn, query); n != want {
			t.Errorf("%s: %d, want %d", query, n, want)
		}
	}
}
