package load

import (
	"errors"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/tintype/tintype/event"
	"github.com/tintype/tintype/event/eventpb"
)

// Each table's first refused record is found, whatever else is refused, and what
// is before it is inserted.
func TestTheFirstRefusedRecordOfEachPartition(t *testing.T) {
	conn := fresh(t)
	if err := errors.Join(
		conn.Exec(t.Context(), "ALTER TABLE uploads ADD CONSTRAINT small CHECK width < 5000 OR width IS NULL"),
		conn.Exec(t.Context(), "ALTER TABLE renditions ADD CONSTRAINT some CHECK name != 'bad'"),
		conn.Exec(t.Context(), "ALTER TABLE dead_letters ADD CONSTRAINT terse CHECK detail = ''"),
	); err != nil {
		t.Fatal(err)
	}
	l := loader(t, conn, 0, 1, 2)
	add := func() {
		for p := range int32(3) {
			for o := range int64(20) {
				d := original(p, o)
				switch {
				case p == 0 && (o == 7 || o == 9):
					d.Facts.Width = 6000
				case p == 1 && o == 3:
					d.Renditions[1].Name = "bad"
				}
				if refusal := l.Developed(at(developedID, p, o), d); refusal != nil {
					t.Errorf("%d/%d was refused before anybody asked: %v", p, o, refusal)
				}
			}
		}
		_, letter := dead(0, 50)
		l.DeadLetter(at(deadID, 0, 0), letter)
	}
	wantEnd := func(partition int32, want int64) {
		t.Helper()
		if got, ok := l.EndWith(Partition{developedID, partition}); !ok && want >= 0 || ok && got != want {
			t.Errorf("partition %d ends with %d (%v), want %d", partition, got, ok, want)
		}
	}
	add()
	if err := l.Flush(t.Context()); err == nil || IsPermanent(err) || IsOverload(err) {
		t.Fatalf("a refused row ended the flush with %v", err)
	}
	wantEnd(1, 3)
	wantEnd(0, -1)
	if err := l.Assigned(t.Context(), held(0, 1, 2)); err != nil {
		t.Fatal(err)
	}
	// Partition 1 ends with its refused record now. The others go on.
	for o := range int64(4) {
		refusal := l.Developed(at(developedID, 1, o), original(1, o))
		if (refusal != nil) != (o == 3) {
			t.Fatalf("1/%d: %v", o, refusal)
		}
		if refusal != nil && (refusal.Reason != event.ReasonRefusedBySink || !strings.HasPrefix(refusal.Detail, "Constraint `some`")) {
			t.Errorf("the refusal is %v", refusal)
		}
	}
	flushed(t, l)
	l.Committed()
	wantEnd(1, -1)
	for o := range int64(10) {
		d := original(0, o)
		if o == 7 || o == 9 {
			d.Facts.Width = 6000
		}
		added(t, l, at(developedID, 0, o), d)
	}
	_, letter := dead(0, 50)
	l.DeadLetter(at(deadID, 0, 0), letter)
	if err := l.Flush(t.Context()); err == nil {
		t.Fatal("a refused row passed")
	}
	wantEnd(0, 7)
	for query, want := range map[string]uint64{
		"SELECT count() FROM renditions WHERE src_partition = 0": 2 * 20, // All of them, in the first flush.
		"SELECT count() FROM renditions WHERE src_partition = 1": 2 * 3,
		"SELECT count() FROM uploads WHERE src_partition = 0":    7,
		"SELECT count() FROM uploads WHERE src_partition = 1":    3,
		"SELECT count() FROM dead_letters WHERE detail = ''":     1,
	} {
		if n := count(t, conn, query); n != want {
			t.Errorf("%s: %d, want %d", query, n, want)
		}
	}
}

// A dead letter whose smallest row is refused ends the loader.
func TestTheLastRefusal(t *testing.T) {
	conn := fresh(t)
	if err := conn.Exec(t.Context(), "ALTER TABLE dead_letters ADD CONSTRAINT none CHECK upload_id = 'other'"); err != nil {
		t.Fatal(err)
	}
	l := loader(t, conn, 0)
	_, letter := dead(1, 1)
	l.DeadLetter(at(deadID, 0, 9), letter)
	err := l.Flush(t.Context())
	var last *GivenUpError
	if !errors.As(err, &last) || !IsPermanent(err) || last.Table != "dead_letters" || last.Offset != 9 {
		t.Fatalf("%v, want the table's last refusal", err)
	}
}

