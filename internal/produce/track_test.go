package produce

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"pgregory.net/rapid"
)

// table is a fake of the table uploads: each origin has a time at which its
// row becomes queryable.
type table struct {
	mu    sync.Mutex
	rows  map[Range]time.Time // First is the offset
	err   error
	cost  time.Duration
	looks int
}

func (f *table) insert(partition int32, offset int64, at time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rows[Range{partition, offset, offset}] = at
}

func (f *table) lookup(_ context.Context, ranges []Range, found func(int32, int64)) error {
	time.Sleep(f.cost) //nolint:forbidigo // The bubble's clock.
	f.mu.Lock()
	defer f.mu.Unlock()
	f.looks++
	if f.err != nil {
		return f.err
	}
	for row, at := range f.rows {
		for _, r := range ranges {
			if row.Partition == r.Partition && row.First >= r.First && row.First <= r.Last && !at.After(time.Now()) {
				found(row.Partition, row.First)
			}
		}
	}
	return nil
}

func ackedAt(partition int32, offset int64) Acked {
	return Acked{Partition: partition, Offset: offset, SentAt: time.Now()}
}

func TestLatencyIsEachUploadsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &table{rows: map[Range]time.Time{}}
		tracker := Track(t.Context(), f.lookup, time.Millisecond)
		defer tracker.Close()
		// A hundred uploads in the course of ten seconds, 98 of them queryable after
		// 150 ms and two after 900.
		for i := range int64(100) {
			latency := 150 * time.Millisecond
			if i == 10 || i == 50 {
				latency = 900 * time.Millisecond
			}
			tracker.Acked(ackedAt(int32(i%2), i))
			f.insert(int32(i%2), i, time.Now().Add(latency))
			time.Sleep(100 * time.Millisecond) //nolint:forbidigo // The bubble's clock.
		}
		result, err := tracker.Wait(t.Context(), time.Minute)
		if err != nil || result.Acked != 100 || result.Queryable != 100 || len(result.Missing) != 0 {
			t.Fatalf("wait: %+v, %v", result, err)
		}
		near := func(got, want time.Duration) bool { return got >= want && got <= want+2*time.Millisecond }
		if !near(result.P50, 150*time.Millisecond) || !near(result.P99, 900*time.Millisecond) || !near(result.Max, 900*time.Millisecond) {
			t.Errorf("p50 %s, p99 %s, max %s", result.P50, result.P99, result.Max)
		}
	})
}

func TestWhatIsMissingAtTheDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &table{rows: map[Range]time.Time{}}
		tracker := Track(t.Context(), f.lookup, 0)
		defer tracker.Close()
		for offset := range int64(10) {
			tracker.Acked(ackedAt(0, offset))
			tracker.Acked(ackedAt(0, offset)) // The same origin is the same upload.
			if offset != 3 && offset != 7 {
				f.insert(0, offset, time.Now())
			}
			time.Sleep(time.Millisecond) //nolint:forbidigo // The bubble's clock.
		}
		f.insert(1, 3, time.Now()) // Another partition's offset is another upload.
		begin := time.Now()
		result, err := tracker.Wait(t.Context(), 5*time.Second)
		if err != nil || time.Since(begin) != 5*time.Second {
			t.Errorf("wait ended after %s: %v", time.Since(begin), err)
		}
		if result.Acked != 10 || result.Queryable != 8 || len(result.Missing) != 2 || result.Missing[0].Offset != 3 || result.Missing[1].Offset != 7 {
			t.Errorf("result %+v", result)
		}
	})
}

func TestALookThatFailsIsRepeated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		down := errors.New("down")
		f := &table{rows: map[Range]time.Time{}, err: down}
		tracker := Track(t.Context(), f.lookup, 0)
		defer tracker.Close()
		tracker.Acked(ackedAt(0, 1))
		f.insert(0, 1, time.Now())
		if result, err := tracker.Wait(t.Context(), time.Second); err != nil || len(result.Missing) != 1 || !errors.Is(result.LookupErr, down) {
			t.Errorf("while down: %+v, %v", result, err)
		}
		f.mu.Lock()
		f.err = nil
		f.mu.Unlock()
		if result, err := tracker.Wait(t.Context(), time.Second); err != nil || len(result.Missing) != 0 || result.LookupErr != nil {
			t.Errorf("after it: %+v, %v", result, err)
		}
	})
}

func TestLookingTakesAShareOfTheTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &table{rows: map[Range]time.Time{}, cost: 100 * time.Millisecond}
		tracker := Track(t.Context(), f.lookup, 10*time.Millisecond)
		tracker.Acked(ackedAt(0, 1))
		time.Sleep(10 * time.Second) //nolint:forbidigo // The bubble's clock.
		tracker.Close()
		if f.looks < 18 || f.looks > 20 {
			t.Errorf("%d looks of 100 ms in 10 s, want one every 500 ms", f.looks)
		}
	})
}

func TestWaitEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &table{rows: map[Range]time.Time{}}
		tracker := Track(t.Context(), f.lookup, 0)
		defer tracker.Close()
		if result, err := tracker.Wait(t.Context(), time.Second); err != nil || result.Acked != 0 || f.looks != 0 {
			t.Errorf("nothing to wait for: %+v, %v", result, err)
		}
		tracker.Acked(ackedAt(0, 1))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := tracker.Wait(ctx, time.Hour); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("wait: %v", err)
		}
	})
}

func TestRangesCoverEveryPendingOffset(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pending := map[int32][]Acked{}
		for partition := range int32(3) {
			offsets := rapid.SliceOfNDistinct(rapid.Int64Range(0, 1<<rapid.IntRange(11, 40).Draw(t, "span")), 0, 600, rapid.ID).Draw(t, "offsets")
			slices.Sort(offsets)
			for _, offset := range offsets {
				pending[partition] = append(pending[partition], Acked{Partition: partition, Offset: offset})
			}
		}
		ranges := rangesOf(pending)
		if len(ranges) > 3*maxRanges {
			t.Fatalf("%d ranges", len(ranges))
		}
		for partition, of := range pending {
			for _, a := range of {
				covered := 0
				for _, r := range ranges {
					if r.Partition == partition && r.First <= a.Offset && a.Offset <= r.Last {
						covered++
					}
				}
				if covered != 1 {
					t.Fatalf("offset %d of partition %d is covered %d times", a.Offset, partition, covered)
				}
			}
		}
	})
}

func TestLookupSQL(t *testing.T) {
	got := lookupSQL(uuid.MustParse("6f1c0d52-5b6e-4c1c-9d0b-5f6d1a3a7e10"), []Range{{0, 5, 9}, {3, 7, 7}})
	const want = "SELECT toInt32(src_partition), toInt64(src_offset) FROM uploads WHERE src_topic_id = '6f1c0d52-5b6e-4c1c-9d0b-5f6d1a3a7e10' AND (" +
		"src_partition = 0 AND src_offset BETWEEN 5 AND 9 OR src_partition = 3 AND src_offset BETWEEN 7 AND 7)"
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
