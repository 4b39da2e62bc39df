// Package dedupe decides whether a photo was seen before. It is pure: the state
// of a content hash in, the decision and the next state out.
package dedupe

import (
	"google.golang.org/protobuf/proto"

	"github.com/tintype/tintype/event/eventpb"
)

// Find returns the first sighting of a content hash under a rendition spec, nil
// where there was none. The state may be nil.
func Find(state *eventpb.Sightings, spec string) *eventpb.Sighting {
	return state.GetBySpec()[spec]
}

// Remember returns the state with a first sighting added. It leaves the given
// state as it is, since goka may hand out the same value again.
func Remember(state *eventpb.Sightings, spec string, first *eventpb.Sighting) *eventpb.Sightings {
	next := &eventpb.Sightings{}
	if state != nil {
		next = proto.CloneOf(state)
	}
	if next.BySpec == nil {
		next.BySpec = make(map[string]*eventpb.Sighting, 1)
	}
	next.BySpec[spec] = first
	return next
}
