package topologies

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/tintype/tintype/transform/window"
)

// DefaultGrace is how long after its end a window takes uploads, where nothing else
// is declared.
const DefaultGrace = 2 * time.Minute

// DefaultAggregates are the aggregates of a deployment that declares none.
func DefaultAggregates() []window.Aggregate {
	var list []window.Aggregate
	add := func(spec window.Spec, dimensions ...string) {
		for _, d := range dimensions {
			list = append(list, window.Aggregate{Spec: spec, Dimension: d, Measures: window.AllMeasures()})
		}
	}
	add(window.NewTumbling(10*time.Second, DefaultGrace), dimensionAll, dimensionOutcome)
	add(window.NewTumbling(time.Minute, DefaultGrace), Dimensions()...)
	add(window.NewHopping(5*time.Minute, time.Minute, DefaultGrace), dimensionAll, dimensionUploader, dimensionOutcome)
	add(window.NewSession(5*time.Minute, DefaultGrace), dimensionUploader)
	return list
}

// declaration is one entry of a file of aggregates.
type declaration struct {
	Kind       window.Kind    `yaml:"kind"`
	Size       time.Duration  `yaml:"size"`
	Advance    time.Duration  `yaml:"advance"`
	Gap        time.Duration  `yaml:"gap"`
	Grace      *time.Duration `yaml:"grace"`
	Dimensions []string       `yaml:"dimensions"`
	Measures   []string       `yaml:"measures"`
}

// maxAggregates bounds how many aggregates a file may declare: every upload is
// counted in each.
const maxAggregates = 200

// ReadAggregates reads a file of aggregates (docs/windows.md has its format). It
// returns one error that names all that is wrong, each with its line.
func ReadAggregates(r io.Reader) (*window.Set, error) {
	var file struct {
		Aggregates []yaml.Node `yaml:"aggregates"`
	}
	data, err := io.ReadAll(io.LimitReader(r, 1<<20))
	if err != nil {
		return nil, fmt.Errorf("topologies: read aggregates: %w", err)
	}
	if err := strictYAML(data, &file); err != nil {
		return nil, fmt.Errorf("topologies: read aggregates: %w", err)
	}
	if len(file.Aggregates) == 0 {
		return nil, errors.New("topologies: read aggregates: want a list `aggregates:` with at least one entry")
	}
	var (
		list []window.Aggregate
		errs []error
	)
	for _, node := range file.Aggregates {
		declared, err := readDeclaration(&node)
		if err != nil {
			errs = append(errs, fmt.Errorf("line %d: %w", node.Line, err))
		}
		list = append(list, declared...)
	}
	if len(errs) > 0 {
		return nil, fmt.Errorf("topologies: read aggregates: %w", errors.Join(errs...))
	}
	if len(list) > maxAggregates {
		return nil, fmt.Errorf("topologies: read aggregates: %d of them, counting each dimension: want up to %d", len(list), maxAggregates)
	}
	return window.NewSet(list)
}

// readDeclaration makes an aggregate of each dimension of an entry.
func readDeclaration(node *yaml.Node) ([]window.Aggregate, error) {
	text, err := yaml.Marshal(node)
	if err != nil {
		return nil, err
	}
	var d declaration
	if err := strictYAML(text, &d); err != nil {
		return nil, err
	}
	grace := DefaultGrace
	if d.Grace != nil {
		grace = *d.Grace
	}
	for _, ms := range []time.Duration{d.Size, d.Advance, d.Gap, grace} {
		if ms%time.Millisecond != 0 {
			return nil, fmt.Errorf("%v: want whole milliseconds", ms)
		}
	}
	spec := window.Spec{Kind: d.Kind, SizeMS: d.Size.Milliseconds(), AdvanceMS: d.Advance.Milliseconds(), GapMS: d.Gap.Milliseconds(), GraceMS: grace.Milliseconds()}
	if spec.Kind == window.Tumbling && spec.AdvanceMS == 0 {
		spec.AdvanceMS = spec.SizeMS
	}
	if err := spec.Validate(); err != nil {
		return nil, err
	}
	measures := window.AllMeasures()
	if d.Measures != nil {
		if measures, err = window.ParseMeasures(d.Measures); err != nil {
			return nil, err
		}
	}
	if len(d.Dimensions) == 0 {
		return nil, fmt.Errorf("dimensions is empty: want some of %s", strings.Join(Dimensions(), ", "))
	}
	var list []window.Aggregate
	for _, dimension := range d.Dimensions {
		if !slices.Contains(Dimensions(), dimension) {
			return nil, fmt.Errorf("there is no dimension %q: want %s", dimension, strings.Join(Dimensions(), ", "))
		}
		list = append(list, window.Aggregate{Spec: spec, Dimension: dimension, Measures: measures})
	}
	return list, nil
}

// strictYAML reads one document and refuses what it does not know.
func strictYAML(data []byte, to any) error {
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	decoder.KnownFields(true)
	err := decoder.Decode(to)
	if errors.Is(err, io.EOF) {
		return errors.New("it is empty")
	}
	return err
}
