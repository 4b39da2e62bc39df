package chaos

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"
)

// Options say what a run does.
type Options struct {
	Seed    uint64
	Length  time.Duration // of the plan; the healing afterwards comes on top
	Workers int
	Rate    float64 // uploads a second
	// Delivery is what the workers promise: exactly-once, at-least-once, at-most-once.
	Delivery string
	// Dir holds the data and logs of all processes.
	Dir string
	// Binary and Chserver are the programs.
	Binary, Chserver string
	// Say tells a person what happens.
	Say func(format string, args ...any)
}

// A Result is how a run ended.
type Result struct {
	Seed     uint64       `json:"seed"`
	Delivery string       `json:"delivery"`
	Faults   map[Kind]int `json:"faults"`
	Missed   int          `json:"faults_missed"`
	Hits     Hits         `json:"hits"`
	Acked    int          `json:"acked"`
	Unknown  int          `json:"unknown"`
	Recount  *Recount     `json:"recount"`
	// Audit is what tintype audit said, AuditOK its exit code.
	Audit   json.RawMessage `json:"audit,omitempty"`
	AuditOK bool            `json:"audit_ok"`
	// Troubles are what should not have happened: processes that ended by
	// themselves, faults that could not be executed.
	Troubles []string `json:"troubles"`
}

// OK reports whether the run kept the promise of its delivery.
func (r *Result) OK() bool {
	if len(r.Troubles) > 0 || 2*r.Hits.Either < r.Hits.Kills {
		return false
	}
	switch r.Delivery {
	case "at-least-once":
		return r.Recount.FatesMissing == 0 && r.Recount.RowsMissing == 0
	case "at-most-once":
		return r.Recount.FatesTwice == 0 && r.Recount.RowsTwice == 0
	}
	return r.Recount.exact() && r.AuditOK
}

// mergesFrom is from which length on merges run: a long run has more parts than
// ClickHouse takes without.
const mergesFrom = 10 * time.Minute

// drainPatience is how long the stages may take to read all once it is calm.
const drainPatience = 5 * time.Minute

// Run executes a plan, heals everything, and recounts.
func Run(ctx context.Context, o Options) (r *Result, err error) {
	l, err := openLab(ctx, o)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, l.close(context.WithoutCancel(ctx))) }()
	if err := l.begin(ctx, o.Length >= mergesFrom); err != nil {
		return nil, err
	}
	r = &Result{Seed: o.Seed, Delivery: o.Delivery, Faults: map[Kind]int{}, Troubles: []string{}}
	if err := l.execute(ctx, Plan(o.Seed, o.Length, o.Workers), r); err != nil {
		return nil, err
	}
	o.Say("calm: waiting until the stages have read all")
	if err := l.awaitDrained(ctx, drainPatience); err != nil {
		if ctx.Err() != nil {
			return nil, err
		}
		l.troubles = append(l.troubles, err.Error())
	}
	for _, w := range l.workers {
		l.troubles = append(l.troubles, w.surprises...)
	}
	r.Troubles, r.Hits = append(r.Troubles, l.troubles...), l.hits
	r.Acked, r.Unknown = l.sender().acked+r.Acked, l.sender().unknown+r.Unknown
	log, err := logOf(ctx, l.kafka.addr(), l.topics.Uploads.Name)
	if err != nil {
		return nil, err
	}
	for at := range l.gone {
		log[at] = true
	}
	if r.Recount, err = recount(ctx, l.kafka.addr(), l.clickHouse.Native(), l.topics, l.groups, log); err != nil {
		return nil, err
	}
	if r.Acked > len(log) {
		r.Troubles = append(r.Troubles, fmt.Sprintf("%d uploads were acked, the log has %d", r.Acked, len(log)))
	}
	return r, l.audit(ctx, r)
}

