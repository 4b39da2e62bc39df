package dedupe

import (
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/tintype/tintype/event/eventpb"
)

func TestFirstSightingIsFoundUnderItsSpecOnly(t *testing.T) {
	if Find(nil, "a") != nil {
		t.Fatal("a sighting was found in no state")
	}
	first := &eventpb.Sighting{UploadId: "u1", EventTimeMs: 7, Phash: 1}
	state := Remember(nil, "a", first)
	if got := Find(state, "a"); !proto.Equal(got, first) {
		t.Fatalf("found %v, want %v", got, first)
	}
	if got := Find(state, "b"); got != nil {
		t.Fatalf("found %v under a spec that was never rendered", got)
	}
}

func TestRememberLeavesItsInputAlone(t *testing.T) {
	before := Remember(nil, "a", &eventpb.Sighting{UploadId: "u1"})
	frozen := proto.CloneOf(before)
	after := Remember(before, "b", &eventpb.Sighting{UploadId: "u2"})
	if !proto.Equal(before, frozen) {
		t.Fatalf("the given state changed: %v", before)
	}
	if Find(after, "a").GetUploadId() != "u1" || Find(after, "b").GetUploadId() != "u2" {
		t.Fatalf("the next state lacks a sighting: %v", after)
	}
}
