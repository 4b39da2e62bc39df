package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// A kind is how the data of a type lies in a block.
type kind int

const (
	fixed kind = iota
	text
	nullable
	array
	tuple
	lowCardinality
)

// A shape is a type as far as its encoding goes.
type shape struct {
	kind  kind
	width uint64 // bytes of a fixed one
	inner []*shape
}

// widths are the fixed types without parameters.
var widths = map[string]uint64{
	"Int8": 1, "UInt8": 1, "Bool": 1, "Nothing": 1, "Enum8": 1,
	"Int16": 2, "UInt16": 2, "Date": 2, "Enum16": 2, "BFloat16": 2,
	"Int32": 4, "UInt32": 4, "Float32": 4, "DateTime": 4, "Date32": 4, "IPv4": 4, "Time": 4, "Decimal32": 4,
	"Int64": 8, "UInt64": 8, "Float64": 8, "DateTime64": 8, "Time64": 8, "Decimal64": 8,
	"Int128": 16, "UInt128": 16, "UUID": 16, "IPv6": 16, "Decimal128": 16,
	"Int256": 32, "UInt256": 32, "Decimal256": 32,
}

// aliases are types that are other types by another name.
var aliases = map[string]string{
	"Point": "Tuple(Float64, Float64)", "Ring": "Array(Point)", "LineString": "Array(Point)", "MultiLineString": "Array(LineString)",
	"Polygon": "Array(Ring)", "MultiPolygon": "Array(Polygon)",
}

const (
	// maxTypeBytes bounds a type's name; an Enum16 has a long one.
	maxTypeBytes = 4 << 20
	// maxTypeDepth bounds types within types, as the stack is bounded.
	maxTypeDepth = 100
)

// shapeOf reads a type's name, which stands in depth others.
func shapeOf(name string, depth int) (*shape, error) {
	name = strings.TrimSpace(name)
	if len(name) > maxTypeBytes || depth > maxTypeDepth {
		return nil, errors.New("wire: read type: it is too long or too deep")
	}
	base, rest, hasArgs := strings.Cut(name, "(")
	args := strings.TrimSuffix(rest, ")")
	if strings.HasPrefix(base, "Interval") {
		return &shape{kind: fixed, width: 8}, nil
	}
	if alias, ok := aliases[name]; ok {
		return shapeOf(alias, depth+1)
	}
	switch base {
	case "String":
		return &shape{kind: text}, nil
	case "FixedString":
		n, err := strconv.ParseUint(args, 10, 32)
		if err != nil {
			return nil, fmt.Errorf("wire: read type %s: %w", name, err)
		}
		return &shape{kind: fixed, width: n}, nil
	case "Decimal":
		return decimal(args)
	case "Nullable":
		return wrap(nullable, args, depth)
	case "Array":
		return wrap(array, args, depth)
	case "LowCardinality":
		if inner, ok := strings.CutPrefix(args, "Nullable("); ok { // The dictionary's first entry is the NULL.
			args = strings.TrimSuffix(inner, ")")
		}
		return wrap(lowCardinality, args, depth)
	case "SimpleAggregateFunction":
		if parts := split(args); len(parts) == 2 {
			return shapeOf(parts[1], depth+1)
		}
	case "Map":
		return wrap(array, "Tuple("+args+")", depth)
	case "Nested":
		return wrap(array, "Tuple("+args+")", depth)
	case "Tuple":
		s := &shape{kind: tuple}
		if args == "" {
			return s, nil
		}
		for _, element := range split(args) {
			inner, err := shapeOf(unnamed(element), depth+1)
			if err != nil {
				return nil, err
			}
			s.inner = append(s.inner, inner)
		}
		return s, nil
	}
	if width, ok := widths[base]; ok && (hasArgs || base == name) {
		return &shape{kind: fixed, width: width}, nil
	}
	return nil, fmt.Errorf("wire: type %s is not supported over the native protocol: cast it to String", name)
}

func wrap(k kind, args string, depth int) (*shape, error) {
	inner, err := shapeOf(args, depth+1)
	if err != nil {
		return nil, err
	}
	return &shape{kind: k, inner: []*shape{inner}}, nil
}

func decimal(args string) (*shape, error) {
	precision, _, _ := strings.Cut(args, ",")
	digits, err := strconv.Atoi(strings.TrimSpace(precision))
	if err != nil {
		return nil, fmt.Errorf("wire: read type Decimal(%s): %w", args, err)
	}
	width := uint64(32)
	switch {
	case digits <= 9:
		width = 4
	case digits <= 18:
		width = 8
	case digits <= 38:
		width = 16
	}
	return &shape{kind: fixed, width: width}, nil
}

// unnamed strips the name off a tuple's element: "a Int8" or "`a b` Int8".
func unnamed(element string) string {
	element = strings.TrimSpace(element)
	if strings.HasPrefix(element, "`") {
		for i := 1; i < len(element); i++ {
			switch element[i] {
			case '\\':
				i++
			case '`':
				if !strings.HasPrefix(element[i+1:], "`") {
					return element[i+1:]
				}
				i++
			}
		}
	}
	name, rest, named := strings.Cut(element, " ")
	if named && !strings.ContainsAny(name, "(,'") {
		return rest
	}
	return element
}

// split cuts at the commas outside of brackets and quotes.
func split(s string) []string {
	var parts []string
	depth, start, quote := 0, 0, byte(0)
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case quote != 0 && c == '\\':
			i++
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case c == '\'' || c == '`':
			quote = c
		case c == '(':
			depth++
		case c == ')':
			depth--
		case c == ',' && depth == 0:
			parts = append(parts, s[start:i])
			start = i + 1
		}
	}
	return append(parts, s[start:])
}

// keepState keeps what stands before a column's data: a low-cardinality type,
// however deep, writes its version there.
func (s *shape) keepState(r *Reader) {
	if s.kind == lowCardinality {
		r.keep(8)
		return
	}
	for _, inner := range s.inner {
		inner.keepState(r)
	}
}

// keepData keeps the data of rows values.
func (s *shape) keepData(r *Reader, rows uint64) {
	if rows == 0 || r.err != nil {
		return
	}
	switch s.kind {
	case fixed:
		if s.width != 0 && rows > maxColumnBytes/s.width {
			r.fail(errTooLong)
			return
		}
		r.keep(rows * s.width)
	case text:
		for ; rows > 0 && r.err == nil; rows-- {
			r.keep(r.keepUvarint())
		}
	case nullable:
		r.keep(rows)
		s.inner[0].keepData(r, rows)
	case array:
		if rows > maxColumnBytes/8 {
			r.fail(errTooLong)
			return
		}
		offsets := r.keep(8 * rows)
		if offsets == nil {
			return
		}
		s.inner[0].keepData(r, binary.LittleEndian.Uint64(offsets[len(offsets)-8:]))
	case tuple:
		for _, inner := range s.inner {
			inner.keepData(r, rows)
		}
	case lowCardinality:
		width := r.keepUint64() & 0xff
		if width > 3 {
			r.fail(fmt.Errorf("wire: read block: indexes of kind %d", width))
			return
		}
		s.inner[0].keepData(r, r.keepUint64())
		indexes := r.keepUint64()
		if indexes > maxColumnBytes/8 {
			r.fail(errTooLong)
			return
		}
		r.keep(indexes << width)
	}
}
