package exactly

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/lovoo/goka"
	"github.com/lovoo/goka/codec"
	"github.com/lovoo/goka/storage"
	"github.com/twmb/franz-go/pkg/kgo"
)

// rec makes a record; a value of "<null>" is none, and headers are name=value.
func rec(key, value string, headers ...string) *kgo.Record {
	r := &kgo.Record{Key: []byte(key), Value: []byte(value)}
	if value == "<null>" {
		r.Value = nil
	}
	for _, h := range headers {
		name, v, _ := strings.Cut(h, "=")
		r.Headers = append(r.Headers, kgo.RecordHeader{Key: name, Value: []byte(v)})
	}
	return r
}

// records makes n records over seven keys, numbered from first.
func records(first, n int) []*kgo.Record {
	var list []*kgo.Record
	for i := range n {
		list = append(list, rec(fmt.Sprintf("key-%d", (first+i)%7), strconv.Itoa(first+i)))
	}
	return list
}

// one is the input of a case that runs once.
func one(list ...*kgo.Record) []map[string][]*kgo.Record {
	return []map[string][]*kgo.Record{{"in": list}}
}

// nulls is a codec that tells no value from an empty one.
type nulls struct{}

func (nulls) Encode(value any) ([]byte, error) { return []byte(value.(string)), nil }

func (nulls) Decode(data []byte) (any, error) {
	if data == nil {
		return "no value", nil
	}
	return string(data), nil
}

// picky is a codec that fails for what is bad.
type picky struct{ codec.String }

func (p picky) Decode(data []byte) (any, error) {
	if string(data) == "bad" {
		return nil, errors.New("picky: refused")
	}
	return p.String.Decode(data)
}

func (p picky) Encode(value any) ([]byte, error) {
	if value == "bad" {
		return nil, errors.New("picky: cannot be written")
	}
	return p.String.Encode(value)
}

func headersOf(h goka.Headers) string {
	var list []string
	for name, value := range h {
		list = append(list, name+"="+string(value))
	}
	slices.Sort(list)
	return strings.Join(list, ",")
}

// TestConformanceEmits: what a callback is told, and all that it can emit.
func TestConformanceEmits(t *testing.T) {
	t.Parallel()
	left := conform(t, conformance{
		outputs: []string{"out", "more"},
		options: []goka.ProcessorOption{goka.WithProducerDefaultHeaders(goka.Headers{"by": []byte("default"), "also": []byte("1")})},
		graph: func(s *side) *goka.GroupGraph {
			return goka.DefineGroup(s.group,
				goka.Input(s.stream("in"), new(codec.String), func(ctx goka.Context, value any) {
					if ctx.Group() != s.group || ctx.Topic() != s.stream("in") || ctx.Context().Err() != nil {
						ctx.Fail(fmt.Errorf("group %s, topic %s, %w", ctx.Group(), ctx.Topic(), ctx.Context().Err()))
					}
					ctx.Emit(s.stream("out"), ctx.Key(), fmt.Sprintf("%v at %d/%d of %d with %s", value, ctx.Partition(), ctx.Offset(),
						ctx.Timestamp().UnixMilli(), headersOf(ctx.Headers())))
					ctx.Emit(s.stream("out"), ctx.Key(), "again", goka.WithCtxEmitHeaders(goka.Headers{"by": []byte("callback"), "empty": {}}))
					ctx.Emit(s.stream("more"), "other-"+ctx.Key(), value)
					ctx.Emit(s.stream("more"), ctx.Key(), "")
					ctx.Emit(s.stream("more"), ctx.Key(), nil)
				}),
				goka.Output(s.stream("out"), new(codec.String)), goka.Output(s.stream("more"), new(codec.String)),
			)
		},
		inputs: []map[string][]*kgo.Record{
			{"in": append(records(0, 30), rec("h", "v", "a=1", "b=", "a=2"), rec("", "no key"), rec("e", ""))},
			{"in": records(30, 10)},
		},
	})
	if got := left.outputs["out"]["h"]; len(got) != 2 || !strings.HasSuffix(got[0].Value, "with a=2,b=") || got[1].Headers != "also=1 by=callback empty=" {
		t.Errorf("%+v", got)
	}
	if got := left.outputs["more"]["e"]; len(got) != 2 || got[0].Value != "" || got[1].Value != "<null>" {
		t.Errorf("%+v", got)
	}
}

