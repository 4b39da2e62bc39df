package topologies

import (
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/tintype/tintype/event/eventpb"
	"github.com/tintype/tintype/transform/window"
)

func TestValuesOfDimensions(t *testing.T) {
	full := &eventpb.Developed{
		Sender: &eventpb.Sender{Uploader: "ada"}, Outcome: eventpb.Outcome_OUTCOME_DUPLICATE,
		Facts: &eventpb.Facts{Format: "jpeg", CameraModel: new("X100"), Latitude: new(-0.5), Longitude: new(13.4)},
	}
	for dimension, want := range map[string]string{"uploader": "ada", "format": "jpeg", "camera_model": "X100", "outcome": "duplicate", "cell": "-1:13"} {
		if got, ok := valueOf(dimension, full); got != want || !ok {
			t.Errorf("%s is %q, %v; want %q", dimension, got, ok, want)
		}
	}
	bare := &eventpb.Developed{Outcome: eventpb.Outcome_OUTCOME_DEAD}
	for _, dimension := range Dimensions() {
		got, ok := valueOf(dimension, bare)
		if has := dimension == "all" || dimension == "outcome"; ok != has {
			t.Errorf("an upload that tells nothing has %s %q, %v", dimension, got, ok)
		}
	}
	full.Sender.Uploader = strings.Repeat("a", maxDimensionBytes)
	if got, _ := valueOf("uploader", full); got != full.Sender.Uploader {
		t.Errorf("a value of the greatest length became %q", got)
	}
	full.Sender.Uploader += "a"
	if got, _ := valueOf("uploader", full); !strings.HasPrefix(got, "sha256:") || len(got) != len("sha256:")+64 {
		t.Errorf("a value that is too long became %q", got)
	}
}

func TestKeysOfMeasuresComeApart(t *testing.T) {
	for _, value := range []string{"", "ada", "a:b", ":"} {
		if dimension, got := splitMeasureKey(measureKey("uploader", value)); dimension != "uploader" || got != value {
			t.Errorf("%q became %q of %q", value, got, dimension)
		}
	}
}

// What windows add up is what the row of the upload says: a field that is NULL there
// is not told.
func TestMeasuresAreWhatTheRowSays(t *testing.T) {
	d := &eventpb.Developed{
		Outcome: eventpb.Outcome_OUTCOME_ORIGINAL, Sender: &eventpb.Sender{Uploader: "ada"},
		Facts:      &eventpb.Facts{Format: "png", Bytes: 1000, Width: 30, Height: 20},
		Renditions: []*eventpb.Rendition{{Bytes: 7}, {Bytes: 8}}, ExtractMs: new(1.5), TransformMs: new(2.0),
	}
	e := eventOf(measureOf(d))
	want := window.Value{Told: window.AllMeasures(), BytesIn: 1000, BytesOut: 15, Pixels: 600, Uploader: "ada", LatencyMS: 3.5}
	if e.Value != want {
		t.Errorf("an original adds %+v, want %+v", e.Value, want)
	}
	duplicate := proto.CloneOf(d)
	duplicate.Outcome = eventpb.Outcome_OUTCOME_DUPLICATE
	if told := eventOf(measureOf(duplicate)).Value.Told; told&window.BytesOut != 0 {
		t.Error("a duplicate adds bytes out")
	}
	guarded := &eventpb.Developed{Outcome: eventpb.Outcome_OUTCOME_DEAD, Facts: &eventpb.Facts{Bytes: 5, Width: 3, Height: 3}}
	if told := eventOf(measureOf(guarded)).Value.Told; told != window.BytesIn|window.BytesInMin|window.BytesInMax {
		t.Errorf("what the guards refused tells %b", told)
	}
}
