package topologies

import (
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/tintype/tintype/event"
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
	stamp := &eventpb.Stamp{EventTimeMs: 5}
	d := &eventpb.Developed{
		Stamp: stamp, Outcome: eventpb.Outcome_OUTCOME_ORIGINAL, Sender: &eventpb.Sender{Uploader: "ada"},
		Facts:      &eventpb.Facts{Format: "png", Bytes: 1000, Width: 30, Height: 20},
		Renditions: []*eventpb.Rendition{{Bytes: 7}, {Bytes: 8}}, ExtractMs: new(1.5), TransformMs: new(2.0),
	}
	read := func(d *eventpb.Developed) window.Value {
		t.Helper()
		codec := measureCodec{event.NewCodecs().Measure}
		data, err := codec.Encode(measureOf(d))
		if err != nil {
			t.Fatal(err)
		}
		value, err := codec.Decode(data)
		if err != nil || value.(*readMeasure).err != nil {
			t.Fatal(err, value.(*readMeasure).err)
		}
		return value.(*readMeasure).event.Value
	}
	want := window.Value{Told: window.AllMeasures(), BytesIn: 1000, BytesOut: 15, Pixels: 600, Uploader: "ada", LatencyMS: 3.5}
	if got := read(d); got != want {
		t.Errorf("an original adds %+v, want %+v", got, want)
	}
	duplicate := proto.CloneOf(d)
	duplicate.Outcome = eventpb.Outcome_OUTCOME_DUPLICATE
	if told := read(duplicate).Told; told&window.BytesOut != 0 {
		t.Error("a duplicate adds bytes out")
	}
	guarded := &eventpb.Developed{Stamp: stamp, Outcome: eventpb.Outcome_OUTCOME_DEAD, Facts: &eventpb.Facts{Bytes: 5, Width: 3, Height: 3}}
	if told := read(guarded).Told; told != window.BytesIn|window.BytesInMin|window.BytesInMax {
		t.Errorf("what the guards refused tells %b", told)
	}
}

// The codec reads by hand what Protobuf would read, framed or not, and names what it
// cannot read.
func TestMeasuresAreReadByHand(t *testing.T) {
	plain := event.NewCodecs().Measure
	rapid.Check(t, func(t *rapid.T) {
		m := &eventpb.Measure{Stamp: &eventpb.Stamp{
			Origin:      event.Position{Partition: 3, Offset: rapid.Int64().Draw(t, "offset")}.Proto(),
			EventTimeMs: rapid.Int64().Draw(t, "event"), AppendTimeMs: rapid.Int64().Draw(t, "append"), StreamTimeMs: rapid.Int64().Draw(t, "stream"),
		}, Uploader: rapid.String().Draw(t, "uploader")}
		var want window.Value
		if want.Uploader = m.Uploader; m.Uploader != "" {
			want.Told |= window.Uploaders
		}
		if rapid.Bool().Draw(t, "in") {
			want.BytesIn, want.Told = rapid.Int64().Draw(t, "bytes in"), want.Told|window.BytesIn|window.BytesInMin|window.BytesInMax
			m.BytesIn = &want.BytesIn
		}
		if rapid.Bool().Draw(t, "out") {
			want.BytesOut, want.Told = rapid.Int64().Draw(t, "bytes out"), want.Told|window.BytesOut
			m.BytesOut = &want.BytesOut
		}
		if rapid.Bool().Draw(t, "px") {
			want.Pixels, want.Told = rapid.Int64().Draw(t, "pixels"), want.Told|window.Pixels
			m.Pixels = &want.Pixels
		}
		if rapid.Bool().Draw(t, "ms") {
			want.LatencyMS, want.Told = rapid.Float64().Draw(t, "latency"), want.Told|window.LatencyMS
			m.LatencyMs = &want.LatencyMS
		}
		codec := measureCodec{plain}
		if rapid.Bool().Draw(t, "framed") {
			codec.Codec = plain.Framed(7)
		}
		data, err := codec.Encode(m)
		if err != nil {
			t.Fatal(err)
		}
		value, _ := codec.Decode(data)
		got := value.(*readMeasure)
		if got.err != nil || got.event != (window.Event{TimeMS: m.Stamp.EventTimeMs, StreamTimeMS: m.Stamp.StreamTimeMs, Value: want}) {
			t.Fatalf("%v was read as %+v, %v", m, got.event, got.err)
		}
		if !proto.Equal(codec.stamp(got), m.Stamp) {
			t.Fatalf("the stamp is %v, want %v", codec.stamp(got), m.Stamp)
		}
	})
	for what, data := range map[string][]byte{"null": nil, "no stamp": {0x12, 1, 'a'}, "cut short": {0x0a, 9, 1}, "a broken stamp": {0x0a, 1, 0x0a}} {
		if value, err := (measureCodec{plain}).Decode(data); err != nil || value.(*readMeasure).err == nil {
			t.Errorf("%s was read as %+v", what, value)
		}
	}
}