// TestConformanceTable: the group table, with tombstones, over restarts with the
// state directory and without.
func TestConformanceTable(t *testing.T) {
	t.Parallel()
	run := func(first int) map[string][]*kgo.Record {
		return map[string][]*kgo.Record{"in": append(records(first, 40),
			rec("gone", "set"), rec("gone", "delete"), rec("back", "set"), rec("back", "delete"), rec("back", strconv.Itoa(first)),
			rec("never", "delete"))}
	}
	left := conform(t, conformance{
		outputs: []string{"out"},
		graph: func(s *side) *goka.GroupGraph {
			return goka.DefineGroup(s.group,
				goka.Input(s.stream("in"), new(codec.String), func(ctx goka.Context, value any) {
					before := ctx.Value()
					switch value {
					case "delete":
						ctx.Delete(goka.WithCtxEmitHeaders(goka.Headers{"why": []byte("asked")}))
					default:
						ctx.SetValue("overwritten")
						ctx.SetValue(fmt.Sprintf("%v,%v", ctx.Value(), value), goka.WithCtxEmitHeaders(goka.Headers{"h": []byte("1")}))
					}
					ctx.Emit(s.stream("out"), ctx.Key(), fmt.Sprintf("%v -> %v", before, ctx.Value()))
				}),
				goka.Output(s.stream("out"), new(codec.String)), goka.Persist(new(codec.String)),
			)
		},
		inputs: []map[string][]*kgo.Record{run(0), run(40), run(80), run(120)},
	})
	table := left.changelog["table"]
	if table["gone"].Value != "<null>" || table["gone"].Headers != "why=asked" || table["never"].Value != "<null>" ||
		table["back"].Value != "overwritten,120" || table["key-0"].Headers != "h=1" {
		t.Errorf("%+v", table)
	}
	if got := left.outputs["out"]["gone"]; len(got) != 8 || got[2].Value != "<nil> -> overwritten,set" || got[3].Value != "overwritten,set -> <nil>" {
		t.Errorf("%+v", got)
	}
}

// TestConformanceLoop: records that a processor sends to itself, under other
// keys, with headers, and with state on the way.
func TestConformanceLoop(t *testing.T) {
	t.Parallel()
	left := conform(t, conformance{
		outputs: []string{"out"},
		graph: func(s *side) *goka.GroupGraph {
			return goka.DefineGroup(s.group,
				goka.Input(s.stream("in"), new(codec.String), func(ctx goka.Context, value any) {
					ctx.Loopback("loop-"+ctx.Key(), "3", goka.WithCtxEmitHeaders(goka.Headers{"of": fmt.Append(nil, value)}))
				}),
				goka.Loop(new(codec.String), func(ctx goka.Context, value any) {
					n, err := strconv.Atoi(value.(string))
					if err != nil {
						ctx.Fail(err)
					}
					seen, _ := ctx.Value().(int64)
					ctx.SetValue(seen + 1)
					if n > 0 {
						ctx.Loopback(ctx.Key(), strconv.Itoa(n-1), goka.WithCtxEmitHeaders(ctx.Headers()))
						return
					}
					ctx.Emit(s.stream("out"), ctx.Key()+string(ctx.Headers()["of"]), "came back")
				}),
				goka.Output(s.stream("out"), new(codec.String)), goka.Persist(new(codec.Int64)),
			)
		},
		inputs: []map[string][]*kgo.Record{{"in": records(0, 40)}, {"in": records(40, 20)}},
	})
	if len(left.outputs["out"]) != 60 || left.changelog["table"]["loop-key-3"].Value != "36" {
		t.Errorf("%d came back, the table has %+v", len(left.outputs["out"]), left.changelog["table"])
	}
}

