package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// described is a block as DESCRIBE answers: two columns of two strings.
func described() []byte {
	b := &Block{Columns: []Column{{"name", "String"}, {"type", "String"}}, Rows: 2}
	b.data = [][]byte{append(AppendString(nil, "n"), AppendString(nil, "m")...), append(AppendString(nil, "UInt8"), AppendString(nil, "Date")...)}
	return b.Append(nil, 0)
}

func TestBlockRoundTrips(t *testing.T) {
	for _, revision := range []int{0, RevisionBlockInfo, RevisionCustomSerialization} {
		first, err := NewReader(bytes.NewReader(described())).ReadBlock(0)
		if err != nil {
			t.Fatal(err)
		}
		wire := first.Append(nil, revision)
		again, err := NewReader(bytes.NewReader(wire)).ReadBlock(revision)
		if err != nil {
			t.Fatalf("revision %d: %v", revision, err)
		}
		if got := strings.Join(again.Strings("type"), " "); got != "UInt8 Date" || again.Rows != 2 {
			t.Errorf("revision %d: %d rows, types %q", revision, again.Rows, got)
		}
		for cut := range wire {
			if _, err := NewReader(bytes.NewReader(wire[:cut])).ReadBlock(revision); err == nil {
				t.Errorf("revision %d: a block cut off after %d of %d bytes was read", revision, cut, len(wire))
			}
		}
	}
}

// The lengths of a type's data, two rows of zeros but for the ends of arrays.
func TestShapes(t *testing.T) {
	for name, want := range map[string]int{
		"UInt8": 2, "DateTime64(3, 'UTC')": 16, "Nullable(UUID)": 34, "FixedString(5)": 10, "Enum8('a' = 1, 'b(,`' = 2)": 2, "Decimal(18, 4)": 16,
		"Decimal(9, 2)": 8, "Decimal(38, 2)": 32, "Decimal(76, 2)": 64, "Tuple(UInt8, x Int32)": 10, "IPv6": 32, "IntervalDay": 16, "Point": 32,
		"Tuple()": 0, "Nested(a UInt8, b UInt16)": 16, "Ring": 16, "SimpleAggregateFunction(sum, UInt64)": 16, "String": 2,
		"Tuple(a Int8, `b c` Tuple(`d `` e` Int16, `f` Int32))": 14, "Tuple(`a\\` b` Int8)": 2, "Array(UInt16)": 16, "Map(UInt8, UInt8)": 16,
		"Array(LowCardinality(String))": 8 + 16, "Nothing": 2,
	} {
		b, err := NewReader(bytes.NewReader(append(column(name, 2), make([]byte, 80)...))).ReadBlock(0)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if got := len(b.data[0]); got != want {
			t.Errorf("%s: two rows have %d bytes, want %d", name, got, want)
		}
	}
	for _, unknown := range []string{
		"", "Nonsense", "Array", "FixedString(x)", "Decimal(x)", "AggregateFunction(uniq, UInt8)", "Array(Nonsense)", "Tuple(a Nonsense)",
		"LowCardinality(", "Variant(String)", "SimpleAggregateFunction(sum)", strings.Repeat("Array(", maxTypeDepth+2) + "UInt8", strings.Repeat(" ", 8) + "?",
	} {
		if s, err := shapeOf(unknown, 0); err == nil {
			t.Errorf("%q is a type of shape %+v", unknown, s)
		}
	}
}

// column is the beginning of a block of one column.
func column(kind string, rows uint64) []byte {
	return AppendString(AppendString(binary.AppendUvarint([]byte{1}, rows), "c"), kind)
}

func little(values ...uint64) (b []byte) {
	for _, v := range values {
		b = binary.LittleEndian.AppendUint64(b, v)
	}
	return b
}

// Data whose length is in itself ends where it ends.
func TestLengthsInTheData(t *testing.T) {
	for name, c := range map[string]struct {
		kind string
		rows uint64
		data []byte
	}{
		"strings": {"String", 3, []byte("\x01a\x00\x03bcd")},
		"arrays":  {"Array(UInt16)", 2, append(little(1, 3), 1, 0, 2, 0, 3, 0)},
		"nested":  {"Array(Array(String))", 1, append(little(2, 1, 2), "\x01a\x01b"...)},
		"a map":   {"Map(String, Nullable(UInt8))", 1, append(little(1), "\x01k\x00\x07"...)},
		"a dictionary of bytes": {
			"LowCardinality(Nullable(String))", 3,
			append(append(little(1, 0x600, 2), "\x00\x01a"...), append(little(3), 0, 1, 1)...),
		},
		"a dictionary of words": {
			"LowCardinality(UInt8)", 2,
			append(append(little(1, 0x601, 1), 9), append(little(2), 0, 0, 0, 0)...),
		},
		"an empty list of a dictionary": {"Array(LowCardinality(String))", 1, little(1, 0)},
	} {
		const behind = "behind"
		in := NewReader(bytes.NewReader(slices.Concat(column(c.kind, c.rows), c.data, []byte(behind))))
		b, err := in.ReadBlock(0)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		rest, err := io.ReadAll(in)
		if err != nil || string(rest) != behind || !bytes.Equal(b.data[0], c.data) {
			t.Errorf("%s: read %x, left %q, %v, want %x", name, b.data[0], rest, err, c.data)
		}
	}
}

