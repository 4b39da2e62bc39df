// Package statement looks at the outside of a SQL statement: what it begins
// with, and where an INSERT's table, columns, settings and format stand. The
// engine does the parsing; this is what a server must know before it.
package statement

import (
	"slices"
	"strings"
)

// A Statement is what is known of one.
type Statement struct {
	// Verb is the first word, in upper case.
	Verb string
	// Format is what the FORMAT clause names, "" without one.
	Format string
	// Text is the statement without its FORMAT clause and what follows it.
	Text string
	// Insert is set for an INSERT whose data comes apart from it.
	Insert *Insert
	// Inline is data that stands behind FORMAT in the statement itself.
	Inline string
}

// An Insert is the outside of an INSERT.
type Insert struct {
	// Target is "TABLE name", or a table function.
	Target string
	// Columns are the named ones, "" without a list.
	Columns string
}

// Parse looks at a statement.
func Parse(sql string) Statement {
	sql = strings.TrimSpace(sql)
	var found []word
	s := Statement{}
	for w := range words(sql) {
		found = append(found, w)
		if len(found) == 1 {
			s.Verb = strings.ToUpper(w.text)
		}
		if s.Verb == "INSERT" && beginsData(found) {
			break // What follows is not SQL, and may be long.
		}
	}
	if s.Verb == "INSERT" {
		s.parseInsert(sql, found)
		return s
	}
	s.Text = strings.TrimRight(sql, "; \t\r\n")
	if s.Verb == "WITH" && slices.ContainsFunc(found, is("INSERT")) {
		s.Verb = "INSERT" // WITH … INSERT … SELECT answers nothing.
	}
	if !s.ReturnsRows() {
		return s // In ALTER TABLE … ADD COLUMN format String it is a name.
	}
	for len(found) > 0 && found[len(found)-1].text == ";" {
		found = found[:len(found)-1]
	}
	for i := 1; i < len(found)-1; i++ {
		w, name := found[i], found[i+1]
		if is("FORMAT")(w) && isName(name.text) && !wantsOperand(found[i-1].text) && (i+2 == len(found) || is("SETTINGS")(found[i+2])) {
			s.Format = name.text
			s.Text = strings.TrimSpace(sql[:w.start] + sql[name.end:found[len(found)-1].end])
			break
		}
	}
	return s
}

func is(keyword string) func(word) bool {
	return func(w word) bool { return strings.EqualFold(w.text, keyword) }
}

// beginsData reports whether the data of an INSERT, or its SELECT, follows.
func beginsData(found []word) bool {
	n := len(found)
	if n < 3 {
		return false
	}
	// A table may be called values, or format.
	named := func(at int) bool {
		before := found[at-1]
		return before.text == "." || is("INTO")(before) || is("TABLE")(before)
	}
	last := found[n-1]
	return is("VALUES")(last) && !named(n-1) || is("SELECT")(last) || is("WITH")(last) ||
		is("FORMAT")(found[n-2]) && !named(n-2) && isName(last.text)
}

// wantsOperand reports whether a name follows a word: FORMAT is one there, as in
// ORDER BY format DESC.
func wantsOperand(before string) bool {
	switch strings.ToUpper(before) {
	case "SELECT", "DISTINCT", "BY", "WHERE", "PREWHERE", "HAVING", "QUALIFY", "AND", "OR", "NOT", "AS", "FROM", "JOIN", "ON", "USING",
		"IN", "LIKE", "ILIKE", "BETWEEN", "CASE", "WHEN", "THEN", "ELSE", "INTERVAL", "LIMIT", "OFFSET", "TABLE", "DATABASE":
		return true
	}
	return len(before) == 1 && strings.Contains(",.([{=<>+-/%|:!?", before)
}

// ReturnsRows reports whether the statement has an answer of rows.
func (s Statement) ReturnsRows() bool {
	switch s.Verb {
	case "SELECT", "WITH", "SHOW", "DESCRIBE", "DESC", "EXISTS", "EXPLAIN", "CHECK", "FROM", "VALUES":
		return true
	}
	return strings.HasPrefix(s.Text, "(")
}

// Streams reports whether the engine can stream the answer.
func (s Statement) Streams() bool { return s.Verb == "SELECT" || s.Verb == "WITH" }

// DropsDefault reports whether the statement would take away the database that
// every connection begins in; the engine would accept no connection after it.
func (s Statement) DropsDefault() bool {
	if s.Verb != "DROP" && s.Verb != "DETACH" && s.Verb != "RENAME" {
		return false
	}
	found := slices.Collect(words(s.Text))
	if len(found) < 3 || !is("DATABASE")(found[1]) {
		return false
	}
	names := found[2:]
	for len(names) > 1 && (is("IF")(names[0]) || is("EXISTS")(names[0]) || is("EMPTY")(names[0])) {
		names = names[1:]
	}
	return Unquote(names[0].text) == "default"
}
