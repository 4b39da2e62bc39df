package event

import "strconv"

// ControlHeader marks a control record. Its value is a [Control].
const ControlHeader = "tintype-control"

// A Control is a kind of control record. Such records belong to no upload and
// touch no key's state; they are never re-keyed.
type Control string

// The kinds of control records.
const (
	// ControlTick moves the stream time of an idle partition of uploads.
	ControlTick Control = "tick"
	// ControlWatermarks tells how far tasks have passed on each source.
	ControlWatermarks Control = "watermarks"
	// ControlAlarm wakes a partition of windows.
	ControlAlarm Control = "alarm"
)

// ControlKey is the key of a control record for one of n partitions, by the
// partitioner that maps a key to its partition. The bytes of no upload id, hash
// or dimension begin like it.
func ControlKey(partition, n int, partitionOf func(key string, n int) int32) string {
	for i := 0; ; i++ {
		key := "\x00control " + strconv.Itoa(i)
		if int(partitionOf(key, n)) == partition {
			return key
		}
	}
}
