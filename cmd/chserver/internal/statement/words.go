package statement

import (
	"iter"
	"strings"
)

// A word is a token with its place; punctuation is a token of its own.
type word struct {
	text       string
	start, end int
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
