package event

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/tintype/tintype/event/eventpb"
)

func TestPositionRoundTrips(t *testing.T) {
	if got := PositionOf(origin.Proto()); got != origin {
		t.Errorf("through Protobuf: %v, want %v", got, origin)
	}
	got, err := ParsePosition(origin.String())
	if err != nil || got != origin {
		t.Errorf("through text: %v, %v; want %v", got, err, origin)
	}
	for _, bad := range []string{"", "a/b", "x/1/2", origin.TopicID.String() + "/x/2", origin.TopicID.String() + "/1/x", origin.TopicID.String() + "/4294967296/1"} {
		if p, err := ParsePosition(bad); err == nil {
			t.Errorf("%q was read as %v", bad, p)
		}
	}
	if got := PositionOf(&eventpb.Position{TopicId: []byte{1}, Partition: 1}); got != (Position{}) {
		t.Errorf("a broken topic id was read as %v", got)
	}
}

func TestDerivedUploadIDs(t *testing.T) {
	id := origin.UploadID()
	parsed, err := uuid.Parse(id)
	if err != nil || parsed.Version() != 8 || parsed.Variant() != uuid.RFC4122 {
		t.Fatalf("%q is no UUIDv8 (%v)", id, err)
	}
	if id != origin.UploadID() {
		t.Error("the id of one position differs from call to call")
	}
	next := origin
	next.Offset++
	other := origin
	other.Partition++
	if id == next.UploadID() || id == other.UploadID() {
		t.Error("two positions share an id")
	}
}

func TestReasonsAreAClosedSet(t *testing.T) {
	all := Reasons()
	seen := map[Reason]bool{}
	for _, r := range all {
		if seen[r] || r == "" || strings.ToLower(string(r)) != string(r) {
			t.Errorf("reason %q is empty, doubled or not lower case", r)
		}
		seen[r] = true
	}
	if got := UnsupportedFormat("heic"); got != "unsupported_heic" || !seen[got] {
		t.Errorf("heic: %q", got)
	}
	if got := UnsupportedFormat("a name from outside"); got != ReasonUnknownFormat {
		t.Errorf("an unknown format got the reason %q", got)
	}
}

func TestRefusalIsFoundInAChain(t *testing.T) {
	err := fmt.Errorf("extract: %w", Refuse(ReasonTruncated, "after %d bytes", 3))
	r, ok := AsRefusal(err)
	if !ok || r.Reason != ReasonTruncated || r.Detail != "after 3 bytes" {
		t.Errorf("found %+v, %v", r, ok)
	}
	if _, ok := AsRefusal(errors.New("disk full")); ok {
		t.Error("an operating error was taken for a refusal")
	}
}

func TestTopicNames(t *testing.T) {
	if got := TopicsOf("", "").Photos.Name; got != "photos" {
		t.Errorf("the default deployment's photos are %q", got)
	}
	other := TopicsOf("replay", "uploads")
	names := []string{}
	for _, topic := range other.All() {
		names = append(names, topic.Name)
	}
	if want := []string{"uploads", "replay-photos", "replay-developed", "replay-dead-letters", "replay-measures", "replay-windows.results", "replay-late", "replay-ticks"}; !slices.Equal(names, want) {
		t.Errorf("another deployment's topics: %v, want %v", names, want)
	}
}

func TestOutcomeNames(t *testing.T) {
	var names []string
	for i := range len(eventpb.Outcome_name) {
		names = append(names, OutcomeName(eventpb.Outcome(i)))
	}
	if want := []string{"", "original", "duplicate", "repeat", "dead", "lost"}; !slices.Equal(names, want) {
		t.Errorf("%v, want %v", names, want)
	}
}

func TestSchemasNameTheirImports(t *testing.T) {
	entries, err := os.ReadDir("eventpb")
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		if !strings.HasSuffix(entry.Name(), ".proto") {
			continue
		}
		text, imports, err := Schema(entry.Name())
		if err != nil {
			t.Fatal(err)
		}
		if strings.Count(text, "\nimport ") != len(imports) {
			t.Errorf("%s imports %d files, found %v", entry.Name(), strings.Count(text, "\nimport "), imports)
		}
	}
	if _, _, err := Schema("none.proto"); err == nil {
		t.Error("a schema that is not there was found")
	}
}
