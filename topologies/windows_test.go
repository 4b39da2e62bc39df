package topologies

import (
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/tintype/tintype/event/eventpb"
	"github.com/tintype/tintype/transform/window"
)

// What transform/window writes by hand is the message that state.proto describes.
func TestTheStateOfWindowsIsTheMessage(t *testing.T) {
	set, err := window.NewSet([]window.Aggregate{
		{Spec: window.Spec{Kind: window.Tumbling, SizeMS: 10, AdvanceMS: 10}, Dimension: "uploader", Measures: window.AllMeasures()},
		{Spec: window.Spec{Kind: window.Session, GapMS: 5}, Dimension: "uploader", Measures: window.BytesIn},
	})
	if err != nil {
		t.Fatal(err)
	}
	p := window.NewPartition(window.PartitionConfig{Set: set, Sources: 1, WatermarkMS: window.Unknown, CadenceMS: 100, Limit: 10})
	k := new(window.Key)
	for i, at := range []int64{12, 14, 17} {
		e := window.Event{TimeMS: at, StreamTimeMS: at, Value: window.Value{
			Told: window.AllMeasures(), BytesIn: at, BytesOut: 2 * at, Pixels: 3 * at, Uploader: "ada", LatencyMS: 1.5,
		}}
		p.Add("uploader:ada", k, set.Of("uploader"), &e, 1000+int64(i))
	}
	var got eventpb.OpenWindows
	if err := proto.Unmarshal(k.Encode(), &got); err != nil {
		t.Fatal(err)
	}
	for _, a := range got.Aggregates {
		for _, w := range a.Windows {
			if len(w.ProtoReflect().GetUnknown()) > 0 || len(a.ProtoReflect().GetUnknown()) > 0 {
				t.Errorf("%s has fields that the message does not know", a.Aggregate)
			}
			w.Uploaders, w.LatencyMs = w.Uploaders[:min(1, len(w.Uploaders))], nil // Their encoding is their own.
		}
	}
	const sums = int64(window.BytesIn)
	want := &eventpb.OpenWindows{ShownAtMs: 1000, Aggregates: []*eventpb.AggregateWindows{
		{Aggregate: "session-5ms-uploader", Windows: []*eventpb.OpenWindow{{
			StartMs: 12, LengthMs: 5, Count: 3, Told: sums, BytesIn: 43, Stale: []*eventpb.OpenWindow{{StartMs: 12, Shown: 1}},
		}}},
		{Aggregate: "tumbling-10ms-uploader", Windows: []*eventpb.OpenWindow{{
			StartMs: 10, LengthMs: 10, Count: 3, Shown: 1, Told: int64(window.AllMeasures()), BytesIn: 43, BytesOut: 86, Pixels: 129,
			BytesInMin: 12, BytesInMax: 17, Uploaders: []byte{1},
		}}},
	}}
	if !proto.Equal(&got, want) {
		t.Errorf("the state is\n%v\nwant\n%v", &got, want)
	}
}