// A table takes the row of a fate after all: then the fate has no dead letter.
func TestATakenFateIsNotRefused(t *testing.T) {
	conn := fresh(t)
	l := loader(t, conn, 0)
	l.refused[Partition{developedID, 0}] = &refused{offset: 2, reason: "it was"}
	for o := range int64(4) {
		l.uploads.rows = append(l.uploads.rows, uploadRowOf(at(developedID, 0, o), duplicate(0, o)))
	}
	flushed(t, l)
	if err := l.Assigned(t.Context(), held(0)); err != nil {
		t.Fatal(err)
	}
	if refusal := l.Developed(at(developedID, 0, 2), duplicate(0, 2)); refusal != nil || l.Pending() != 0 {
		t.Errorf("refused: %v, %d pending", refusal, l.Pending())
	}
	if _, ok := l.EndWith(Partition{developedID, 0}); ok {
		t.Error("transactions still end with a record that was taken")
	}
}

// Whatever is refused, in whatever table, and whenever a flush is lost or read
// again: each fate is one row, and one dead letter if it was refused.
func TestAnyRefusalsKeepEachFateOnce(t *testing.T) {
	conn := fresh(t)
	if err := errors.Join(
		conn.Exec(t.Context(), "ALTER TABLE uploads ADD CONSTRAINT small CHECK width < 5000 OR width IS NULL"),
		conn.Exec(t.Context(), "ALTER TABLE renditions ADD CONSTRAINT some CHECK name != 'bad'"),
		conn.Exec(t.Context(), "SYSTEM STOP MERGES uploads"), conn.Exec(t.Context(), "SYSTEM STOP MERGES dead_letters"), // They would hide what is there twice.
		conn.Exec(t.Context(), "ALTER TABLE uploads MODIFY SETTING parts_to_throw_insert = 100000, parts_to_delay_insert = 100000"),
		conn.Exec(t.Context(), "ALTER TABLE dead_letters MODIFY SETTING parts_to_throw_insert = 100000, parts_to_delay_insert = 100000"),
	); err != nil {
		t.Fatal(err)
	}
	for seed := range uint64(8) {
		random := rand.New(rand.NewPCG(seed, 0))
		n := 1 + random.IntN(10)
		how, lose := make([]string, n), make([]bool, 3*n)
		for i := range how {
			how[i] = []string{"", "", "wide", "bad"}[random.IntN(4)]
		}
		for i := range lose {
			lose[i] = random.IntN(3) == 0
		}
		source, letters := uuid.New(), uuid.New()
		parts := []Partition{{source, 0}, {letters, 0}}
		l := NewLoader(conn, Config{})
		var log []*eventpb.DeadLetter // What the topic of dead letters holds.
		read, readLetters := int64(0), int64(0)
		for turn := 0; read < int64(n) || readLetters < int64(len(log)); turn++ {
			if turn > 10*n {
				t.Fatalf("seed %d: no end: %d of %d read, refused: %v", seed, read, n, l.refused)
			}
			if err := l.Assigned(t.Context(), parts); err != nil {
				t.Fatal(err)
			}
			end := int64(n)
			if last, ok := l.EndWith(parts[0]); ok {
				end = last + 1
			}
			var emitted []*eventpb.DeadLetter
			for o := read; o < end; o++ {
				d := original(0, o)
				d.Facts.Sha256 = append(source[:], d.Facts.Sha256[:16]...)
				switch how[o] {
				case "wide":
					d.Facts.Width = 6000
				case "bad":
					d.Renditions[0].Name = "bad"
				}
				if refusal := l.Developed(at(source, 0, o), d); refusal != nil {
					emitted = append(emitted, &eventpb.DeadLetter{Stamp: d.Stamp, Sender: d.Sender, Stage: "load", Reason: string(refusal.Reason), Detail: refusal.Detail, Outcome: &d.Outcome})
				}
			}
			for o := readLetters; o < int64(len(log)); o++ {
				l.DeadLetter(at(letters, 0, o), log[o])
			}
			if l.Flush(t.Context()) != nil {
				continue
			}
			if turn < len(lose) && lose[turn] {
				if turn%2 == 0 { // The process is killed as well; its lease is not what is tested here.
					if err := l.Close(t.Context()); err != nil {
						t.Fatal(err)
					}
					l = NewLoader(conn, Config{})
				}
				continue
			}
			read, readLetters = end, int64(len(log))
			log = append(log, emitted...)
			l.Committed()
		}
		var want uint64
		for _, h := range how {
			if h != "" {
				want++
			}
		}
		for query, n := range map[string]uint64{
			"SELECT count() FROM uploads WHERE load_topic_id IN (?, ?)":                                     uint64(n),
			"SELECT uniqExact(src_offset) FROM uploads WHERE load_topic_id IN (?, ?)":                       uint64(n),
			"SELECT count() FROM uploads WHERE load_topic_id IN (?, ?) AND width IS NULL":                   want,
			"SELECT count() FROM dead_letters WHERE load_topic_id IN (?, ?) AND reason = 'refused_by_sink'": want,
		} {
			if got := count(t, conn, query, source, letters); got != n {
				t.Errorf("seed %d: %s: %d, want %d; the records were %q", seed, query, got, n, how)
			}
		}
	}
}
