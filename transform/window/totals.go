package window

import "math"

// A Value is what one event adds to a window.
type Value struct {
	// Told says which measures the event tells; the others' fields mean nothing.
	Told                      Measures
	BytesIn, BytesOut, Pixels int64
	Uploader                  string
	LatencyMS                 float64
}

// Totals are what the events of a window come to. Adding is commutative and
// associative, and so is merging: totals are the same whatever the order.
type Totals struct {
	Count int64
	// Told says which measures any event has told.
	Told                      Measures
	BytesIn, BytesOut, Pixels int64
	BytesInMin, BytesInMax    int64
	Uploaders                 Distinct
	LatencyMS                 Quantiles
}

// add takes in an event, in the measures that are wanted.
func (t *Totals) add(v *Value, wanted Measures) {
	t.Count++
	told := v.Told & wanted
	if told == 0 {
		return
	}
	if told&BytesInMin != 0 {
		if t.Told&BytesInMin == 0 {
			t.BytesInMin = math.MaxInt64
		}
		t.BytesInMin = min(t.BytesInMin, v.BytesIn)
	}
	if told&BytesInMax != 0 {
		if t.Told&BytesInMax == 0 {
			t.BytesInMax = math.MinInt64
		}
		t.BytesInMax = max(t.BytesInMax, v.BytesIn)
	}
	if told&BytesIn != 0 {
		t.BytesIn += v.BytesIn
	}
	if told&BytesOut != 0 {
		t.BytesOut += v.BytesOut
	}
	if told&Pixels != 0 {
		t.Pixels += v.Pixels
	}
	if told&Uploaders != 0 {
		t.Uploaders.Add(v.Uploader)
	}
	if told&LatencyMS != 0 {
		t.LatencyMS.Add(v.LatencyMS)
	}
	t.Told |= told
}

// merge takes in the totals of another window.
func (t *Totals) merge(o *Totals) {
	t.Count += o.Count
	t.BytesIn += o.BytesIn
	t.BytesOut += o.BytesOut
	t.Pixels += o.Pixels
	if o.Told&BytesInMin != 0 && (t.Told&BytesInMin == 0 || o.BytesInMin < t.BytesInMin) {
		t.BytesInMin = o.BytesInMin
	}
	if o.Told&BytesInMax != 0 && (t.Told&BytesInMax == 0 || o.BytesInMax > t.BytesInMax) {
		t.BytesInMax = o.BytesInMax
	}
	t.Uploaders.merge(&o.Uploaders)
	t.LatencyMS.merge(&o.LatencyMS)
	t.Told |= o.Told
}