// TestConformanceTables: join tables and lookup tables, written by another
// program and by another group of the same side.
func TestConformanceTables(t *testing.T) {
	t.Parallel()
	var facts, names []*kgo.Record
	for i := range 7 {
		facts = append(facts, rec(fmt.Sprintf("key-%d", i), fmt.Sprintf("fact %d", i)))
		names = append(names, rec(fmt.Sprintf("name-%d", i), fmt.Sprintf("old %d", i)), rec(fmt.Sprintf("name-%d", i), fmt.Sprintf("name %d", i)))
	}
	facts = append(facts, rec("key-2", "<null>"))
	names = append(names, rec("name-3", "<null>"))
	earlier := func(s *side) goka.Table { return goka.GroupTable(s.group + "-before") }
	left := conform(t, conformance{
		outputs: []string{"out"},
		tables:  map[string][]*kgo.Record{"facts": facts, "names": names},
		before: func(s *side) *goka.GroupGraph {
			return goka.DefineGroup(s.group,
				goka.Input(s.stream("events"), new(codec.String), func(ctx goka.Context, value any) {
					if value == "delete" {
						ctx.Delete()
						return
					}
					n, _ := ctx.Value().(int64)
					ctx.SetValue(n + 1)
				}), goka.Persist(new(codec.Int64)))
		},
		graph: func(s *side) *goka.GroupGraph {
			return goka.DefineGroup(s.group,
				goka.Input(s.stream("in"), new(codec.String), func(ctx goka.Context, value any) {
					ctx.Emit(s.stream("out"), ctx.Key(), fmt.Sprintf("%v: %v, %v, %v, %v", value, ctx.Join(s.table("facts")), ctx.Join(earlier(s)),
						ctx.Lookup(s.table("names"), "name"+strings.TrimPrefix(ctx.Key(), "key")), ctx.Lookup(s.table("names"), "nobody")))
				}),
				goka.Join(s.table("facts"), new(codec.String)), goka.Join(earlier(s), new(codec.Int64)), goka.Lookup(s.table("names"), new(codec.String)),
				goka.Output(s.stream("out"), new(codec.String)),
			)
		},
		inputs: []map[string][]*kgo.Record{
			{"in": records(0, 21), "events": append(records(0, 50), rec("key-5", "delete"))},
			{"in": records(21, 7)},
			{"in": records(28, 7)},
		},
	})
	for key, want := range map[string]string{
		"key-1": "1: fact 1, 7, name 1, <nil>", "key-2": "2: <nil>, 7, name 2, <nil>", "key-3": "3: fact 3, 7, <nil>, <nil>", "key-5": "5: fact 5, <nil>, name 5, <nil>",
	} {
		if got := left.outputs["out"][key]; len(got) != 5 || got[0].Value != want {
			t.Errorf("%s: %+v, want %s", key, got, want)
		}
	}
}

// TestConformanceLookupOfAGroupsTable: a lookup table that a group wrote, by
// transactions on one side.
func TestConformanceLookupOfAGroupsTable(t *testing.T) {
	t.Parallel()
	left := conform(t, conformance{
		outputs: []string{"out"},
		before: func(s *side) *goka.GroupGraph {
			return goka.DefineGroup(s.group,
				goka.Input(s.stream("events"), new(codec.String), func(ctx goka.Context, value any) { ctx.SetValue(value) }), goka.Persist(new(codec.String)))
		},
		graph: func(s *side) *goka.GroupGraph {
			table := goka.GroupTable(s.group + "-before")
			return goka.DefineGroup(s.group,
				goka.Input(s.stream("in"), new(codec.String), func(ctx goka.Context, value any) {
					ctx.Emit(s.stream("out"), ctx.Key(), fmt.Sprint(ctx.Lookup(table, value.(string))))
				}),
				goka.Lookup(table, new(codec.String)), goka.Output(s.stream("out"), new(codec.String)),
			)
		},
		inputs: []map[string][]*kgo.Record{{"in": {rec("a", "key-1"), rec("b", "key-6"), rec("c", "none")}, "events": records(0, 30)}},
	})
	if a, c := left.outputs["out"]["a"], left.outputs["out"]["c"]; len(a) != 1 || a[0].Value != "29" || len(c) != 1 || c[0].Value != "<nil>" {
		t.Errorf("%+v, %+v", a, c)
	}
}

