package servers

import (
	"fmt"
	"os"
	"strings"
)

// Secret reads a secret from the environment variable name, or from the file
// that name_FILE points at; the empty string where neither is set.
func Secret(name string) (string, error) {
	if value, ok := os.LookupEnv(name); ok {
		return value, nil
	}
	path := os.Getenv(name + "_FILE")
	if path == "" {
		return "", nil
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("servers: secret %s_FILE: %w", name, err)
	}
	return strings.TrimRight(string(data), "\r\n"), nil
}
