package main

import (
	"errors"
	"strings"
	"testing"

	"github.com/ClickHouse/clickhouse-go/v2"
)

func TestPassword(t *testing.T) {
	server := start(t, t.TempDir(), "secret")
	if n := number(t, connect(t, server, "secret"), "SELECT 42"); n != 42 {
		t.Errorf("got %d", n)
	}
	for _, wrong := range []string{"", "Secret", "secret "} {
		err := connect(t, server, wrong).Ping(within(t))
		if code(err) != 516 || !strings.Contains(err.Error(), "Authentication failed") {
			t.Errorf("password %q: %v", wrong, err)
		}
	}
	other := connect(t, server, "secret", func(o *clickhouse.Options) { o.Auth.Username = "somebody" })
	if err := other.Ping(within(t)); code(err) != 516 {
		t.Errorf("an unknown user: %v", err)
	}
}

// refused are statements that fail, with the codes by which ClickHouse tells
// why.
var refused = map[string]int32{
	"SELEC 1":                                 62, // SYNTAX_ERROR
	"SELECT 1; SELECT 2":                      62, // One statement at a time.
	"INSERT INTO kept ( ":                     62, // And no end of the process.
	"INSERT INTO kept nonsense":               62,
	"SELECT * FROM nowhere":                   60,  // UNKNOWN_TABLE
	"SELECT m FROM kept":                      47,  // UNKNOWN_IDENTIFIER
	"SELECT nonsense(1)":                      46,  // UNKNOWN_FUNCTION
	"SELECT 1 + 'a'":                          43,  // ILLEGAL_TYPE_OF_ARGUMENT
	"SELECT [1, 'a']":                         386, // NO_COMMON_TYPE
	"SELECT toUInt8('x')":                     6,   // CANNOT_PARSE_TEXT
	"SELECT intDiv(1, 0)":                     153, // ILLEGAL_DIVISION
	"INSERT INTO kept VALUES (10)":            469, // VIOLATED_CONSTRAINT
	"INSERT INTO kept SELECT 10":              469,
	"INSERT INTO nowhere VALUES (1)":          60,
	"CREATE TABLE kept (n UInt8)":             57,  // TABLE_ALREADY_EXISTS
	"SELECT throwIf(1, 'stop it')":            395, // FUNCTION_THROW_IF_VALUE_IS_NON_ZERO
	"DROP DATABASE default":                   392, // QUERY_IS_PROHIBITED
	"DETACH DATABASE IF EXISTS `default`":     392,
	"SELECT 1 FORMAT Nonsense SETTINGS x = 1": 115, // UNKNOWN_SETTING
}

// What is wrong with a statement is told by ClickHouse's own codes, and the
// connection goes on.
func TestServerSideErrors(t *testing.T) {
	server := start(t, t.TempDir(), "")
	conn, r := connect(t, server, ""), greet(t, server)
	must(t, conn.Exec(within(t), "CREATE TABLE kept (n UInt8, CONSTRAINT small CHECK n < 10) ENGINE = MergeTree ORDER BY n"))
	for statement, want := range refused {
		if err := conn.Exec(within(t), statement); code(err) != want {
			t.Errorf("%s: %v, want code %d", statement, err, want)
		}
		if n := number(t, conn, "SELECT 7"); n != 7 {
			t.Fatalf("after %s: %d", statement, n)
		}
		r.send(queryPacket(statement)) // This client never connects again.
		if got := r.reply(); got.code != want || !strings.HasPrefix(got.message, "DB::Exception: ") {
			t.Errorf("%s: %+v, want code %d", statement, got, want)
		}
		r.ping()
	}
	if n := number(t, conn, "SELECT count() FROM kept"); n != 0 {
		t.Errorf("%d refused rows were kept", n)
	}
	unknown := connect(t, server, "", func(o *clickhouse.Options) { o.Auth.Database = "nowhere" })
	if err := unknown.Ping(within(t)); code(err) != 81 { // UNKNOWN_DATABASE
		t.Errorf("an unknown database: %v", err)
	}
}

// An error behind the first rows is not taken for the end.
func TestErrorInMidStream(t *testing.T) {
	conn := connect(t, start(t, t.TempDir(), ""), "")
	rows, err := conn.Query(within(t), "SELECT throwIf(number = 3000000, 'too far') FROM numbers(10000000) SETTINGS max_block_size = 1000")
	must(t, err)
	read := 0
	for rows.Next() {
		read++
	}
	if err := errors.Join(rows.Err(), rows.Close()); code(err) != 395 || !strings.Contains(err.Error(), "too far") {
		t.Errorf("after %d rows: %v", read, err)
	}
	if n := number(t, conn, "SELECT 7"); n != 7 {
		t.Errorf("the next statement gave %d", n)
	}
}