// What a length claims is refused, or missed once it has not come; nothing is
// taken for it.
func TestClaims(t *testing.T) {
	huge := binary.AppendUvarint(nil, 1<<62)
	for name, data := range map[string][]byte{
		"columns":                   binary.AppendUvarint(nil, 1<<40),
		"rows":                      column("UInt8", 1<<40),
		"rows without bytes":        slices.Concat(column("UInt64", maxRows), []byte("x")),
		"a name":                    append([]byte{1, 1}, huge...),
		"a long name that is short": slices.Concat([]byte{1, 1}, binary.AppendUvarint(nil, maxStringBytes), []byte("x")),
		"a string":                  slices.Concat(column("String", 1), huge),
		"a long string":             slices.Concat(column("String", 1), binary.AppendUvarint(nil, maxColumnBytes), []byte("x")),
		"an array":                  slices.Concat(column("Array(UInt64)", 1), little(1<<62)),
		"an array of strings":       slices.Concat(column("Array(String)", 1), little(1<<62)),
		"a long array":              slices.Concat(column("Array(UInt8)", 1), little(maxColumnBytes)),
		"a long fixed string":       slices.Concat(column("FixedString(4000000000)", 1), []byte("x")),
		"a dictionary":              slices.Concat(column("LowCardinality(UInt8)", 1), little(1, 0, 1<<62)),
		"indexes":                   slices.Concat(column("LowCardinality(UInt8)", 1), little(1, 3, 0, 1<<62)),
		"a kind of index":           slices.Concat(column("LowCardinality(UInt8)", 1), little(1, 77, 0, 1)),
		"a type":                    column(strings.Repeat("Tuple(", 500_000), 1),
		"no varint":                 bytes.Repeat([]byte{0xff}, 12),
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		b, err := NewReader(bytes.NewReader(data)).ReadBlock(0)
		runtime.ReadMemStats(&after)
		if err == nil {
			t.Errorf("%s: a block of %d rows", name, b.Rows)
		}
		if took := after.TotalAlloc - before.TotalAlloc; took > 4*growth+4*uint64(len(data)) {
			t.Errorf("%s: %d bytes took %d", name, len(data), took)
		}
	}
}

// After its first error a Reader reads nothing.
func TestReaderError(t *testing.T) {
	r := NewReader(strings.NewReader("\x05ab"))
	if got := r.String(); got != "" || !errors.Is(r.Err(), io.ErrUnexpectedEOF) {
		t.Fatalf("half a string is %q, %v", got, r.Err())
	}
	first := r.Err()
	r.Skip(1)
	if r.Byte() != 0 || r.Uvarint() != 0 || r.String() != "" || !errors.Is(r.Err(), first) {
		t.Errorf("after %v there is more, and then %v", first, r.Err())
	}
	if _, err := NewReader(strings.NewReader("")).Peek(); !errors.Is(err, io.EOF) {
		t.Errorf("the end is %v", err)
	}
}

func TestBlocks(t *testing.T) {
	count := 0
	for block, err := range Blocks(append(described(), described()...)) {
		if err != nil || block.Rows != 2 {
			t.Fatalf("block %d: %+v, %v", count, block, err)
		}
		count++
	}
	if count != 2 {
		t.Errorf("%d blocks, want 2", count)
	}
	for _, err := range Blocks(described()[:10]) {
		if err == nil {
			t.Error("half a block is one")
		}
		count++
	}
	if count != 3 {
		t.Errorf("half a block came %d times", count-2)
	}
}

// Whatever comes over the wire is a block, which is written again as it was, or
// an error; what a length claims is not allocated.
func FuzzReadBlock(f *testing.F) {
	f.Add(described(), 0)
	f.Add(slices.Concat(column("Array(UInt64)", 1), little(1<<62)), 0)
	f.Add(slices.Concat(column("LowCardinality(String)", 1), little(1, 0x600, 1), []byte("\x01a"), little(1), []byte{0}), 0)
	f.Add(slices.Concat(column("Map(String, Array(Nullable(Int8)))", 1), little(1), []byte("\x01k"), little(2), []byte{0, 1, 5, 6}), 0)
	f.Add([]byte("\x01\x00\x02\xff\xff\xff\xff\x00\x01\x01\x01c\x05UInt8\x00\x07"), RevisionCustomSerialization)
	f.Add(column("Tuple(`a b` Tuple(), c FixedString(0))", 3), 0)
	f.Fuzz(func(t *testing.T, data []byte, revision int) {
		b, err := NewReader(bytes.NewReader(data)).ReadBlock(revision)
		if err != nil {
			return
		}
		written := b.Append(nil, revision)
		again, err := NewReader(bytes.NewReader(written)).ReadBlock(revision)
		if err != nil || again.Rows != b.Rows || !slices.Equal(again.Columns, b.Columns) || !bytes.Equal(again.Append(nil, revision), written) {
			t.Fatalf("a round trip gave %+v, %v", again, err)
		}
		for _, c := range b.Columns {
			if values := b.Strings(c.Name); values != nil && len(values) != int(b.Rows) {
				t.Fatalf("%d strings in %d rows", len(values), b.Rows)
			}
		}
	})
}
