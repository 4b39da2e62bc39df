package chaos

import (
	"slices"
	"strings"
	"testing"

	"github.com/tintype/tintype/exactly"
)

// good is a run in which all struck and nothing differs.
func good(delivery exactly.Delivery) *Result {
	r := &Result{
		Delivery: delivery, Planned: map[Kind]int{}, Faults: map[Kind]int{}, Hits: Hits{Kills: 4, Open: 1, InFlight: 2, Either: 2},
		Recount: &Recount{Uploads: 100}, AuditOK: true, Windows: &WindowsCount{Windows: 9, Late: 3}, VerifyOK: true,
	}
	for _, kind := range Kinds() {
		r.Planned[kind], r.Faults[kind] = 1, 1
	}
	return r
}

// Each way to fail fails, for the deliveries whose promise it breaks.
func TestFailures(t *testing.T) {
	all := []exactly.Delivery{exactly.ExactlyOnce, exactly.AtLeastOnce, exactly.AtMostOnce}
	for _, delivery := range all {
		if failures := good(delivery).Failures(); len(failures) != 0 {
			t.Errorf("%s: a good run fails: %q", delivery, failures)
		}
	}
	exact, least, most := all[:1], []exactly.Delivery{exactly.ExactlyOnce, exactly.AtLeastOnce}, []exactly.Delivery{exactly.ExactlyOnce, exactly.AtMostOnce}
	for name, c := range map[string]struct {
		spoil   func(*Result)
		breaks  []exactly.Delivery
		message string
	}{
		"fate missing":  {func(r *Result) { r.Recount.FatesMissing = 1 }, least, "fates missing: 1"},
		"row missing":   {func(r *Result) { r.Recount.RowsMissing = 2 }, least, "rows missing: 2"},
		"fate twice":    {func(r *Result) { r.Recount.FatesTwice = 3 }, most, "fates twice: 3"},
		"row twice":     {func(r *Result) { r.Recount.RowsTwice = 4 }, most, "rows twice: 4"},
		"fate invented": {func(r *Result) { r.Recount.FatesInvented = 1 }, all, "fates without an upload: 1"},
		"row invented":  {func(r *Result) { r.Recount.RowsInvented = 1 }, all, "rows without an upload: 1"},
		"table differs": {func(r *Result) { r.Recount.Others = []string{"a table differs"} }, exact, "a table differs"},
		"audit":         {func(r *Result) { r.AuditOK = false }, exact, "audit"},
		"verify":        {func(r *Result) { r.VerifyOK = false }, exact, "verify"},
		"windows":       {func(r *Result) { r.Windows.Wrong = 2 }, exact, "windows that count something else: 2"},
		"no windows":    {func(r *Result) { r.Windows.Windows = 0 }, exact, "no window"},
		"left out":      {func(r *Result) { r.Windows.LeftOut = 1 }, exact, "left out that are not late: 1"},
		"trouble":       {func(r *Result) { r.Troubles = []string{"worker 1 ended by itself"} }, all, "worker 1 ended"},
		"few hits":      {func(r *Result) { r.Hits.Kills = 5 }, exact, "of 5 kills only 2"},
		"no strike":     {func(r *Result) { r.Faults[Slow] = 0 }, all, "slow records: struck 0 times of 1"},
	} {
		for _, delivery := range all {
			r := good(delivery)
			c.spoil(r)
			failures := r.Failures()
			told := slices.ContainsFunc(failures, func(text string) bool { return strings.Contains(text, c.message) })
			if want := slices.Contains(c.breaks, delivery); told != want || len(failures) > 0 != want {
				t.Errorf("%s, %s: %q", name, delivery, failures)
			}
		}
	}
}

// A comparison tells nothing where the weaker deliveries lose and double nothing.
func TestTellApart(t *testing.T) {
	results := []*Result{good(exactly.AtMostOnce), good(exactly.AtLeastOnce), good(exactly.ExactlyOnce)}
	if failures := TellApart(results); len(failures) != 2 {
		t.Errorf("three runs alike: %q", failures)
	}
	results[0].Recount.FatesMissing, results[1].Recount.RowsTwice = 1, 1
	if failures := TellApart(results); len(failures) != 0 {
		t.Errorf("three runs that differ: %q", failures)
	}
}
