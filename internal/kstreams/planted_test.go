package kstreams

import (
	"context"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const (
	// rulesFile holds the inequalities of our windows.
	rulesFile = "../../transform/window/rules.go"
	// leastSpots is how many there are to plant mistakes at: fewer means that the
	// inequalities are somewhere else by now.
	leastSpots = 9

	plantedSeeds   = 4
	plantedRecords = 5_000
)

// Each sum and each inequality of the rules is put off by 1 ms, up and down: the
// comparison with Kafka Streams, or for the closing of sessions with our own rule,
// must notice.
func TestPlantedOffByOnesAreNoticed(t *testing.T) {
	if os.Getenv("TINTYPE_REQUIRE_KAFKA") != "1" {
		t.Skip("SKIPPED, it builds the engine many times; TINTYPE_REQUIRE_KAFKA=1 runs it")
	}
	d := startDifferential(t)
	dir := t.TempDir()
	var jobs strings.Builder
	runs := 0
	for seed := range uint64(plantedSeeds) {
		for _, kind := range kinds {
			a := newScenario(2*seed+1, kind, plantedRecords).askKafka(t, d, dir)
			_, _ = fmt.Fprintf(&jobs, "%s\t%s\t%s\n", a.text, a.input, a.output) // A Builder takes everything.
			runs++
		}
	}
	if noticed := compareWith(t, nil, jobs.String()); noticed != 0 {
		t.Fatalf("nothing is planted, and %d of %d runs differ", noticed, runs)
	}
	source, err := os.ReadFile(rulesFile)
	if err != nil {
		t.Fatal(err)
	}
	spots := spotsOf(t, source)
	if len(spots) < leastSpots {
		t.Fatalf("%d spots to plant mistakes at: are the inequalities still in %s?", len(spots), rulesFile)
	}
	for _, s := range spots {
		for _, off := range []string{"+ 1", "- 1"} {
			mistake := "(" + s.text + " " + off + ")"
			changed := string(source[:s.begin]) + mistake + string(source[s.end:])
			noticed := compareWith(t, []byte(changed), jobs.String())
			t.Logf("line %d, %s: noticed in %d of %d runs", s.line, mistake, noticed, runs)
			if noticed == 0 {
				t.Errorf("line %d, %s: not noticed", s.line, mistake)
			}
		}
	}
}

// spot is an expression in a file.
type spot struct {
	begin, end, line int
	text             string
}

// spotsOf finds where an expression can be off by one: every sum that is no part of
// another one, and the right side of every inequality that is no sum.
func spotsOf(t *testing.T, source []byte) []spot {
	t.Helper()
	files := token.NewFileSet()
	file, err := parser.ParseFile(files, rulesFile, source, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	var spots []spot
	add := func(e ast.Expr) {
		begin, end := files.Position(e.Pos()), files.Position(e.End())
		spots = append(spots, spot{begin.Offset, end.Offset, begin.Line, string(source[begin.Offset:end.Offset])})
	}
	ast.Inspect(file, func(n ast.Node) bool {
		e, ok := n.(*ast.BinaryExpr)
		if !ok {
			return true
		}
		switch e.Op {
		case token.ADD, token.SUB:
			add(e)
			return false
		case token.LSS, token.LEQ, token.GTR, token.GEQ:
			if _, sum := e.Y.(*ast.BinaryExpr); !sum {
				add(e.Y)
			}
		default:
		}
		return true
	})
	return spots
}

// compareWith builds the comparison with other rules, nil for the real ones, and
// returns how many of the runs differ.
func compareWith(t *testing.T, rules []byte, jobs string) (noticed int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	dir := t.TempDir()
	program := filepath.Join(dir, "compare")
	args := []string{"build", "-o", program}
	if rules != nil {
		args = append(args, "-overlay", overlay(t, dir, rules))
	}
	if out, err := exec.CommandContext(ctx, "go", append(args, "./cmd/compare")...).CombinedOutput(); err != nil {
		t.Fatalf("build the comparison: %v: %s", err, out)
	}
	command := exec.CommandContext(ctx, program)
	command.Stdin = strings.NewReader(jobs)
	var stderr strings.Builder
	command.Stderr = &stderr
	out, err := command.Output()
	if err != nil {
		t.Fatalf("compare: %v: %s", err, stderr.String())
	}
	for total := range strings.FieldsSeq(string(out)) {
		if total != "0" {
			noticed++
		}
	}
	return noticed
}

// overlay writes the file that puts other rules in the place of the real ones.
func overlay(t *testing.T, dir string, rules []byte) string {
	t.Helper()
	replaced, err := filepath.Abs(rulesFile)
	if err != nil {
		t.Fatal(err)
	}
	by, list := filepath.Join(dir, "rules.go"), filepath.Join(dir, "overlay.json")
	data, err := json.Marshal(map[string]map[string]string{"Replace": {replaced: by}})
	if err != nil {
		t.Fatal(err)
	}
	for path, data := range map[string][]byte{by: rules, list: data} {
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return list
}
