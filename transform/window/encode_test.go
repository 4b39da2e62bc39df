package window

import (
	"bytes"
	"fmt"
	"testing"

	"pgregory.net/rapid"
)

// testSet has a kind of each, with every measure.
func testSet(t failer) *Set {
	t.Helper()
	var list []Aggregate
	for _, text := range []string{"tumbling:10:5", "hopping:20:6:5", "session:10:5"} {
		spec, err := ParseSpec(text)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, Aggregate{Spec: spec, Dimension: "user", Measures: AllMeasures()})
	}
	set, err := NewSet(list)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// drawKey draws a key that events, early results and closes have gone over.
func drawKey(t *rapid.T, set *Set) *Key {
	k, st := new(Key), int64(-30)
	for range rapid.IntRange(0, 25).Draw(t, "steps") {
		st += int64(rapid.IntRange(0, 8).Draw(t, "on"))
		switch rapid.IntRange(0, 9).Draw(t, "do") {
		case 0:
			k.Show()
			k.ShownAtMS = int64(rapid.IntRange(0, 1_000_000).Draw(t, "shown at"))
		case 1:
			k.Close(st - 20)
		default:
			e := drawEvent(t, st)
			for _, a := range set.All() {
				k.Add(a, &e, st-20, 100)
			}
		}
	}
	return k
}

func drawEvent(t *rapid.T, st int64) Event {
	return Event{TimeMS: st - int64(rapid.IntRange(0, 40).Draw(t, "back")), StreamTimeMS: st, Value: drawValue(t)}
}

func decode(t failer, data []byte, set *Set) *Key {
	t.Helper()
	k, err := DecodeKey(data, set)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// resultLines are lines of results, with what was measured byte by byte.
func resultLines(list []Result) (lines []string) {
	for _, r := range list {
		lines = append(lines, output{key: "k", Result: r}.full())
	}
	return lines
}

// A key that was written and read is the same, and goes on as the one in memory does.
func TestAKeyReadsItself(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		set := testSet(t)
		k := drawKey(t, set)
		data := k.Encode()
		read := decode(t, data, set)
		if data == nil {
			k.ShownAtMS = 0 // A key without windows is not written.
		}
		if again := read.Encode(); !bytes.Equal(data, again) {
			t.Fatalf("%x is written again as %x", data, again)
		}
		check := func(when string) {
			t.Helper()
			d1, ok1 := k.Deadline()
			d2, ok2 := read.Deadline()
			if d1 != d2 || ok1 != ok2 || k.Dirty() != read.Dirty() || k.Len() != read.Len() || k.ShownAtMS != read.ShownAtMS {
				t.Fatalf("%s: deadline %d, length %d, shown at %d; read: %d, %d, %d", when, d1, k.Len(), k.ShownAtMS, d2, read.Len(), read.ShownAtMS)
			}
			if one, other := fmt.Sprint(resultLines(k.Open())), fmt.Sprint(resultLines(read.Open())); one != other {
				t.Fatalf("%s\n%s\nread\n%s", when, one, other)
			}
		}
		check("read")
		st := int64(rapid.IntRange(0, 200).Draw(t, "later"))
		for range rapid.IntRange(0, 5).Draw(t, "events") {
			e := drawEvent(t, st)
			for _, a := range set.All() {
				if one, other := fmt.Sprint(k.Add(a, &e, Unknown, 100)), fmt.Sprint(read.Add(a, &e, Unknown, 100)); one != other {
					t.Fatalf("late %s, read %s", one, other)
				}
			}
		}
		check("after events")
		if one, other := fmt.Sprint(resultLines(k.Show())), fmt.Sprint(resultLines(read.Show())); one != other {
			t.Fatalf("shows\n%s\nread\n%s", one, other)
		}
		if one, other := fmt.Sprint(resultLines(k.Close(st))), fmt.Sprint(resultLines(read.Close(st))); one != other {
			t.Fatalf("closes\n%s\nread\n%s", one, other)
		}
		check("closed")
	})
}

// What a key held before does not show in what is written of it.
func TestAKeyIsWrittenTheSameWhateverItHeldBefore(t *testing.T) {
	set := testSet(t)
	add := func(k *Key, at int64, aggregates ...*Aggregate) {
		for _, a := range aggregates {
			k.Add(a, &Event{TimeMS: at, StreamTimeMS: at}, Unknown, 10)
		}
	}
	first, last := set.All()[0], set.All()[2]
	fresh, old := new(Key), new(Key)
	add(fresh, 100, first, last)
	// The windows of the first one have closed, the last one still has some.
	add(old, 15, first, last)
	add(old, 0, set.All()[1])
	old.Close(25)
	old = decode(t, old.Encode(), set)
	add(old, 100, last, first)
	old.Close(99)
	if got, want := old.Encode(), fresh.Encode(); !bytes.Equal(got, want) {
		t.Errorf("got %x, want %x", got, want)
	}
}

