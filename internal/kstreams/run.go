package kstreams

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strconv"
	"strings"
	"sync"
)

// Job is a run over one event file. The paths hold no tab and no line break.
type Job struct {
	Spec string
	// Input is a file of events, Output the file that the result is written to.
	Input, Output string
}

func (j Job) String() string { return strings.Join([]string{j.Spec, j.Input, j.Output}, "\t") }

// Differential is a running program that does jobs, without a broker. It is safe
// for concurrent use.
type Differential struct {
	command *exec.Cmd
	stderr  bytes.Buffer

	mu    sync.Mutex
	stdin io.WriteCloser
	done  map[string]chan struct{}

	// ended is closed when the program has ended; err is why then.
	ended chan struct{}
	err   error
}

// Differential starts the program, which ends with the context or with Close. It
// does so many jobs at a time.
func (p *Peer) Differential(ctx context.Context, atATime int) (*Differential, error) {
	d := &Differential{done: map[string]chan struct{}{}, ended: make(chan struct{})}
	d.command = p.command(ctx, "Differential", &d.stderr, strconv.Itoa(atATime))
	stdin, err := d.command.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("kstreams: open the program's input: %w", err)
	}
	d.stdin = stdin
	stdout, err := d.command.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("kstreams: open the program's output: %w", err)
	}
	if err := d.command.Start(); err != nil {
		return nil, fmt.Errorf("kstreams: start Java: %w", err)
	}
	go d.read(stdout)
	return d, nil
}

// read tells those who wait which jobs are done, until the program ends.
func (d *Differential) read(stdout io.Reader) {
	defer close(d.ended)
	lines := bufio.NewScanner(stdout)
	for lines.Scan() {
		d.mu.Lock()
		if done := d.done[lines.Text()]; done != nil {
			close(done)
			delete(d.done, lines.Text())
		}
		d.mu.Unlock()
	}
	if err := errors.Join(lines.Err(), d.command.Wait()); err != nil {
		d.err = fmt.Errorf("kstreams: Differential: %w: %s", err, strings.TrimSpace(d.stderr.String()))
	}
}

// Do does a job and returns when its output is complete. No two jobs are the same.
func (d *Differential) Do(ctx context.Context, job Job) error {
	done := make(chan struct{})
	d.mu.Lock()
	d.done[job.String()] = done
	_, err := io.WriteString(d.stdin, job.String()+"\n")
	d.mu.Unlock()
	if err != nil {
		<-d.ended // It writes why.
		return errors.Join(d.err, fmt.Errorf("kstreams: give a job to Differential: %w", err))
	}
	select {
	case <-done:
		return nil
	case <-d.ended:
		return errors.Join(d.err, fmt.Errorf("kstreams: Differential ended before the job %s", job))
	case <-ctx.Done():
		return fmt.Errorf("kstreams: wait for the job %s: %w", job, ctx.Err())
	}
}

// Close lets the program do the jobs it has, and end.
func (d *Differential) Close() error {
	d.mu.Lock()
	err := d.stdin.Close()
	d.mu.Unlock()
	<-d.ended
	return errors.Join(d.err, err)
}

// OnBroker says where to run on a broker. The topics exist, the input topic has
// the events of the job, and the application is new.
type OnBroker struct {
	Bootstrap, Input, Output, Application string
	Spec                                  string
	Records                               int
	// Result is the file that the result is written to.
	Result string
}

// OnBroker runs Kafka Streams with transactions until the records are processed.
func (p *Peer) OnBroker(ctx context.Context, o OnBroker) error {
	_, err := p.run(ctx, "OnBroker",
		"--bootstrap", o.Bootstrap, "--input", o.Input, "--output", o.Output, "--application", o.Application,
		"--spec", o.Spec, "--records", strconv.Itoa(o.Records), "--result", o.Result)
	return err
}

// Throughput says what to measure: windowed counts by key, of tumbling or hopping
// windows. The topics exist and the application is new.
type Throughput struct {
	Bootstrap, Input, Output, Application string
	Spec                                  string
	// Guarantee is exactly_once_v2 or at_least_once.
	Guarantee        string
	CommitIntervalMS int
	Threads          int
	// Records is how many records to process; the topic has them, or will.
	Records int
}

// Figures are what was measured. The clock starts with the first record.
type Figures struct {
	Peer      string `json:"peer"`
	Version   string `json:"version"`
	Guarantee string `json:"guarantee"`
	Threads   int    `json:"threads"`
	Records   int64  `json:"records"`
	// Seconds is the time to the last record processed, CommittedSeconds to the
	// commit that covers it.
	Seconds              float64 `json:"seconds"`
	RecordsPerS          int64   `json:"records_per_s"`
	CommittedSeconds     float64 `json:"committed_seconds"`
	CommittedRecordsPerS int64   `json:"committed_records_per_s"`
}

// Throughput measures Kafka Streams.
func (p *Peer) Throughput(ctx context.Context, o Throughput) (Figures, error) {
	out, err := p.run(ctx, "Throughput",
		"--bootstrap", o.Bootstrap, "--input", o.Input, "--output", o.Output, "--application", o.Application,
		"--guarantee", o.Guarantee, "--commit-interval-ms", strconv.Itoa(o.CommitIntervalMS),
		"--spec", o.Spec, "--threads", strconv.Itoa(o.Threads), "--records", strconv.Itoa(o.Records))
	if err != nil {
		return Figures{}, err
	}
	var f Figures
	if err := json.Unmarshal(out, &f); err != nil {
		return Figures{}, fmt.Errorf("kstreams: read the figures %q: %w", out, err)
	}
	return f, nil
}

// run runs a program to its end and returns what it printed.
func (p *Peer) run(ctx context.Context, program string, args ...string) ([]byte, error) {
	var stderr bytes.Buffer
	out, err := p.command(ctx, program, &stderr, args...).Output()
	if err != nil {
		return nil, fmt.Errorf("kstreams: %s: %w: %s", program, err, strings.TrimSpace(stderr.String()))
	}
	return out, nil
}
