package engine

import (
	"strings"
	"testing"
)

// The code and the text of an exception are found in what the library says.
func TestParseError(t *testing.T) {
	for said, want := range map[string]Error{
		"Code: 62. DB::Exception: Syntax error. (SYNTAX_ERROR)":             {62, "Syntax error. (SYNTAX_ERROR)"},
		"Error: Code: 395. DB::Exception: two\nlines. (X)\n":                {395, "two\nlines. (X)"},
		"Code: 60. DB::Exception: of Code: 61. DB::Exception: another. (X)": {60, "of Code: 61. DB::Exception: another. (X)"},
		"Code: 99999999999. DB::Exception: no such code":                    {unknownException, "no such code"},
		"std::bad_alloc":                       {unknownException, "std::bad_alloc"},
		"Code: -1. DB::Exception: no such one": {unknownException, "Code: -1. DB::Exception: no such one"},
	} {
		got := parseError(said)
		if *got != want {
			t.Errorf("%q: %+v, want %+v", said, *got, want)
		}
		if text := got.Error(); !strings.HasPrefix(text, "Code: ") || !strings.HasSuffix(text, "DB::Exception: "+want.Message) {
			t.Errorf("%q reads %q", said, text)
		}
	}
}
