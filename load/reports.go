package load

import (
	"embed"
	"strings"
)

//go:embed queries/*.sql
var queries embed.FS

// A Report is a ready-made query.
type Report struct {
	Name, Title, SQL string
}

// Reports lists the reports by name.
func Reports() []Report {
	entries, err := queries.ReadDir("queries")
	if err != nil {
		panic(err) // It is embedded.
	}
	reports := make([]Report, 0, len(entries))
	for _, entry := range entries {
		data, err := queries.ReadFile("queries/" + entry.Name())
		if err != nil {
			panic(err) // It is embedded.
		}
		title, sql, _ := strings.Cut(string(data), "\n")
		reports = append(reports, Report{
			Name: strings.TrimSuffix(entry.Name(), ".sql"), Title: strings.TrimPrefix(title, "-- "), SQL: sql,
		})
	}
	return reports
}
