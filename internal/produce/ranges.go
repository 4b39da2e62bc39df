package produce

import (
	"maps"
	"slices"
)

// maxRanges bounds the ranges of one lookup.
const maxRanges = 256

// rangesOf covers the pending offsets with at most [maxRanges] ranges for each
// partition. Neighbours are joined over gaps, which are the wider the more
// there are, so that no offset is ever left out of a look.
func rangesOf(pending map[int32][]Acked) []Range {
	var all []Range
	for _, partition := range slices.Sorted(maps.Keys(pending)) {
		of := pending[partition]
		ranges := join(partition, of, 64)
		for gap := int64(256); len(ranges) > maxRanges; gap *= 4 {
			ranges = join(partition, of, gap)
		}
		all = append(all, ranges...)
	}
	return all
}

// join covers offsets, in their order, with ranges that are more than gap
// apart.
func join(partition int32, of []Acked, gap int64) []Range {
	var ranges []Range
	for _, a := range of {
		if n := len(ranges); n > 0 && a.Offset-ranges[n-1].Last <= gap {
			ranges[n-1].Last = a.Offset
			continue
		}
		ranges = append(ranges, Range{Partition: partition, First: a.Offset, Last: a.Offset})
	}
	return ranges
}
