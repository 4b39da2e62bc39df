package window

import (
	"container/heap"
	"slices"
)

// An Index knows at which time each key is due. What is due is taken out at a cost
// in proportion to what is due, whatever else there is. Changes since the last
// Commit can be rolled back. It is not safe for concurrent use.
type Index struct {
	due map[string]int64
	// keys are the keys by the time that they became due at; one that is due at another
	// time by now is passed over. times is a heap of the times there are keys of.
	keys  map[int64][]string
	times timeHeap
	// journal is what was there before the first change since the last commit.
	journal map[string]before
}

type before struct {
	at   int64
	held bool
}

// NewIndex makes an empty index.
func NewIndex() *Index {
	return &Index{due: map[string]int64{}, keys: map[int64][]string{}, journal: map[string]before{}}
}

// Set says that a key is due at a time, or earlier: a time that it was set to before
// holds until the key is taken out, and whoever takes it out sets it again. So a key
// whose time moves with every event costs nothing until it is due.
func (x *Index) Set(key string, at int64) {
	if old, held := x.due[key]; held && old <= at {
		return
	}
	x.note(key)
	x.put(key, at)
}

func (x *Index) put(key string, at int64) {
	x.due[key] = at
	list, known := x.keys[at]
	if !known {
		heap.Push(&x.times, at)
	}
	x.keys[at] = append(list, key)
}

// Remove says that a key is never due.
func (x *Index) Remove(key string) {
	if _, held := x.due[key]; held {
		x.note(key)
		delete(x.due, key)
	}
}

func (x *Index) note(key string) {
	if _, noted := x.journal[key]; !noted {
		at, held := x.due[key]
		x.journal[key] = before{at, held}
	}
}

// Take takes out up to n keys that are due at a time. Until they are set again they
// are not due.
func (x *Index) Take(now int64, n int) []string {
	var taken []string
	for len(taken) < n && len(x.times) > 0 && x.times[0] <= now {
		at := x.times[0]
		list := x.keys[at]
		for len(list) > 0 && len(taken) < n {
			key := list[len(list)-1]
			list = list[:len(list)-1]
			if due, held := x.due[key]; held && due == at {
				x.note(key)
				delete(x.due, key)
				taken = append(taken, key)
			}
		}
		if len(list) > 0 {
			x.keys[at] = list
			break
		}
		delete(x.keys, at)
		heap.Pop(&x.times)
	}
	return taken
}

// Due reports whether any key may be due at a time.
func (x *Index) Due(now int64) bool { return len(x.times) > 0 && x.times[0] <= now }

// Len is the number of keys.
func (x *Index) Len() int { return len(x.due) }

// Commit makes the changes lasting.
func (x *Index) Commit() { clear(x.journal) }

// Rollback undoes the changes since the last commit.
func (x *Index) Rollback() {
	for key, b := range x.journal {
		if b.held {
			x.put(key, b.at)
		} else {
			delete(x.due, key)
		}
	}
	clear(x.journal)
}

// timeHeap is a heap of times, the least one first.
type timeHeap []int64

func (h timeHeap) Len() int           { return len(h) }
func (h timeHeap) Less(i, j int) bool { return h[i] < h[j] }
func (h timeHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *timeHeap) Push(x any)        { *h = append(*h, x.(int64)) }
func (h *timeHeap) Pop() any {
	last := (*h)[len(*h)-1]
	*h = slices.Delete(*h, len(*h)-1, len(*h))
	return last
}
