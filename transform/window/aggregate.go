package window

import (
	"fmt"
	"slices"
	"strings"
)

// Measures is a set of what windows measure, beside the count.
type Measures uint16

// The measures.
const (
	BytesIn Measures = 1 << iota
	BytesOut
	Pixels
	BytesInMin
	BytesInMax
	Uploaders
	LatencyMS
	allMeasures Measures = 1<<iota - 1
)

// measureNames are the words for the measures, in order; columns are named by them.
var measureNames = []string{"bytes_in", "bytes_out", "pixels", "bytes_in_min", "bytes_in_max", "uploaders", "latency_ms"}

// AllMeasures is every measure.
func AllMeasures() Measures { return allMeasures }

// ParseMeasures reads names of measures; count is always measured and may be named.
func ParseMeasures(names []string) (Measures, error) {
	var m Measures
	for _, name := range names {
		if name == "count" {
			continue
		}
		i := slices.Index(measureNames, name)
		if i < 0 {
			return 0, fmt.Errorf("window: there is no measure %q: want count, %s", name, strings.Join(measureNames, ", "))
		}
		m |= 1 << i
	}
	return m, nil
}

// An Aggregate is what is measured of the windows of one dimension.
type Aggregate struct {
	Spec
	// Dimension is what the events are grouped by.
	Dimension string
	Measures  Measures
	// name is Name, once it is in a set.
	name string
}

// Name names kind, sizes and dimension, such as tumbling-10s-uploader.
func (a *Aggregate) Name() string { return a.String() + "-" + a.Dimension }

// A Set is the aggregates of a deployment.
type Set struct {
	all    []*Aggregate
	byName map[string]*Aggregate
	byDim  map[string][]*Aggregate
	dims   []string
}

// NewSet checks aggregates and makes a set of them.
func NewSet(aggregates []Aggregate) (*Set, error) {
	s := &Set{byName: map[string]*Aggregate{}, byDim: map[string][]*Aggregate{}}
	for _, a := range aggregates {
		if err := a.Validate(); err != nil {
			return nil, fmt.Errorf("window: aggregate %s: %w", a.Name(), err)
		}
		if s.byName[a.Name()] != nil {
			return nil, fmt.Errorf("window: aggregate %s is declared twice: kind, sizes and dimension are its name", a.Name())
		}
		a.name = a.Name()
		s.all = append(s.all, &a)
		s.byName[a.Name()] = &a
		if s.byDim[a.Dimension] == nil {
			s.dims = append(s.dims, a.Dimension)
		}
		s.byDim[a.Dimension] = append(s.byDim[a.Dimension], &a)
	}
	slices.Sort(s.dims)
	return s, nil
}

// All lists the aggregates in the order they were declared in.
func (s *Set) All() []*Aggregate { return s.all }

// Of lists the aggregates of a dimension.
func (s *Set) Of(dimension string) []*Aggregate { return s.byDim[dimension] }

// Dimensions lists the dimensions that aggregates have, in alphabetical order.
func (s *Set) Dimensions() []string { return s.dims }