// TestConformanceNulls: what goka does with records that have no value.
func TestConformanceNulls(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name     string
		handling goka.NilHandling
		want     string
	}{{"ignored", goka.NilIgnore, "[ value]"}, {"processed", goka.NilProcess, "[<nil>  value]"}, {"decoded", goka.NilDecode, "[no value  value]"}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			left := conform(t, conformance{
				outputs: []string{"out"},
				options: []goka.ProcessorOption{goka.WithNilHandling(c.handling)},
				graph: func(s *side) *goka.GroupGraph {
					return goka.DefineGroup(s.group,
						goka.Input(s.stream("in"), nulls{}, func(ctx goka.Context, value any) { ctx.Emit(s.stream("out"), ctx.Key(), fmt.Sprint(value)) }),
						goka.Output(s.stream("out"), new(codec.String)))
				},
				inputs: one(rec("k", "<null>"), rec("k", ""), rec("k", "value")),
			})
			var values []string
			for _, r := range left.outputs["out"]["k"] {
				values = append(values, r.Value)
			}
			if got := fmt.Sprint(values); got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
		})
	}
}

// TestConformanceInputs: several inputs with codecs of their own, which share a
// table, and the option that routes keys as goka does by default.
func TestConformanceInputs(t *testing.T) {
	t.Parallel()
	left := conform(t, conformance{
		outputs: []string{"out"},
		hasher:  goka.DefaultHasher(),
		options: []goka.ProcessorOption{goka.WithUpdateCallback(func(_ goka.UpdateContext, st storage.Storage, key string, value []byte) error {
			return st.Set(key, append([]byte("1"), value...)) // The first digit of what is recovered.
		})},
		graph: func(s *side) *goka.GroupGraph {
			count := func(ctx goka.Context, by int64) {
				n, _ := ctx.Value().(int64)
				ctx.SetValue(n + by)
			}
			return goka.DefineGroup(s.group,
				goka.Input(s.stream("in"), new(codec.String), func(ctx goka.Context, _ any) { count(ctx, 1) }),
				goka.Input(s.stream("numbers"), new(codec.Int64), func(ctx goka.Context, value any) { count(ctx, value.(int64)) }),
				goka.Inputs(goka.Streams{s.stream("a"), s.stream("b")}, new(codec.Bytes), func(ctx goka.Context, value any) {
					ctx.Emit(s.stream("out"), string(value.([]byte)), ctx.Key())
				}),
				goka.Output(s.stream("out"), new(codec.String)), goka.Persist(new(codec.Int64)),
			)
		},
		inputs: []map[string][]*kgo.Record{
			{"in": records(0, 21), "numbers": {rec("key-1", "10"), rec("key-2", "-3")}, "a": records(0, 5), "b": records(5, 5)},
			{"in": records(0, 0), "numbers": {rec("key-1", "10")}, "a": nil, "b": nil},
			{"in": records(0, 7), "numbers": {rec("key-2", "5")}, "a": nil, "b": records(10, 3)}, // With an empty directory: recovered anew.
		},
	})
	if table := left.changelog["table"]; table["key-1"].Value != "124" || table["key-0"].Value != "14" {
		t.Errorf("%+v", table)
	}
}

