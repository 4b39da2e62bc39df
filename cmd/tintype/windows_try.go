package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/tintype/tintype/transform/window"
)

// windowsTryCommand answers "what would happen if".
type windowsTryCommand struct {
	Spec   string `arg:"" help:"tumbling:SIZE:GRACE, hopping:SIZE:ADVANCE:GRACE or session:GAP:GRACE, in ms."`
	Events string `arg:"" help:"File of events, one JSON object a line, in the order of arrival; - reads stdin."`
	Output string `short:"o" env:"-" help:"table, or json: one object a line." enum:"table,json" default:"table"`
}

// Help shows examples.
func (windowsTryCommand) Help() string {
	return "Examples:\n  tintype windows try tumbling:10000:2000 events.jsonl\n  tintype windows try session:300000:0 events.jsonl -o json\n\n" +
		`An event is {"p": 0, "t": 12000, "k": "alice", "v": 3}: partition, event time in ms, key and value; k and v may be left out. ` +
		"The sources are the partitions that occur anywhere in the file; the watermark is unknown until each was seen. " +
		"Every window is printed as it is at the end of input, then each event that a window does not count. Nothing is read but the file."
}

// tryLine is an event as a line holds it.
type tryLine struct {
	P *int64      `json:"p"`
	T *int64      `json:"t"`
	K string      `json:"k"`
	V json.Number `json:"v"`
}

// maxTryLine bounds one line.
const maxTryLine = 1 << 20

// Run implements the command.
func (c *windowsTryCommand) Run(e *env) error {
	spec, err := window.ParseSpec(c.Spec)
	if err != nil {
		return &usageError{err}
	}
	in := e.stdin
	if c.Events != "-" {
		file, err := os.Open(c.Events)
		if err != nil {
			return &usageError{fmt.Errorf("windows try: %w", err)}
		}
		defer func() { _ = file.Close() }() // It was only read.
		in = file
	}
	events, places, err := readTryEvents(in)
	if err != nil {
		return &usageError{fmt.Errorf("windows try: %s: %w", c.Events, err)}
	}
	result, err := window.Try(spec, events)
	if err != nil {
		return &usageError{err}
	}
	out := bufio.NewWriter(e.stdout)
	if c.Output == "json" {
		err = printTryJSON(out, result, places)
	} else {
		err = printTryTable(out, result, places)
	}
	return errors.Join(err, out.Flush())
}

// readTryEvents reads events. Values with decimals are scaled to integers, so that
// sums are exact; places is by how many decimal places.
func readTryEvents(r io.Reader) (events []window.TryEvent, places int, err error) {
	var values []*big.Rat
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 0, 64<<10), maxTryLine)
	for n := 1; lines.Scan(); n++ {
		text := bytes.TrimSpace(lines.Bytes())
		if len(text) == 0 {
			continue
		}
		event, value, err := readTryEvent(text)
		if err != nil {
			return nil, 0, fmt.Errorf("line %d: %w", n, err)
		}
		needed, finite := value.FloatPrec()
		if !finite || needed > maxTryPlaces {
			return nil, 0, fmt.Errorf("line %d: v has more than %d decimal places", n, maxTryPlaces)
		}
		places = max(places, needed)
		events, values = append(events, event), append(values, value)
	}
	if err := lines.Err(); err != nil {
		return nil, 0, fmt.Errorf("read events: %w", err)
	}
	scale := new(big.Rat).SetInt(new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(places)), nil))
	bound := new(big.Int).SetInt64(maxTryValue)
	for i, value := range values {
		scaled := value.Mul(value, scale).Num()
		if scaled.CmpAbs(bound) > 0 {
			return nil, 0, fmt.Errorf("event %d: v is out of range: with %d decimal places, sums of it would not be exact", i+1, places)
		}
		events[i].Value = scaled.Int64()
	}
	return events, places, nil
}

const (
	maxTryPlaces = 9
	// maxTryValue leaves room for sums of a million values.
	maxTryValue = 1 << 43
)

