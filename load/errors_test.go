package load

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"strings"
	"testing"

	"github.com/ClickHouse/clickhouse-go/v2"
)

// The codes are those of the engine, and each has one meaning.
func TestCodesAreTheEngines(t *testing.T) {
	conn := fresh(t)
	seen := map[int32]string{}
	for _, codes := range []map[int32]string{overloads, refusals, setups} {
		for code, name := range codes {
			if _, twice := seen[code]; twice {
				t.Errorf("code %d has two meanings", code)
			}
			var got string
			if err := conn.QueryRow(t.Context(), "SELECT errorCodeToName(?)", code).Scan(&got); err != nil {
				t.Fatal(err)
			}
			if got != name {
				t.Errorf("code %d is %s, not %s", code, got, name)
			}
		}
		maps.Copy(seen, codes)
	}
}

func TestErrorsAreToldApart(t *testing.T) {
	exception := func(code int32, message string) error {
		return fmt.Errorf("load: insert: %w", &clickhouse.Exception{Code: code, Name: "DB::Exception", Message: message})
	}
	type verdict struct{ refusal, overload, permanent, definite bool }
	for what, c := range map[string]struct {
		err  error
		want verdict
	}{
		"a constraint":               {exception(469, "Constraint `small` for table a.uploads is violated"), verdict{refusal: true, definite: true}},
		"a constraint like live":     {exception(469, "Constraint `live ` for table a.uploads is violated"), verdict{refusal: true, definite: true}},
		"an expired lease":           {exception(469, "Constraint `live` for table a.uploads is violated"), verdict{definite: true}},
		"a row that does not fit":    {errors.Join(&rowError{errors.New("unknown element")}), verdict{refusal: true, definite: true}},
		"too many parts":             {exception(252, "Too many parts"), verdict{overload: true, definite: true}},
		"no memory":                  {exception(241, "memory limit exceeded"), verdict{overload: true, definite: true}},
		"a wrong password":           {exception(516, "Authentication failed"), verdict{permanent: true, definite: true}},
		"no such table":              {exception(60, "Table does not exist"), verdict{permanent: true, definite: true}},
		"a time limit of the server": {exception(159, "Timeout exceeded"), verdict{}},
		"a keeper that is gone":      {exception(242, "Table is in readonly mode"), verdict{}},
		"a code of the future":       {exception(9999, "?"), verdict{}},
		"a lost connection":          {io.EOF, verdict{}},
		"an end":                     {context.Canceled, verdict{}},
		"the last refusal": {
			&GivenUpError{Table: "uploads", Err: exception(469, "Constraint `none` for table")},
			verdict{refusal: true, permanent: true, definite: true},
		},
	} {
		if got := (verdict{isRefusal(c.err), IsOverload(c.err), IsPermanent(c.err), isDefinite(c.err)}); got != c.want {
			t.Errorf("%s: %+v, want %+v", what, got, c.want)
		}
	}
}

func TestReasonsAreShort(t *testing.T) {
	err := &clickhouse.Exception{Code: 469, Name: "DB::Exception", Message: "Constraint `small` for table a.uploads (3dd4ac44-9064-43b3-9bcd-19734f64b74a) is violated at row 1. (VIOLATED_CONSTRAINT) (version 26.7.2.1)"}
	if got, want := reasonOf(err), "Constraint `small` for table a.uploads is violated at row 1. (VIOLATED_CONSTRAINT)"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	got := reasonOf(&rowError{errors.New(strings.Repeat("ä", maxReason) + "\xff")})
	if len(got) > maxReason+len("…") || !strings.HasSuffix(got, "ä…") {
		t.Errorf("%d bytes: %q", len(got), got)
	}
}
