package statement

import (
	"strings"
)

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
