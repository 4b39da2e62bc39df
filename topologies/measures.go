package topologies

import (
	"crypto/sha256"
	"encoding/hex"
	"math"
	"strconv"
	"strings"

	"github.com/tintype/tintype/event"
	"github.com/tintype/tintype/event/eventpb"
)

// The dimensions that uploads are grouped by.
const (
	dimensionAll      = "all"
	dimensionUploader = "uploader"
	dimensionFormat   = "format"
	dimensionCamera   = "camera_model"
	dimensionOutcome  = "outcome"
	dimensionCell     = "cell"
)

// Dimensions lists what uploads can be grouped by.
func Dimensions() []string {
	return []string{dimensionAll, dimensionUploader, dimensionFormat, dimensionCamera, dimensionOutcome, dimensionCell}
}

// maxDimensionBytes is the longest value of a dimension that stands for itself; a
// longer one is named by its hash.
const maxDimensionBytes = 256

// valueOf is an upload's value in a dimension; ok is false where it has none.
func valueOf(dimension string, d *eventpb.Developed) (value string, ok bool) {
	switch dimension {
	case dimensionAll:
		return "", true
	case dimensionUploader:
		value = d.GetSender().GetUploader()
	case dimensionFormat:
		value = d.GetFacts().GetFormat()
	case dimensionCamera:
		value = d.GetFacts().GetCameraModel()
	case dimensionOutcome:
		value = event.OutcomeName(d.Outcome)
	case dimensionCell:
		value = cellOf(d.GetFacts())
	}
	if len(value) > maxDimensionBytes {
		sum := sha256.Sum256([]byte(value))
		value = "sha256:" + hex.EncodeToString(sum[:])
	}
	return value, value != ""
}

// cellOf is the square degree that a photo was taken in, as latitude:longitude of
// its south-western corner; "" where nobody knows.
func cellOf(f *eventpb.Facts) string {
	if f == nil || f.Latitude == nil || f.Longitude == nil {
		return ""
	}
	return strconv.Itoa(int(math.Floor(*f.Latitude))) + ":" + strconv.Itoa(int(math.Floor(*f.Longitude)))
}

// measureKey is the key of a value of a dimension on the topic measures.
func measureKey(dimension, value string) string { return dimension + ":" + value }

// splitMeasureKey is the other way round.
func splitMeasureKey(key string) (dimension, value string) {
	dimension, value, _ = strings.Cut(key, ":")
	return dimension, value
}

// measureOf is what a fate adds to windows: what its row in ClickHouse says.
func measureOf(d *eventpb.Developed) *eventpb.Measure {
	m := &eventpb.Measure{Stamp: d.Stamp, Uploader: d.GetSender().GetUploader()}
	f := d.GetFacts()
	if f.GetBytes() > 0 {
		m.BytesIn = &f.Bytes
	}
	if f.GetFormat() != "" && f.GetWidth() > 0 && f.GetHeight() > 0 {
		m.Pixels = new(int64(f.GetWidth()) * int64(f.GetHeight()))
	}
	if d.Outcome == eventpb.Outcome_OUTCOME_ORIGINAL {
		m.BytesOut = new(bytesOf(d.Renditions))
	}
	if d.ExtractMs != nil || d.TransformMs != nil {
		m.LatencyMs = new(d.GetExtractMs() + d.GetTransformMs())
	}
	return m
}

func bytesOf(renditions []*eventpb.Rendition) int64 {
	n := int64(0)
	for _, r := range renditions {
		n += r.GetBytes()
	}
	return n
}
