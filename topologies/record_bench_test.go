package topologies

import (
	"testing"
	"time"

	"github.com/tintype/tintype/event"
	"github.com/tintype/tintype/event/eventpb"
	"github.com/tintype/tintype/transform/window"
)

// BenchmarkRecord is what stage windows does with each record, part by part; goka and
// the table come on top.
func BenchmarkRecord(b *testing.B) {
	const at, key = 1_767_225_600_000, "uploader:ada"
	codec := measureCodec{event.NewCodecs().Measure}
	data, err := codec.Encode(&eventpb.Measure{
		Stamp: &eventpb.Stamp{
			Origin:      event.Position{Partition: 1, Offset: 12345}.Proto(),
			EventTimeMs: at, AppendTimeMs: at, StreamTimeMs: at,
		},
		Uploader: "ada", BytesIn: new(int64(100_000)),
	})
	if err != nil {
		b.Fatal(err)
	}
	set, err := window.NewSet([]window.Aggregate{{Spec: window.NewTumbling(10*time.Second, 0), Dimension: "uploader", Measures: window.BytesIn}})
	if err != nil {
		b.Fatal(err)
	}
	p := window.NewPartition(window.PartitionConfig{Set: set, Sources: 4, CadenceMS: 1000, WatermarkMS: window.Unknown, Limit: 1000})
	value, err := codec.Decode(data)
	if err != nil {
		b.Fatal(err)
	}
	k, e := new(window.Key), value.(*readMeasure).event
	p.Add(key, k, set.All(), &e, 0)
	written := k.Encode()
	for name, f := range map[string]func(){
		"decode a measure": func() { _, _ = codec.Decode(data) },
		"add":              func() { p.Add(key, k, set.All(), &e, 0) },
		"encode a key":     func() { k.Encode() },
		"decode a key":     func() { _, _ = window.DecodeKey(written, set) },
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				f()
			}
		})
	}
}
