package chaos

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/tintype/tintype/exactly"
)

// Options say what a run does.
type Options struct {
	Seed    uint64
	Length  time.Duration // of the plan; the healing afterwards comes on top
	Workers int
	Rate    float64 // uploads a second
	// Delivery is what the workers promise.
	Delivery exactly.Delivery
	// Dir holds the data and logs of all processes.
	Dir string
	// Binary is tintype itself, Chserver the engine's server; "" is the one beside
	// this program.
	Binary, Chserver string
	// Say tells a person what happens.
	Say func(format string, args ...any)
}

// drainPatience is how long the stages may take to read all once it is calm.
const drainPatience = 5 * time.Minute

// Run executes a plan, heals everything, and recounts.
func Run(ctx context.Context, o Options) (r *Result, err error) {
	if o.Length < MinLength {
		return nil, fmt.Errorf("chaos: a plan of %v is shorter than %v", o.Length, MinLength)
	}
	l, err := openLab(ctx, o)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, l.close(context.WithoutCancel(ctx))) }()
	if err := l.begin(ctx); err != nil {
		return nil, err
	}
	plan := Plan(o.Seed, o.Length, o.Workers)
	r = &Result{Seed: o.Seed, Delivery: o.Delivery, Planned: map[Kind]int{}, Faults: map[Kind]int{}, Troubles: []string{}}
	for _, f := range plan {
		r.Planned[f.Kind]++
	}
	if err := l.execute(ctx, plan, r); err != nil {
		return nil, err
	}
	o.Say("calm: waiting until the stages have read all")
	if err := l.awaitDrained(ctx, drainPatience); err != nil {
		if ctx.Err() != nil {
			return nil, err
		}
		l.trouble(err.Error())
	}
	o.Say("windows: waiting until all are closed")
	if r.Windows, err = l.countWindows(ctx); err != nil {
		return nil, err
	}
	o.Say("recount")
	if err := l.quieten(ctx); err != nil {
		if ctx.Err() != nil {
			return nil, err
		}
		l.trouble(err.Error())
	}
	if err := l.addLastTicks(ctx); err != nil {
		return nil, err
	}
	log, err := logOf(ctx, l.kafka.addr(), l.topics.Uploads.Name)
	if err != nil {
		return nil, err
	}
	l.compare(log)
	maps.Copy(log, l.gone)
	if r.Recount, err = recount(ctx, l.kafka.addr(), l.clickHouse.Native(), l.topics, l.groups, log); err != nil {
		return nil, err
	}
	r.Recount.add(l.merged)
	if r.Audit, r.AuditOK, err = l.prove(ctx, "audit", "--strict"); err != nil {
		return nil, err
	}
	if r.Verify, r.VerifyOK, err = l.prove(ctx, "verify"); err != nil {
		return nil, err
	}
	for _, w := range l.workers {
		l.trouble(w.surprised()...)
	}
	r.Troubles, r.Hits = append(r.Troubles, l.troubles...), l.hits
	r.Acked, r.Unknown = l.ledger.count()
	return r, nil
}

// prove runs a command that proves something, as a user does.
func (l *lab) prove(ctx context.Context, name string, flags ...string) (said json.RawMessage, ok bool, err error) {
	var out, message bytes.Buffer
	command := exec.CommandContext(ctx, l.options.Binary, append([]string{name, "-o", "json", "--kafka", l.kafka.addr(), "--clickhouse", l.clickHouse.Native()}, flags...)...)
	command.Stdout, command.Stderr = &out, &message
	err = command.Run()
	if _, ended := errors.AsType[*exec.ExitError](err); err != nil && !ended {
		return nil, false, fmt.Errorf("chaos: run tintype %s: %w", name, err)
	}
	ok = err == nil
	if json.Valid(out.Bytes()) {
		said = json.RawMessage(out.Bytes())
	} else {
		l.trouble("tintype " + name + ": " + message.String())
	}
	if err := os.WriteFile(filepath.Join(l.dir, name+".json"), out.Bytes(), 0o644); err != nil {
		return nil, false, fmt.Errorf("chaos: keep what tintype %s said: %w", name, err)
	}
	return said, ok, nil
}