func readTryEvent(text []byte) (window.TryEvent, *big.Rat, error) {
	var line tryLine
	decoder := json.NewDecoder(bytes.NewReader(text))
	err := decoder.Decode(&line)
	if err == nil && decoder.More() {
		err = errors.New("more than one object")
	}
	if err != nil {
		return window.TryEvent{}, nil, fmt.Errorf(`want {"p": 0, "t": 12000, "k": "key", "v": 1}: %w`, err)
	}
	switch {
	case line.P == nil || line.T == nil:
		return window.TryEvent{}, nil, errors.New("p (partition) or t (event time in ms) is missing")
	case *line.T < 0 || *line.T > window.MaxTimeMS:
		return window.TryEvent{}, nil, fmt.Errorf("t is %d: want 0 to %d", *line.T, int64(window.MaxTimeMS))
	}
	value := new(big.Rat)
	if line.V != "" {
		if len(line.V) > 40 || strings.ContainsAny(string(line.V), "eE") && !shortExponent(string(line.V)) {
			return window.TryEvent{}, nil, errors.New("v is out of range")
		}
		if _, ok := value.SetString(string(line.V)); !ok {
			return window.TryEvent{}, nil, fmt.Errorf("v is %q: want a number", line.V)
		}
	}
	return window.TryEvent{Source: *line.P, TimeMS: *line.T, Key: line.K}, value, nil
}

// shortExponent keeps 1e999999999 from being made.
func shortExponent(number string) bool {
	_, exponent, _ := strings.Cut(strings.ToLower(number), "e")
	return len(strings.TrimLeft(exponent, "+-0")) <= 2
}

// unscaled writes a scaled value.
func unscaled(n int64, places int) json.Number {
	if places == 0 {
		return json.Number(fmt.Sprint(n))
	}
	scale := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(places)), nil)
	text := new(big.Rat).SetFrac(big.NewInt(n), scale).FloatString(places)
	return json.Number(strings.TrimSuffix(strings.TrimRight(text, "0"), "."))
}

func printTryJSON(w io.Writer, r window.TryResult, places int) error {
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	for _, o := range r.Windows {
		err := encoder.Encode(struct {
			Kind   window.Kind `json:"kind"`
			K      string      `json:"k"`
			Start  int64       `json:"start"`
			End    int64       `json:"end"`
			Count  int64       `json:"count"`
			Sum    json.Number `json:"sum"`
			Min    json.Number `json:"min"`
			Max    json.Number `json:"max"`
			Closed bool        `json:"closed"`
		}{o.Kind, o.Key, o.StartMS, o.EndMS, o.Count, unscaled(o.Sum, places), unscaled(o.Min, places), unscaled(o.Max, places), o.Closed})
		if err != nil {
			return err
		}
	}
	for _, l := range r.Late {
		err := encoder.Encode(struct {
			Late  bool         `json:"late"`
			Kind  window.Kind  `json:"kind"`
			P     int64        `json:"p"`
			T     int64        `json:"t"`
			K     string       `json:"k"`
			V     json.Number  `json:"v"`
			Start int64        `json:"start"`
			End   int64        `json:"end"`
			Cause window.Cause `json:"cause"`
		}{true, l.Kind, l.Source, l.TimeMS, l.Key, unscaled(l.Value, places), l.StartMS, l.EndMS, l.Cause})
		if err != nil {
			return err
		}
	}
	return nil
}

func printTryTable(w io.Writer, r window.TryResult, places int) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(t, "key\tstart\tend\tcount\tsum\tmin\tmax\t") // Flush returns the error.
	for _, o := range r.Windows {
		state := "open"
		if o.Closed {
			state = "closed"
		}
		_, _ = fmt.Fprintf(t, "%s\t%d\t%d\t%d\t%s\t%s\t%s\t%s\n", o.Key, o.StartMS, o.EndMS, o.Count,
			unscaled(o.Sum, places), unscaled(o.Min, places), unscaled(o.Max, places), state)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, l := range r.Late {
		if _, err := fmt.Fprintf(w, "%s: partition %d, time %d, key %q: not in the window from %d\n", l.Cause, l.Source, l.TimeMS, l.Key, l.StartMS); err != nil {
			return err
		}
	}
	line := "the watermark is unknown: a partition was not seen"
	if r.WatermarkMS != window.Unknown {
		line = fmt.Sprintf("watermark %d", r.WatermarkMS)
	}
	_, err := fmt.Fprintln(w, line)
	return err
}