// execute sends uploads and executes the plan, whose clock stands still while a
// topic is created anew.
func (l *lab) execute(ctx context.Context, plan []Fault, r *Result) error {
	var (
		running     sync.WaitGroup
		mu          sync.Mutex
		began       = time.Now()
		round       int
		streamEnd   context.CancelFunc
		streamEnded chan error
	)
	stream := func() {
		streaming, cancel := context.WithCancel(ctx)
		ended, u := make(chan error, 1), l.sender()
		go func() { ended <- u.stream(streaming, l.options.Rate) }()
		streamEnd, streamEnded = cancel, ended
	}
	calm := func() error { // All that was sent is acked, and no fault is under way.
		streamEnd()
		if err := <-streamEnded; err != nil {
			return err
		}
		running.Wait()
		flushing, cancel := context.WithTimeout(ctx, drainPatience)
		defer cancel()
		return l.sender().flush(flushing)
	}
	defer func() { streamEnd() }()
	stream()
	for _, f := range plan {
		wait(ctx, time.Until(began.Add(f.At)))
		if ctx.Err() != nil {
			streamEnd()
			running.Wait()
			return ctx.Err()
		}
		if f.Kind == Recreate {
			paused := time.Now()
			l.options.Say("%6s  %s: waiting until all is done", f.At.Round(time.Second), f.Kind)
			if err := calm(); err != nil {
				return err
			}
			if err := l.awaitDrained(ctx, drainPatience); err != nil {
				r.Troubles = append(r.Troubles, fmt.Sprintf("%s: %v", f.Kind, err))
				return nil //nolint:nilerr // The rest of the plan has no sense; the recount has.
			}
			if err := l.recreate(ctx); err != nil {
				return err
			}
			r.Acked, r.Unknown = r.Acked+l.sender().acked, r.Unknown+l.sender().unknown
			l.sender().client.Close()
			round++
			if err := l.newUploads(round); err != nil {
				return err
			}
			r.Faults[f.Kind]++
			stream()
			began = began.Add(time.Since(paused))
			l.options.Say("        %s: done in %v", f.Kind, time.Since(paused).Round(time.Second))
			continue
		}
		running.Go(func() {
			l.options.Say("%6s  %s%s", f.At.Round(time.Second), f.Kind, l.victim(f))
			err := l.strike(ctx, f)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case errors.Is(err, errMissed):
				r.Missed++
			case err != nil && ctx.Err() == nil:
				r.Troubles = append(r.Troubles, fmt.Sprintf("%s: %v", f.Kind, err))
			default:
				r.Faults[f.Kind]++
			}
		})
	}
	return calm()
}

// victim names the worker of a fault that strikes one.
func (l *lab) victim(f Fault) string {
	switch f.Kind {
	case KillWorker, KillBeforeCommit, PauseWorker, PauseBeforeCommit, PauseInsideInsert, LoseAnswer:
		return ", " + l.workers[f.Worker].name
	default:
		return ""
	}
}

// audit runs tintype audit, as a user does.
func (l *lab) audit(ctx context.Context, r *Result) error {
	var out, message bytes.Buffer
	command := exec.CommandContext(ctx, l.options.Binary, "audit", "-o", "json", "--kafka", l.kafka.addr(), "--clickhouse", l.clickHouse.Native())
	command.Stdout, command.Stderr = &out, &message
	err := command.Run()
	if _, ended := errors.AsType[*exec.ExitError](err); err != nil && !ended {
		return fmt.Errorf("chaos: run the audit: %w", err)
	}
	r.AuditOK = err == nil
	if json.Valid(out.Bytes()) {
		r.Audit = json.RawMessage(out.Bytes())
	} else {
		r.Troubles = append(r.Troubles, "tintype audit: "+message.String())
	}
	file := filepath.Join(l.dir, "audit.json")
	if err := os.WriteFile(file, out.Bytes(), 0o644); err != nil {
		return fmt.Errorf("chaos: keep the audit: %w", err)
	}
	return nil
}
