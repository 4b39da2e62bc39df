// Package statement looks at the outside of a SQL statement: what it begins
// with, and where an INSERT's table, columns, settings and format stand. The
// engine does the parsing; this is what a server must know before it.
package statement

import (
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
	depth      int // of brackets around it
}

// Parse looks at a statement.
func Parse(sql string) Statement {
	sql = strings.TrimRight(strings.TrimSpace(sql), "; \t\r\n")
	words := scan(sql)
	s := Statement{Text: sql}
	if len(words) == 0 {
		return s
	}
	s.Verb = strings.ToUpper(words[0].text)
	if s.Verb == "INSERT" {
		s.parseInsert(sql, words)
		return s
	}
	for i, w := range words {
		if w.depth == 0 && i+1 < len(words) && strings.EqualFold(w.text, "FORMAT") && i+2 >= len(words)-2 && isName(words[i+1].text) {
			s.Format = words[i+1].text
			s.Text = strings.TrimSpace(sql[:w.start] + sql[words[i+1].end:])
		}
	}
	return s
}

// parseInsert finds the parts of INSERT INTO [TABLE|FUNCTION] target [(columns)]
// [SETTINGS …] [VALUES | FORMAT name] [data], and leaves INSERT … SELECT alone.
func (s *Statement) parseInsert(sql string, words []word) {
	i := 1
	skip := func(text string) bool {
		if i < len(words) && strings.EqualFold(words[i].text, text) {
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
	if i >= len(words) {
		return
	}
	insert := &Insert{}
	start := words[i].start
	for i++; i < len(words) && words[i].text == "."; i += 2 { // database.table
	}
	end := words[min(i, len(words))-1].end
	if function { // Its arguments.
		end = closing(words, &i)
	}
	insert.Target = sql[start:min(end, len(sql))]
	if !function {
		insert.Target = "TABLE " + insert.Target
	}
	if i < len(words) && words[i].text == "(" {
		from := words[i].end
		end = closing(words, &i)
		insert.Columns = strings.TrimSpace(sql[from : end-1])
	}
	for ; i < len(words); i++ {
		switch upper := strings.ToUpper(words[i].text); {
		case words[i].depth > 0:
		case upper == "SELECT" || upper == "WITH":
			return
		case upper == "VALUES":
			s.Format, s.Insert = "Values", insert
			s.Text, s.Inline = strings.TrimSpace(sql[:words[i].start]), strings.TrimSpace(sql[words[i].end:])
			return
		case upper == "FORMAT" && i+1 < len(words):
			s.Format, s.Insert = words[i+1].text, insert
			s.Text, s.Inline = strings.TrimSpace(sql[:words[i].start]), strings.TrimLeft(sql[words[i+1].end:], " \t\r\n")
			return
		}
	}
	s.Insert = insert
}

// closing moves i behind the bracket that closes the next one, and returns where
// that is in the text.
func closing(words []word, i *int) int {
	for *i < len(words) && words[*i].text != "(" {
		*i++
	}
	if *i >= len(words) {
		return words[len(words)-1].end
	}
	depth := words[*i].depth
	for *i++; *i < len(words); *i++ {
		if words[*i].text == ")" && words[*i].depth == depth {
			*i++
			return words[*i-1].end
		}
	}
	return words[len(words)-1].end
}

func isName(s string) bool {
	return s != "" && (s[0] == '_' || s[0] >= 'a' && s[0] <= 'z' || s[0] >= 'A' && s[0] <= 'Z')
}

// scan cuts a statement into words, passing over comments and blanks.
func scan(sql string) []word {
	var words []word
	depth := 0
	for i := 0; i < len(sql); {
		start := i
		switch c := sql[i]; {
		case c == ' ' || c == '\t' || c == '\n' || c == '\r':
			i++
			continue
		case strings.HasPrefix(sql[i:], "--"), c == '#':
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
		words = append(words, word{text: sql[start:i], start: start, end: i, depth: depth})
		if sql[start] == '(' {
			depth++
		}
	}
	return words
}

func until(sql string, from int, mark string) int {
	if at := strings.Index(sql[from:], mark); at >= 0 {
		return from + at + len(mark)
	}
	return len(sql)
}

// quoted returns where a quoted run that begins at i ends.
func quoted(sql string, i int) int {
	quote := sql[i]
	for i++; i < len(sql); i++ {
		switch sql[i] {
		case '\\':
			i++
		case quote:
			return i + 1
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

// DropsDefault reports whether the statement would drop the database that every
// connection begins in; the engine would accept no connection after it.
func (s Statement) DropsDefault() bool {
	if s.Verb != "DROP" && s.Verb != "DETACH" {
		return false
	}
	names := scan(s.Text)
	for i, w := range names {
		if strings.EqualFold(w.text, "DATABASE") || strings.EqualFold(w.text, "EXISTS") {
			if i+1 < len(names) && Unquote(names[i+1].text) == "default" && !strings.EqualFold(names[1].text, "TABLE") {
				return true
			}
		}
	}
	return false
}

// Columns cuts a list of columns.
func Columns(list string) []string {
	var names []string
	for _, w := range scan(list) {
		if w.text != "," {
			names = append(names, Unquote(w.text))
		}
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
		if c == '\\' && i+1 < len(s)-1 {
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
