package layers

import (
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/tintype/tintype/"

// TestImports parses every Go file of the repository.
func TestImports(t *testing.T) {
	root := filepath.Join("..", "..")
	if _, err := os.Stat(filepath.Join(root, "go.mod")); err != nil {
		t.Fatal(err)
	}
	files := 0
	err := filepath.WalkDir(root, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		base := entry.Name()
		if entry.IsDir() && name != root && (base == "testdata" || strings.HasPrefix(base, ".") || strings.HasPrefix(base, "_")) {
			return fs.SkipDir
		}
		if entry.IsDir() || path.Ext(base) != ".go" {
			return nil
		}
		files++
		relative, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		wrong, err := check(filepath.ToSlash(relative), name, nil)
		for _, w := range wrong {
			t.Error(w)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if files < 50 {
		t.Fatalf("only %d Go files: is this the repository?", files)
	}
}

// TestWrongImportsAreFound plants imports, wrong and right.
func TestWrongImportsAreFound(t *testing.T) {
	for _, c := range []struct {
		file, imports string
		wrong         bool
	}{
		{"extract/a.go", module + "event", false},
		{"extract/a.go", module + "event/eventpb", false},
		{"extract/a.go", module + "internal/header", false},
		{"extract/a.go", module + "transform/pixel", true},
		{"extract/a.go", module + "load", true},
		{"extract/a.go", module + "topologies", true},
		{"extract/a.go", module + "internal/servers", true},
		{"extract/a.go", module + "internal/devstack/devtest", true},
		{"extract/a_test.go", module + "internal/devstack/devtest", false},
		{"extract/a_test.go", module + "internal/kafkatest", false},
		{"extract/a_test.go", module + "transform/pixel", true},
		{"extract/sniff/a.go", module + "extract", false},
		{"extractor/a.go", "fmt", true}, // A folder without a rule.
		{"load/a.go", module + "extract", true},
		{"load/a.go", module + "loader", true},
		{"transform/pixel/a.go", module + "transform/dedupe", false},
		{"transform/pixel/a.go", module + "extract", true},
		{"transform/window/a.go", module + "transform/dedupe", true},
		{"transform/window/a.go", module + "event", true},
		{"event/a.go", module + "event/eventpb", false},
		{"event/a.go", module + "blob", true},
		{"blob/a.go", module + "event", true},
		{"exactly/a.go", module + "event", true},
		{"exactly/a.go", "github.com/lovoo/goka/codec", false},
		{"exactly/examples/count/main.go", module + "exactly", false},
		{"topologies/a.go", "github.com/lovoo/goka", false},
		{"topologies/a.go", module + "internal/lifecycle", true},
		{"topologies/a.go", module + "bench", true},
		{"load/a.go", "github.com/lovoo/goka", true},
		{"load/a_test.go", "github.com/lovoo/goka", true},
		{"topologies/a.go", "github.com/IBM/sarama", true},
		{"cmd/chserver/internal/engine/a.go", "github.com/ebitengine/purego", false},
		{"cmd/chserver/a.go", module + "load", true},
		{"cmd/tintype/a.go", "github.com/ebitengine/purego", true},
		{"cmd/tintype/a.go", module + "cmd/chserver", true},
		{"cmd/tintype/a.go", module + "internal/kafkatest", true},
		{"cmd/tintype/a_test.go", module + "internal/compose", false},
		{"bench/a.go", module + "topologies", false},
		{"bench/synthetic/a.go", module + "bench", true},
		{"bench/goka/a.go", "github.com/IBM/sarama", false},
		{"bench/goka/a.go", module + "topologies", true},
		{"bench/a.go", "github.com/lovoo/goka", true},
		{"internal/chaos/a.go", module + "internal/kafkatest", false},
		{"internal/chaos/a.go", module + "load", true},
		{"internal/chaos/a.go", module + "internal/audit", true},
		{"internal/chaos/a.go", module + "topologies", true},
		{"internal/lifecycle/a.go", module + "event", true},
		{"doc.go", "fmt", true}, // The root is no package.
	} {
		source := fmt.Sprintf("package a\n\nimport _ %q\n", c.imports)
		wrong, err := check(c.file, c.file, source)
		if err != nil {
			t.Fatal(err)
		}
		if (len(wrong) > 0) != c.wrong {
			t.Errorf("%s imports %s: found %q, wrong is %v", c.file, c.imports, wrong, c.wrong)
		}
	}
}

// TestRulesNameFoldersThatMayExist keeps the table itself in order.
func TestRulesNameFoldersThatMayExist(t *testing.T) {
	seen := map[string]bool{}
	for _, f := range folders {
		if seen[f.path] {
			t.Errorf("%s has two rules", f.path)
		}
		seen[f.path] = true
		for _, m := range f.may {
			if m != "internal" && !slices.ContainsFunc(folders, func(o folder) bool { return o.path == m }) {
				t.Errorf("%s may import %s, which has no rule", f.path, m)
			}
		}
	}
}

// check returns what is wrong with the imports of one file, by its path from
// the root. The source is read from the file name, or given.
func check(file, name string, source any) ([]string, error) {
	parsed, err := parser.ParseFile(token.NewFileSet(), name, source, parser.ImportsOnly)
	if err != nil {
		return nil, err
	}
	dir := path.Dir(file)
	rule, ok := ruleOf(dir)
	if !ok {
		return []string{fmt.Sprintf("%s: the folder has no rule: give it one in internal/layers/rules_test.go", file)}, nil
	}
	test := strings.HasSuffix(file, "_test.go")
	var wrong []string
	for _, spec := range parsed.Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return nil, err
		}
		own, project := strings.CutPrefix(imported, module)
		if !project {
			own = imported
		} else if !below(own, rule.path) && !belowAny(own, rule.may) && (!test || !belowAny(own, forTests)) {
			wrong = append(wrong, fmt.Sprintf("%s: imports %s: %s may import %v of this project", file, own, rule.path, rule.may))
		}
		for _, c := range confined {
			if c.project == project && below(own, c.what) && !belowAny(dir, c.only) && (!test || !project) {
				wrong = append(wrong, fmt.Sprintf("%s: imports %s: only %v may", file, own, c.only))
			}
		}
	}
	return wrong, nil
}

// ruleOf is the rule of the longest folder that holds dir.
func ruleOf(dir string) (rule folder, ok bool) {
	for _, f := range folders {
		if below(dir, f.path) && len(f.path) > len(rule.path) {
			rule, ok = f, true
		}
	}
	return rule, ok
}

// below tells whether a path is a folder or lies below it.
func below(name, folder string) bool {
	return name == folder || strings.HasPrefix(name, folder+"/")
}

func belowAny(name string, folders []string) bool {
	return slices.ContainsFunc(folders, func(f string) bool { return below(name, f) })
}