// TestConformanceWrappers: goka's own hooks work as they do on stock goka.
func TestConformanceWrappers(t *testing.T) {
	t.Parallel()
	conform(t, conformance{
		outputs: []string{"out"},
		options: []goka.ProcessorOption{goka.WithContextWrapper(func(ctx goka.Context) goka.Context { return shouting{ctx} })},
		graph: func(s *side) *goka.GroupGraph {
			return goka.DefineGroup(s.group,
				goka.Input(s.stream("in"), new(codec.String), func(ctx goka.Context, value any) { ctx.Emit(s.stream("out"), ctx.Key(), value) }),
				goka.Output(s.stream("out"), new(codec.String)))
		},
		inputs: one(records(0, 20)...),
	})
}

// shouting is a context that changes what is emitted.
type shouting struct{ wrapped }

// wrapped has another name than goka's, which has a method of its own name.
type wrapped = goka.Context

func (s shouting) Emit(topic goka.Stream, key string, value any, options ...goka.ContextOption) {
	s.wrapped.Emit(topic, key, fmt.Sprint(value, "!"), options...)
}

// TestConformanceFailures: what ends a processor on stock goka ends it here, with
// the same reason, and commits nothing past the record.
func TestConformanceFailures(t *testing.T) {
	t.Parallel()
	table := func(s *side) goka.Edge { return goka.Persist(picky{}) }
	for _, c := range []struct {
		name, why string
		value     string
		edges     []func(s *side) goka.Edge
		callback  func(s *side, ctx goka.Context, value any)
	}{
		{name: "decode", value: "bad", why: "picky: refused"},
		{name: "panic", why: "in the middle", callback: func(*side, goka.Context, any) { panic("in the middle") }},
		{name: "fail", why: "on purpose", callback: func(_ *side, ctx goka.Context, _ any) { ctx.Fail(errors.New("on purpose")) }},
		{name: "encode", why: "picky: cannot be written", callback: func(s *side, ctx goka.Context, _ any) { ctx.Emit(s.stream("out"), "k", "bad") }},
		{name: "undeclared", why: "is not configured for output", callback: func(_ *side, ctx goka.Context, v any) { ctx.Emit("elsewhere", "k", v) }},
		{name: "own table", why: "cannot emit to table topic", callback: func(s *side, ctx goka.Context, v any) {
			ctx.Emit(goka.Stream(goka.GroupTable(s.group)), "k", v)
		}, edges: []func(*side) goka.Edge{table}},
		{name: "no table", why: "Cannot access state in stateless processor", callback: func(_ *side, ctx goka.Context, v any) { ctx.SetValue(v) }},
		{name: "no loop", why: "no loop topic configured", callback: func(_ *side, ctx goka.Context, v any) { ctx.Loopback("k", v) }},
		{name: "no join", why: "table nothing not subscribed", callback: func(_ *side, ctx goka.Context, _ any) { ctx.Join("nothing") }},
		{name: "no lookup", why: "topic nothing not subscribed", callback: func(_ *side, ctx goka.Context, _ any) { ctx.Lookup("nothing", "k") }},
		{name: "nil value", why: "cannot set nil as value", callback: func(_ *side, ctx goka.Context, _ any) { ctx.SetValue(nil) }, edges: []func(*side) goka.Edge{table}},
		{name: "encode state", why: "picky: cannot be written", callback: func(_ *side, ctx goka.Context, _ any) { ctx.SetValue("bad") }, edges: []func(*side) goka.Edge{table}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			value := c.value
			if value == "" {
				value = "v"
			}
			fails(t, conformance{
				outputs: []string{"out"},
				graph: func(s *side) *goka.GroupGraph {
					edges := []goka.Edge{
						goka.Input(s.stream("in"), picky{}, func(ctx goka.Context, value any) {
							ctx.Emit(s.stream("out"), "k", "before")
							if c.callback != nil {
								c.callback(s, ctx, value)
							}
						}),
						goka.Output(s.stream("out"), picky{}),
					}
					for _, edge := range c.edges {
						edges = append(edges, edge(s))
					}
					return goka.DefineGroup(s.group, edges...)
				},
				inputs: one(rec("k", value)),
			}, c.why)
		})
	}
}
