// Command compare compares transform/window with results of Kafka Streams. Jobs
// come on standard input, one a line: SPEC, event file and result file, with tabs
// between. For each it prints how many differences there are.
//
// It is a program of its own so that it can be built with the inequalities of
// transform/window changed: such a one must find differences.
package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/tintype/tintype/internal/kstreams"
	"github.com/tintype/tintype/transform/window"
)

func main() {
	if err := run(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(in io.Reader, out io.Writer) error {
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		parts := strings.Split(lines.Text(), "\t")
		if len(parts) != 3 {
			return fmt.Errorf("compare: want SPEC, event file and result file with tabs between, not %q", lines.Text())
		}
		total, err := compare(parts[0], parts[1], parts[2])
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintln(out, total); err != nil {
			return fmt.Errorf("compare: write the number: %w", err)
		}
	}
	return lines.Err()
}

func compare(text, eventFile, resultFile string) (int, error) {
	spec, err := window.ParseSpec(text)
	if err != nil {
		return 0, err
	}
	events, err := kstreams.ReadEvents(eventFile)
	if err != nil {
		return 0, err
	}
	kafka, err := kstreams.ReadResult(resultFile)
	if err != nil {
		return 0, err
	}
	if spec.Kind == window.Session {
		kstreams.CloseSessions(spec, events, kafka)
	}
	ours, err := kstreams.Ours(spec, events)
	if err != nil {
		return 0, err
	}
	return kstreams.Compare(kafka, ours).Total, nil
}
