package kstreams

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
)

// Event is one record of a partition. Within a run of events the values differ,
// and name the record: what is late is found by it.
type Event struct {
	Partition int32  `json:"p"`
	TimeMS    int64  `json:"t"`
	Key       string `json:"k"`
	Value     int64  `json:"v"`
}

// Payload is the record's value in a topic: event time and value, 8 bytes each,
// big-endian.
func (e Event) Payload() []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, uint64(e.TimeMS)), uint64(e.Value))
}

// WriteEvents writes an event file, one object a line.
func WriteEvents(path string, events []Event) error {
	file, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("kstreams: make the event file: %w", err)
	}
	out := bufio.NewWriter(file)
	encoder := json.NewEncoder(out)
	for i := range events {
		if err = encoder.Encode(&events[i]); err != nil {
			break
		}
	}
	if err := errors.Join(err, out.Flush(), file.Close()); err != nil {
		return fmt.Errorf("kstreams: write %s: %w", path, err)
	}
	return nil
}

// ReadEvents reads an event file.
func ReadEvents(path string) ([]Event, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("kstreams: read the event file: %w", err)
	}
	var events []Event
	for line := range bytes.Lines(data) {
		var e Event
		if err := json.Unmarshal(line, &e); err != nil {
			return nil, fmt.Errorf("kstreams: read line %d of %s: %w", len(events)+1, path, err)
		}
		events = append(events, e)
	}
	return events, nil
}
