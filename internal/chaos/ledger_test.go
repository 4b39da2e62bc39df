package chaos

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/uuid"
)

// What was acked and is not in the log, or is another record there, is named.
func TestLedger(t *testing.T) {
	name := filepath.Join(t.TempDir(), "ledger.jsonl")
	l, err := openLedger(name)
	if err != nil {
		t.Fatal(err)
	}
	for offset, key := range []string{"a", "", "c", "d"} {
		l.acked(entry{Round: 1, Key: key, Partition: 2, Offset: int64(offset)})
	}
	l.acked(entry{Round: 2, Key: "another topic's", Partition: 2, Offset: 77})
	l.unanswered()
	if acked, unknown := l.count(); acked != 5 || unknown != 1 {
		t.Errorf("%d acked, %d unknown", acked, unknown)
	}
	topic := uuid.New()
	log := origins{
		{TopicID: topic, Partition: 2, Offset: 0}: "a", {TopicID: topic, Partition: 2, Offset: 1}: "", {TopicID: topic, Partition: 2, Offset: 2}: "not c",
		{TopicID: topic, Partition: 1, Offset: 3}: "d", {TopicID: topic, Partition: 2, Offset: 4}: "unknown to the sender",
	}
	missing := l.missing(1, log)
	if len(missing) != 2 || !strings.Contains(missing[0], `"not c"`) || !strings.Contains(missing[1], `"d" was acked at 2/3`) {
		t.Errorf("missing: %q", missing)
	}
	if err := l.close(); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(name)
	if err != nil || strings.Count(string(data), "\n") != 5 || !strings.Contains(string(data), `"key":"d","partition":2,"offset":3`) {
		t.Errorf("the file: %v\n%s", err, data)
	}
}
