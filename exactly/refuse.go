package exactly

import (
	"errors"
	"fmt"
	"reflect"

	"github.com/lovoo/goka"
)

// refuseOptions is an option that comes after the caller's. It looks at what they
// set and refuses by name what cannot be exact. goka keeps that in fields that
// only goka can name: where another version has other fields, what they stand for
// fails later, and with less of a name.
func (a *Adapter) refuseOptions() goka.ProcessorOption {
	return reflect.MakeFunc(reflect.TypeFor[goka.ProcessorOption](), func(args []reflect.Value) []reflect.Value {
		set := args[0].Elem()
		for _, o := range []struct{ field, name string }{{"hotStandby", "goka.WithHotStandby"}, {"recoverAhead", "goka.WithRecoverAhead"}} {
			if f := set.FieldByName(o.field); f.IsValid() && f.Kind() == reflect.Bool && f.Bool() {
				a.refuse(fmt.Errorf("%s is not supported: tables are opened for partitions that are assigned, and for no others", o.name))
			}
		}
		f := set.FieldByName("contextWrapper")
		if !f.IsValid() || f.Type() != reflect.TypeFor[goka.ContextWrapper]() {
			return nil
		}
		wrapper := reflect.NewAt(f.Type(), f.Addr().UnsafePointer()).Interface().(*goka.ContextWrapper)
		if theirs := *wrapper; theirs != nil {
			*wrapper = func(ctx goka.Context) goka.Context { return theirs(exactContext{ctx}) }
		}
		return nil
	}).Interface().(goka.ProcessorOption)
}

// refuse remembers the first option that is refused; prepare returns it.
func (a *Adapter) refuse(err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.refused == nil {
		a.refused = err
	}
}

// gokaContext has another name than goka's, whose method Context it would hide.
type gokaContext = goka.Context

// exactContext is goka's context without what cannot be exact.
type exactContext struct{ gokaContext }

// errDeferCommit says why. A record that is not settled holds its whole
// transaction, and what is done for it meanwhile cannot be taken back.
var errDeferCommit = errors.New("exactly: goka.Context.DeferCommit is not supported: a transaction holds whole callbacks (see Config.Prepare for work side by side)")

// DeferCommit ends the callback, and the processor.
func (c exactContext) DeferCommit() func(error) {
	c.Fail(errDeferCommit)
	return func(error) {} // A session that has ended anyway fails no callback.
}
