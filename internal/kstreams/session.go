package kstreams

import "github.com/tintype/tintype/transform/window"

// Two rules of sessions are not those of Kafka Streams (the docs of transform/window
// say why), and are written down here once more, by themselves. st is the greatest
// event time that the record's partition has had, the record included.

// SplitSessions leaves out the records that only Kafka Streams accepts: they are
// too old by themselves, t < st − grace − gap, and it did not drop them because the
// session that they belong to is not. Without them the others are accepted or
// dropped as before: sessions without them end no later.
func SplitSessions(spec window.Spec, events []Event, kafka Result) (kept []Event, left int) {
	times, next := map[int32]int64{}, map[int32]int64{}
	for _, e := range events {
		p, t := e.Partition, e.TimeMS
		times[p] = max(times[p], t)
		own := Late{Partition: p, Offset: next[p], StartMS: t, EndMS: t, Cause: causeLate}
		next[p]++
		if t < times[p]-spec.GraceMS-spec.GapMS && !kafka.Late[own] {
			left++
			continue
		}
		kept = append(kept, e)
	}
	return kept, left
}

// CloseSessions closes sessions of a result of Kafka Streams by our rule: end <
// st − grace − 2·gap at the end of the partition.
func CloseSessions(spec window.Spec, events []Event, kafka Result) {
	times := map[int32]int64{}
	for _, e := range events {
		times[e.Partition] = max(times[e.Partition], e.TimeMS)
	}
	for w, totals := range kafka.Windows {
		if w.EndMS < times[w.Partition]-spec.GraceMS-2*spec.GapMS {
			kafka.Closed[w] = totals
		}
	}
}
