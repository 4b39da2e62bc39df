package window

import (
	"fmt"
	"runtime"
	"testing"
)

// benchmarkSet has one aggregate of hopping windows, as many open as there are
// windows of an event.
func benchmarkSet(b *testing.B, windows int, measures Measures) *Set {
	b.Helper()
	size := int64(1000 * windows)
	set, err := NewSet([]Aggregate{{Spec: Spec{Kind: Hopping, SizeMS: size, AdvanceMS: 1000}, Dimension: "user", Measures: measures}})
	if err != nil {
		b.Fatal(err)
	}
	return set
}

var benchmarkMeasures = []struct {
	name string
	Measures
}{{"sums", BytesIn | BytesInMin | BytesInMax}, {"all", AllMeasures()}}

// benchmarkEvent is one of few users, at a time when all windows have begun.
func benchmarkEvent(i int) *Event {
	return &Event{TimeMS: 1_000_000 + int64(i%1000), StreamTimeMS: 1_000_999, Value: valueOf(int64(i % 20))}
}

// BenchmarkKey is what one event costs the stage: reading the key, adding, writing.
// Every event adds to all windows.
func BenchmarkKey(b *testing.B) {
	for _, m := range benchmarkMeasures {
		for _, windows := range []int{1, 10, 100} {
			b.Run(fmt.Sprintf("measures=%s/windows=%d", m.name, windows), func(b *testing.B) {
				set := benchmarkSet(b, windows, m.Measures)
				k := new(Key)
				for i := range 100 {
					k.Add(set.All()[0], benchmarkEvent(i), Unknown, 1000)
				}
				data := k.Encode()
				b.ReportAllocs()
				for i := 0; b.Loop(); i++ {
					k, err := DecodeKey(data, set)
					if err != nil {
						b.Fatal(err)
					}
					k.Add(set.All()[0], benchmarkEvent(i), Unknown, 1000)
					data = k.Encode()
				}
				b.ReportMetric(float64(len(data)), "state-bytes")
			})
		}
	}
}

// BenchmarkKeyOfMany is the same where the event adds to one window of many: the others
// are written back as they came.
func BenchmarkKeyOfMany(b *testing.B) {
	for _, m := range benchmarkMeasures {
		for _, windows := range []int{1, 10, 100} {
			b.Run(fmt.Sprintf("measures=%s/windows=%d", m.name, windows), func(b *testing.B) {
				set := benchmarkSet(b, 1, m.Measures)
				k := new(Key)
				for i := range 100 * windows {
					e := benchmarkEvent(i)
					e.TimeMS += 1000 * int64(i%windows)
					k.Add(set.All()[0], e, Unknown, 1000)
				}
				data := k.Encode()
				b.ReportAllocs()
				for i := 0; b.Loop(); i++ {
					k, err := DecodeKey(data, set)
					if err != nil {
						b.Fatal(err)
					}
					k.Add(set.All()[0], benchmarkEvent(i), Unknown, 1000)
					data = k.Encode()
				}
				b.ReportMetric(float64(len(data)), "state-bytes")
			})
		}
	}
}

// BenchmarkPartitionAdd is an event of one of 10,000 keys that stay in memory, and its
// place in the indexes.
func BenchmarkPartitionAdd(b *testing.B) {
	set := benchmarkSet(b, 1, BytesIn)
	p := NewPartition(PartitionConfig{
		Set: set, Sources: 1, Feeders: []Task{{"extract", 0}}, WatermarkMS: Unknown, CadenceMS: 1000, Limit: 1000,
	})
	keys := make([]Key, 10_000)
	names := make([]string, len(keys))
	for i := range names {
		names[i] = fmt.Sprint("key", i)
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		n := i % len(keys)
		p.Add(names[n], &keys[n], set.All(), benchmarkEvent(i), 1_000_000+int64(i/100))
		if i%1000 == 999 {
			p.Commit()
		}
	}
}

// BenchmarkIndex is a million keys: due at times of their own, or at one of a hundred.
// Taking is 1 % of them, with a commit, and setting them again.
func BenchmarkIndex(b *testing.B) {
	const n = 1_000_000
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprint("key", i)
	}
	for _, times := range []int{n, 100} {
		at := func(i int) int64 { return int64(i * 7919 % times) }
		build := func() *Index {
			x := NewIndex()
			for i, name := range names {
				x.Set(name, at(i))
				x.Commit()
			}
			return x
		}
		b.Run(fmt.Sprintf("build/times=%d", times), func(b *testing.B) {
			var before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			var x *Index
			for b.Loop() {
				x = build()
			}
			runtime.GC()
			runtime.ReadMemStats(&after)
			b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/n, "B/key")
			runtime.KeepAlive(x)
		})
		b.Run(fmt.Sprintf("take/times=%d", times), func(b *testing.B) {
			x := build()
			now, lot := int64(0), 0
			b.ResetTimer()
			for b.Loop() {
				now += int64(times / 100)
				taken := x.Take(now-1, n/100)
				lot += len(taken)
				for _, name := range taken {
					x.Set(name, now-1+int64(times))
				}
				x.Commit()
			}
			b.ReportMetric(float64(lot)/float64(b.N), "keys/op")
		})
	}
}
