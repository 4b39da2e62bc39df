// Package statement looks at the outside of a SQL statement: what it begins
// with, and where an INSERT's table, columns, settings and format stand. The
// engine does the parsing; this is what a server must know before it.
package statement

import (
	"iter"
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

// A word is a token with its place; punctuation is a token of its own.
type word struct {
	text       string
	start, end int
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

// parseInsert finds the parts of INSERT INTO [TABLE|FUNCTION] target [(columns)]
// [SETTINGS …] [VALUES | FORMAT name] [data], and leaves INSERT … SELECT alone.
func (s *Statement) parseInsert(sql string, found []word) {
	s.Text = strings.TrimRight(sql, "; \t\r\n")
	i := 1
	skip := func(keyword string) bool {
		if i < len(found) && is(keyword)(found[i]) {
			i++
			return true
		}
		return false
	}
	skip("INTO")
	function := skip("FUNCTION")
	if !function {
		skip("TABLE")
	}
	if i >= len(found) {
		return
	}
	insert := &Insert{}
	start, end := found[i].start, found[i].end
	for i++; i+1 < len(found) && found[i].text == "."; i += 2 { // database.table
		end = found[i+1].end
	}
	if function { // Its arguments.
		var closed bool
		if _, end, closed = brackets(found, &i); !closed {
			return
		}
		insert.Target = sql[start:end]
	} else {
		insert.Target = "TABLE " + sql[start:end]
	}
	if i < len(found) && found[i].text == "(" {
		if selects(sql[found[i].end:]) {
			return
		}
		from, to, closed := brackets(found, &i)
		if !closed {
			return
		}
		insert.Columns = strings.TrimSpace(sql[from+1 : to-1])
	}
	if i < len(found) && !continuesInsert(found[i]) {
		return // The engine says what is wrong with it.
	}
	for ; i < len(found); i++ {
		switch w := found[i]; {
		case selects(sql[w.start:]) || w.text == "(" && selects(sql[w.end:]):
			return
		case is("VALUES")(w):
			s.Format, s.Insert = "Values", insert
			s.Text, s.Inline = strings.TrimSpace(sql[:w.start]), strings.Trim(sql[w.end:], "; \t\r\n")
			return
		case is("FORMAT")(w) && i+1 < len(found):
			s.Format, s.Insert = found[i+1].text, insert
			s.Text, s.Inline = strings.TrimSpace(sql[:w.start]), inline(sql[found[i+1].end:])
			return
		}
	}
	s.Insert = insert
}

// selects reports whether a text begins as a SELECT does.
func selects(sql string) bool {
	for w := range words(sql) {
		return is("SELECT")(w) || is("WITH")(w)
	}
	return false
}

// inline is the data behind a FORMAT clause: what follows the end of its line,
// or the blanks.
func inline(rest string) string {
	data := strings.TrimLeft(rest, " \t\f")
	data = strings.TrimPrefix(strings.TrimPrefix(data, "\r"), "\n")
	if strings.Trim(data, "; \t\r\n") == "" {
		return ""
	}
	return data
}

// continuesInsert reports whether a word may follow the target of an INSERT and
// its columns.
func continuesInsert(w word) bool {
	switch strings.ToUpper(w.text) {
	case "(", "SELECT", "WITH", "VALUES", "FORMAT", "SETTINGS", "PARTITION":
		return true
	}
	return false
}

// brackets returns where the next brackets begin and end, and moves i behind
// them.
func brackets(found []word, i *int) (from, to int, closed bool) {
	for *i < len(found) && found[*i].text != "(" {
		*i++
	}
	if *i+1 >= len(found) || found[*i+1].text != ")" {
		*i = len(found)
		return 0, 0, false
	}
	*i += 2
	return found[*i-2].start, found[*i-1].end, true
}

func isName(s string) bool {
	return s != "" && (s[0] == '_' || s[0] >= 'a' && s[0] <= 'z' || s[0] >= 'A' && s[0] <= 'Z')
}

// words yields the words of a statement outside of brackets, and the outermost
// brackets themselves, passing over comments and blanks.
func words(sql string) iter.Seq[word] {
	return func(yield func(word) bool) {
		depth := 0
		for i := 0; i < len(sql); {
			start := i
			switch c := sql[i]; {
			case c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f' || c == '\v':
				i++
				continue
			case strings.HasPrefix(sql[i:], "--"), strings.HasPrefix(sql[i:], "# "), strings.HasPrefix(sql[i:], "#!"):
				i = until(sql, i, "\n")
				continue
			case strings.HasPrefix(sql[i:], "/*"):
				i = until(sql, i+2, "*/")
				continue
			case c == '\'' || c == '"' || c == '`':
				i = quoted(sql, i)
			case isName(sql[i:]):
				for i < len(sql) && (isName(sql[i:]) || sql[i] >= '0' && sql[i] <= '9') {
					i++
				}
			default:
				i++
				if c == ')' {
					depth--
				}
			}
			if depth == 0 && !yield(word{text: sql[start:i], start: start, end: i}) {
				return
			}
			if sql[start] == '(' {
				depth++
			}
		}
	}
}

func until(sql string, from int, mark string) int {
	if at := strings.Index(sql[from:], mark); at >= 0 {
		return from + at + len(mark)
	}
	return len(sql)
}

// quoted returns where a quoted run that begins at i ends. Within it the quote
// stands behind a backslash, or twice.
func quoted(sql string, i int) int {
	quote := sql[i]
	for i++; i < len(sql); i++ {
		switch sql[i] {
		case '\\':
			i++
		case quote:
			if i+1 == len(sql) || sql[i+1] != quote {
				return i + 1
			}
			i++
		}
	}
	return len(sql)
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

// Columns cuts a list of columns.
func Columns(list string) []string {
	var names []string
	name := ""
	for w := range words(list) {
		if w.text == "," {
			names, name = append(names, name), ""
		} else {
			name += Unquote(w.text) // A nested one is several words: n.a
		}
	}
	if name != "" {
		names = append(names, name)
	}
	return names
}

// Quote makes a string literal.
func Quote(s string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(s) + "'"
}

// QuoteName makes an identifier.
func QuoteName(s string) string {
	return "`" + strings.NewReplacer(`\`, `\\`, "`", "\\`").Replace(s) + "`"
}

// Unquote reads an identifier or a literal.
func Unquote(s string) string {
	if len(s) < 2 || s[0] != s[len(s)-1] || !strings.ContainsRune("`\"'", rune(s[0])) {
		return s
	}
	var b strings.Builder
	escapes := map[byte]byte{'n': '\n', 't': '\t', 'r': '\r', '0': 0, 'b': '\b', 'f': '\f'}
	for i := 1; i < len(s)-1; i++ {
		c := s[i]
		if c == s[0] && i+1 < len(s)-1 && s[i+1] == c {
			i++
		} else if c == '\\' && i+1 < len(s)-1 {
			i++
			c = s[i]
			if plain, ok := escapes[c]; ok {
				c = plain
			}
		}
		b.WriteByte(c)
	}
	return b.String()
}
