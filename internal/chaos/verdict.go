package chaos

import (
	"encoding/json"
	"fmt"

	"github.com/tintype/tintype/exactly"
)

// A Result is how a run ended.
type Result struct {
	Seed     uint64           `json:"seed"`
	Delivery exactly.Delivery `json:"delivery"`
	// Planned and Faults count what was to strike, and what did.
	Planned map[Kind]int `json:"planned"`
	Faults  map[Kind]int `json:"faults"`
	Hits    Hits         `json:"hits"`
	// Acked uploads are in the ledger; Unknown ones got no definite answer.
	Acked   int      `json:"acked"`
	Unknown int      `json:"unknown"`
	Recount *Recount `json:"recount"`
	// Audit is what tintype audit said, AuditOK its exit code.
	Audit   json.RawMessage `json:"audit,omitempty"`
	AuditOK bool            `json:"audit_ok"`
	// Windows is how the windows compare with a count by hand; Verify is what tintype
	// verify said of them, VerifyOK its exit code.
	Windows  *WindowsCount   `json:"windows"`
	Verify   json.RawMessage `json:"verify,omitempty"`
	VerifyOK bool            `json:"verify_ok"`
	// Troubles are what should not have happened: processes that ended by
	// themselves, acked uploads that the log does not have, stages that did not
	// come to their end.
	Troubles []string `json:"troubles"`
}

// Failures says why a run failed: what the delivery promises was not kept, or the
// run proves nothing, for its faults did not strike or hit nothing.
func (r *Result) Failures() []string {
	failures := append([]string{}, r.Troubles...)
	fail := func(format string, args ...any) { failures = append(failures, fmt.Sprintf(format, args...)) }
	zero := func(what string, n int) {
		if n != 0 {
			fail("%s: %d, should be 0", what, n)
		}
	}
	if r.Delivery != exactly.AtMostOnce {
		zero("fates missing", r.Recount.FatesMissing)
		zero("rows missing", r.Recount.RowsMissing)
	}
	if r.Delivery != exactly.AtLeastOnce {
		zero("fates twice", r.Recount.FatesTwice)
		zero("rows twice", r.Recount.RowsTwice)
	}
	zero("fates without an upload", r.Recount.FatesInvented)
	zero("rows without an upload", r.Recount.RowsInvented)
	if r.Delivery == exactly.ExactlyOnce {
		failures = append(failures, r.Recount.Others...)
		if !r.AuditOK {
			fail("tintype audit proves nothing")
		}
		if !r.VerifyOK {
			fail("tintype verify proves nothing")
		}
		failures = append(failures, r.Windows.failures()...)
	}
	// Without transactions there is less to hit, and the promise shows what was.
	if r.Delivery == exactly.ExactlyOnce && 2*r.Hits.Either < r.Hits.Kills {
		fail("of %d kills only %d hit an open transaction or an insert in flight", r.Hits.Kills, r.Hits.Either)
	}
	for _, kind := range Kinds() {
		if got, want := r.Faults[kind], r.Planned[kind]; got < want {
			fail("%s: struck %d times of %d", kind, got, want)
		}
	}
	return failures
}

// TellApart says what a comparison of deliveries lacks to show that they differ:
// without it the recount might see nothing at all.
func TellApart(results []*Result) []string {
	var failures []string
	for _, r := range results {
		switch {
		case r.Delivery == exactly.AtLeastOnce && r.Recount.FatesTwice+r.Recount.RowsTwice == 0:
			failures = append(failures, "at-least-once: nothing is there twice, so the faults tell nothing of exactly-once")
		case r.Delivery == exactly.AtMostOnce && r.Recount.FatesMissing+r.Recount.RowsMissing == 0:
			failures = append(failures, "at-most-once: nothing is missing, so the faults tell nothing of exactly-once")
		}
	}
	return failures
}
