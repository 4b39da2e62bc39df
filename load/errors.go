package load

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/ClickHouse/clickhouse-go/v2"
)

// An insert fails in one of four ways. The server is overloaded, and takes the
// same rows later; it refuses a row, whenever it comes; it refuses this program,
// whatever comes; or it is not to be reached, which is also the reading of a code
// that is not known here: to try again loses nothing.

// violatedConstraint is the code of a row that a CHECK refuses.
const violatedConstraint = 469

// overloads are the codes of a server that has too much to do, or no room.
var overloads = map[int32]string{
	173: "CANNOT_ALLOCATE_MEMORY",
	201: "QUOTA_EXCEEDED",
	202: "TOO_MANY_SIMULTANEOUS_QUERIES",
	203: "NO_FREE_CONNECTION",
	241: "MEMORY_LIMIT_EXCEEDED",
	243: "NOT_ENOUGH_SPACE",
	252: "TOO_MANY_PARTS",
	692: "TOO_MANY_MUTATIONS",
	745: "SERVER_OVERLOADED",
}

// refusals are the codes of a row that no retry makes fit.
var refusals = map[int32]string{
	6:                  "CANNOT_PARSE_TEXT",
	26:                 "CANNOT_PARSE_QUOTED_STRING",
	27:                 "CANNOT_PARSE_INPUT_ASSERTION_FAILED",
	38:                 "CANNOT_PARSE_DATE",
	41:                 "CANNOT_PARSE_DATETIME",
	53:                 "TYPE_MISMATCH",
	69:                 "ARGUMENT_OUT_OF_BOUND",
	70:                 "CANNOT_CONVERT_TYPE",
	72:                 "CANNOT_PARSE_NUMBER",
	117:                "INCORRECT_DATA",
	128:                "TOO_LARGE_ARRAY_SIZE",
	131:                "TOO_LARGE_STRING_SIZE",
	153:                "ILLEGAL_DIVISION",
	169:                "BAD_TYPE_OF_FIELD",
	321:                "VALUE_IS_OUT_OF_RANGE_OF_DATA_TYPE",
	349:                "CANNOT_INSERT_NULL_IN_ORDINARY_COLUMN",
	376:                "CANNOT_PARSE_UUID",
	395:                "FUNCTION_THROW_IF_VALUE_IS_NON_ZERO",
	407:                "DECIMAL_OVERFLOW",
	441:                "CANNOT_PARSE_DOMAIN_VALUE_FROM_STRING",
	467:                "CANNOT_PARSE_BOOL",
	675:                "CANNOT_PARSE_IPV4",
	676:                "CANNOT_PARSE_IPV6",
	691:                "UNKNOWN_ELEMENT_OF_ENUM",
	violatedConstraint: "VIOLATED_CONSTRAINT",
}

// setups are the codes of a server that has no place for this program.
var setups = map[int32]string{
	16:  "NO_SUCH_COLUMN_IN_TABLE",
	60:  "UNKNOWN_TABLE",
	81:  "UNKNOWN_DATABASE",
	115: "UNKNOWN_SETTING",
	164: "READONLY",
	192: "UNKNOWN_USER",
	193: "WRONG_PASSWORD",
	194: "REQUIRED_PASSWORD",
	195: "IP_ADDRESS_NOT_ALLOWED",
	452: "SETTING_CONSTRAINT_VIOLATION",
	497: "ACCESS_DENIED",
	516: "AUTHENTICATION_FAILED",
	720: "USER_EXPIRED",
}

// A rowError is a row that the client could not write down.
type rowError struct{ err error }

func (e *rowError) Error() string { return e.err.Error() }
func (e *rowError) Unwrap() error { return e.err }

// A GivenUpError says that not even the smallest row of a dead letter is taken:
// without one its upload would have no fate.
type GivenUpError struct {
	Table     string
	Partition Partition
	Offset    int64
	Err       error
}

func (e *GivenUpError) Error() string {
	return fmt.Sprintf("load: %s refuses even the smallest row of the dead letter at %s/%d/%d, which is NULL where it can be: change the table to go on: %s",
		e.Table, e.Partition.TopicID, e.Partition.Partition, e.Offset, reasonOf(e.Err))
}

func (e *GivenUpError) Unwrap() error { return e.Err }

// IsPermanent reports whether retrying cannot heal err: the server has no place
// for this program (user, right, database, table), or refuses the smallest row.
func IsPermanent(err error) bool {
	_, last := errors.AsType[*GivenUpError](err)
	return last || hasCode(err, setups)
}

// IsOverload reports whether the server will take the same rows later.
func IsOverload(err error) bool { return hasCode(err, overloads) }

// isRefusal reports whether an insert failed for one of its rows. An expired
// lease is none: the row is taken under a new one.
func isRefusal(err error) bool {
	_, row := errors.AsType[*rowError](err)
	return row || (hasCode(err, refusals) && !isExpired(err))
}

// isExpired reports whether the sink refused a writer that came too late.
func isExpired(err error) bool {
	e, ok := errors.AsType[*clickhouse.Exception](err)
	return ok && e.Code == violatedConstraint && strings.HasPrefix(e.Message, "Constraint `live` ")
}

// isDefinite reports whether a failed insert has inserted nothing, and never will.
func isDefinite(err error) bool {
	return isRefusal(err) || isExpired(err) || hasCode(err, overloads) || hasCode(err, setups)
}

func hasCode(err error, codes map[int32]string) bool {
	e, ok := errors.AsType[*clickhouse.Exception](err)
	if !ok {
		return false
	}
	_, ok = codes[e.Code]
	return ok
}

// maxReason bounds what a dead letter says of the server's message.
const maxReason = 300

// tableUUID is what the server puts behind a table's name.
var tableUUID = regexp.MustCompile(` \([0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\)`)

// reasonOf is the server's message, shortened: no table's UUID, no version.
func reasonOf(err error) string {
	text := err.Error()
	if e, ok := errors.AsType[*clickhouse.Exception](err); ok {
		text, _, _ = strings.Cut(tableUUID.ReplaceAllString(e.Message, ""), " (version ")
	}
	text = strings.ToValidUTF8(text, "?")
	if len(text) <= maxReason {
		return text
	}
	cut := maxReason
	for !utf8.RuneStart(text[cut]) {
		cut--
	}
	return text[:cut] + "…"
}
