package event

import (
	"embed"
	"fmt"
	"regexp"
)

//go:embed eventpb/*.proto
var schemaFiles embed.FS

var importLine = regexp.MustCompile(`(?m)^import "event/eventpb/([a-z_]+\.proto)";$`)

// SchemaPath is the name by which one schema file imports another.
func SchemaPath(file string) string { return "event/eventpb/" + file }

// Schema returns the text of a schema file, such as upload.proto, and the names
// of the files it imports.
func Schema(file string) (text string, imports []string, err error) {
	data, err := schemaFiles.ReadFile("eventpb/" + file)
	if err != nil {
		return "", nil, fmt.Errorf("event: schema %s: %w", file, err)
	}
	for _, match := range importLine.FindAllSubmatch(data, -1) {
		imports = append(imports, string(match[1]))
	}
	return string(data), imports, nil
}
