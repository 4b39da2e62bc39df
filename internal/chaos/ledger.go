package chaos

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync"

	"github.com/tintype/tintype/event"
)

// An entry is one upload that the broker has acked.
type entry struct {
	// Round counts the topics: each that is created anew begins one.
	Round     int    `json:"round"`
	Key       string `json:"key"`
	Partition int32  `json:"partition"`
	Offset    int64  `json:"offset"`
}

// A ledger keeps which uploads were acked, in a file. It is what a sender knows:
// whatever the log holds, these must be in it.
type ledger struct {
	mu      sync.Mutex
	file    *os.File
	out     *bufio.Writer
	entries map[int][]entry
	// unknown counts the uploads that were sent without a definite answer.
	unknown int
}

func openLedger(name string) (*ledger, error) {
	file, err := os.Create(name)
	if err != nil {
		return nil, fmt.Errorf("chaos: create the ledger: %w", err)
	}
	return &ledger{file: file, out: bufio.NewWriter(file), entries: map[int][]entry{}}, nil
}

// acked notes an answer.
func (l *ledger) acked(e entry) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.entries[e.Round] = append(l.entries[e.Round], e)
	line, err := json.Marshal(e)
	if err == nil {
		_, err = l.out.Write(append(line, '\n'))
	}
	_ = err // Close returns a writer's first error, and an entry can be marshalled.
}

func (l *ledger) unanswered() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.unknown++
}

// count is how many uploads were acked, and how many were not answered.
func (l *ledger) count() (acked, unknown int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, entries := range l.entries {
		acked += len(entries)
	}
	return acked, l.unknown
}

// missing lists the acked uploads of a round that its log does not have, or has
// under another key.
func (l *ledger) missing(round int, log origins) []string {
	type place struct {
		partition int32
		offset    int64
	}
	keys := make(map[place]string, len(log))
	for at, key := range log {
		keys[place{at.Partition, at.Offset}] = key
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	var missing []string
	for _, e := range l.entries[round] {
		switch key, there := keys[place{e.Partition, e.Offset}]; {
		case !there:
			missing = append(missing, fmt.Sprintf("upload %q was acked at %d/%d of topic %d, which has no record there", e.Key, e.Partition, e.Offset, round))
		case key != e.Key:
			missing = append(missing, fmt.Sprintf("upload %q was acked at %d/%d of topic %d, which has %q there", e.Key, e.Partition, e.Offset, round, key))
		}
	}
	return missing
}

func (l *ledger) close() error {
	if err := errors.Join(l.out.Flush(), l.file.Close()); err != nil {
		return fmt.Errorf("chaos: write the ledger: %w", err)
	}
	return nil
}

// origins are the positions of uploads, with their keys.
type origins map[event.Position]string