func TestAnEmptyKeyIsNotWritten(t *testing.T) {
	set := testSet(t)
	k := &Key{ShownAtMS: 5}
	if data := k.Encode(); data != nil {
		t.Errorf("a key without windows is %x", data)
	}
	if read := decode(t, nil, set); read.Len() != 0 || read.Dirty() {
		t.Errorf("nothing reads as %+v", read)
	}
	k.Add(set.All()[0], &Event{TimeMS: 1, StreamTimeMS: 1}, Unknown, 10)
	k.Close(1000)
	if data := k.Encode(); data != nil {
		t.Errorf("a key whose windows are closed is %x", data)
	}
}

// Windows of an aggregate that is not declared are counted, due at once, and not
// written again.
func TestWindowsThatAreNotDeclared(t *testing.T) {
	set := testSet(t)
	k := new(Key)
	for _, a := range set.All() {
		k.Add(a, &Event{TimeMS: 25, StreamTimeMS: 25}, Unknown, 100)
	}
	less, err := NewSet([]Aggregate{*set.All()[0]})
	if err != nil {
		t.Fatal(err)
	}
	read := decode(t, k.Encode(), less)
	// Four hopping windows hold 25, and one session.
	if at, ok := read.Deadline(); read.Len() != 1 || read.Undeclared() != 5 || at != Unknown || !ok {
		t.Errorf("%d windows, %d not declared, due at %d", read.Len(), read.Undeclared(), at)
	}
	again := decode(t, read.Encode(), set)
	if again.Len() != 1 || again.Undeclared() != 0 {
		t.Errorf("written again: %d windows, %d not declared", again.Len(), again.Undeclared())
	}
}

// What is cut off is an error, or less; it is never a panic.
func TestATruncatedKey(t *testing.T) {
	set := testSet(t)
	k := new(Key)
	for i := range 300 {
		k.Add(set.All()[0], &Event{TimeMS: int64(i % 30), StreamTimeMS: 30, Value: valueOf(int64(i))}, Unknown, 100)
	}
	data := k.Encode()
	for n := range data {
		if read, err := DecodeKey(data[:n], set); err == nil && read.Len() >= k.Len() {
			t.Fatalf("%d of %d bytes read as all windows", n, len(data))
		}
	}
}

// FuzzDecodeKey: garbage is refused or read, and what is read is written once and for
// all.
func FuzzDecodeKey(f *testing.F) {
	set := testSet(f)
	k := &Key{ShownAtMS: 1000}
	f.Add([]byte(nil))
	for i := range 200 {
		e := &Event{TimeMS: int64(i), StreamTimeMS: int64(i), Value: valueOf(int64(i))}
		for _, a := range set.All() {
			k.Add(a, e, Unknown, 100)
		}
		if i%50 < 2 {
			k.Show()
			f.Add(k.Encode())
		}
	}
	f.Add(k.Encode())
	f.Fuzz(func(t *testing.T, data []byte) {
		k, err := DecodeKey(data, set)
		if err != nil {
			return
		}
		k.Deadline()
		k.Dirty()
		k.Undeclared()
		written := k.Encode()
		again, err := DecodeKey(written, set)
		if err != nil {
			t.Fatalf("%x was read, and written as %x: %v", data, written, err)
		}
		if twice := again.Encode(); !bytes.Equal(written, twice) {
			t.Fatalf("%x was written as %x, and then as %x", data, written, twice)
		}
	})
}

// What the table cannot hold is an error, and sketches that are broken a panic, once
// they are asked for: neither is taken for no windows at all.
func TestAKeyThatIsBroken(t *testing.T) {
	for _, data := range [][]byte{
		{0x09, 0, 0, 0, 0, 0, 0, 0, 0}, // A fixed 64-bit number.
		{0x12, 0x05, 0x0a},             // A group of 5 bytes, of which there is 1.
		{0x08},                         // A number without digits.
		{0x12, 0x02, 0x12, 0x01},       // The same within a group.
		{0x00, 0x00},                   // Field 0.
	} {
		if k, err := DecodeKey(data, testSet(t)); err == nil {
			t.Errorf("%x is read as %+v", data, k)
		}
	}
	for name, ask := range map[string]func(){
		"too few distinct values": func() { (&Distinct{raw: []byte{2, 0}}).Estimate() },
		"a cut-off sketch":        func() { (&Distinct{raw: []byte{0xff, 2}}).Estimate() },
		"no distinct values":      func() { (&Distinct{raw: []byte{}}).Estimate() },
		"broken quantiles":        func() { (&Quantiles{raw: []byte{0xfc}}).At(0.5) }, // A kind of field that there is not.
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: read without a word", name)
				}
			}()
			ask()
		}()
	}
}
