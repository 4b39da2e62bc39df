package compose

import (
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tintype/tintype/internal/kafkatest"
)

var (
	composeFile = filepath.Join("..", "..", "docker-compose.yml")
	// known are the variables that the file sets; the test of cmd/tintype
	// holds them against the command line itself.
	known = map[string]bool{
		"TINTYPE_KAFKA": true, "TINTYPE_CLICKHOUSE": true, "TINTYPE_CLICKHOUSE_PASSWORD": true, "TINTYPE_BLOBS": true,
		"TINTYPE_HTTP_LISTEN": true, "TINTYPE_STATE_DIR": true,
	}
)

func TestTheRepositorysFile(t *testing.T) {
	wrong, err := Check(t.Context(), composeFile, known)
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range wrong {
		t.Error(w)
	}
}

// The broker has the settings of the brokers that the tests run on.
func TestTheBrokerIsTheTests(t *testing.T) {
	project, err := Load(t.Context(), composeFile, nil)
	if err != nil {
		t.Fatal(err)
	}
	kafka := project.Services["kafka"]
	if !strings.HasSuffix(kafka.Image, ":"+kafkatest.Version) {
		t.Errorf("the image is %s, the tests run on %s", kafka.Image, kafkatest.Version)
	}
	for setting, want := range kafkatest.Deployment() {
		name := "KAFKA_" + strings.ToUpper(strings.ReplaceAll(setting, ".", "_"))
		if got := kafka.Environment[name]; got == nil || *got != want {
			t.Errorf("%s is not %s", name, want)
		}
	}
}

// The addresses that tintype is given are services of the file, on ports they
// listen on.
func TestAddressesAreServices(t *testing.T) {
	project, err := Load(t.Context(), composeFile, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"tintype", "produce"} {
		environment := project.Services[name].Environment
		value := func(variable string) string {
			v := environment[variable]
			if v == nil {
				t.Fatalf("%s has no %s", name, variable)
			}
			return *v
		}
		clickHouse, err := url.Parse(value("TINTYPE_CLICKHOUSE"))
		if err != nil {
			t.Fatal(err)
		}
		blobs, err := url.Parse(value("TINTYPE_BLOBS"))
		if err != nil {
			t.Fatal(err)
		}
		endpoint, err := url.Parse(blobs.Query().Get("endpoint"))
		if err != nil {
			t.Fatal(err)
		}
		if got := []string{value("TINTYPE_KAFKA"), clickHouse.Host, endpoint.Host}; !slices.Equal(got, []string{"kafka:9092", "clickhouse:9000", "minio:9000"}) {
			t.Errorf("%s: %v", name, got)
		}
		if script := strings.Join(project.Services["bucket"].Command, " "); !strings.HasSuffix(strings.TrimSpace(script), "/"+blobs.Host) {
			t.Errorf("%s stores in %s, which %q does not make", name, blobs.Host, script)
		}
	}
	listeners := *project.Services["kafka"].Environment["KAFKA_ADVERTISED_LISTENERS"]
	if !strings.Contains(listeners, "//kafka:9092") || !strings.Contains(listeners, "//127.0.0.1:9092") {
		t.Errorf("Kafka advertises %s", listeners)
	}
}

// What the environment sets goes where it must.
func TestEnvironmentWins(t *testing.T) {
	project, err := Load(t.Context(), composeFile, map[string]string{
		"CLICKHOUSE_PASSWORD": "one", "MINIO_ROOT_PASSWORD": "two", "KAFKA_PORT": "19999",
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ service, variable, want string }{
		{"tintype", "TINTYPE_CLICKHOUSE_PASSWORD", "one"},
		{"clickhouse", "CLICKHOUSE_PASSWORD", "one"},
		{"tintype", "AWS_SECRET_ACCESS_KEY", "two"},
		{"minio", "MINIO_ROOT_PASSWORD", "two"},
		{"bucket", "MINIO_ROOT_PASSWORD", "two"},
		{"kafka", "KAFKA_ADVERTISED_LISTENERS", "INTERNAL://kafka:9092,EXTERNAL://127.0.0.1:19999"},
	} {
		if got := project.Services[c.service].Environment[c.variable]; got == nil || *got != c.want {
			t.Errorf("%s: %s is not %s", c.service, c.variable, c.want)
		}
	}
}

// Every rule finds what breaks it.
func TestFaultsAreFound(t *testing.T) {
	const good = `services:
  a:
    image: somebody/a:1.2
    restart: unless-stopped
    healthcheck: {test: [CMD, "true"]}
    ports: ["127.0.0.1:1000:1000"]
    environment: {A_PASSWORD: "${A:-dev}", TINTYPE_KAFKA: "k:1"}
    volumes: [data:/data]
  b:
    image: b@sha256:00
    restart: "no"
    depends_on: {a: {condition: service_healthy}}
volumes:
  data:
`
	check := func(content string) []string {
		t.Helper()
		file := filepath.Join(t.TempDir(), "compose.yml")
		if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		wrong, err := Check(t.Context(), file, known)
		if err != nil {
			t.Fatal(err)
		}
		return wrong
	}
	if wrong := check(good); len(wrong) > 0 {
		t.Fatalf("the good file: %q", wrong)
	}
	for _, c := range []struct{ from, to, want string }{
		{"a:1.2", "a", "not pinned"},
		{"a:1.2", "a:latest", "not pinned"},
		{"a:1.2", "registry:5000/a", "not pinned"},
		{"restart: unless-stopped", "restart: on-failure", "not restarted"},
		{"restart: unless-stopped", `restart: "no"`, "has a health check"},
		{`    healthcheck: {test: [CMD, "true"]}`, "", "no health check"},
		{`{test: [CMD, "true"]}`, "{disable: true}", "no health check"},
		{"127.0.0.1:1000", "1000", "published on"},
		{`["127.0.0.1:1000:1000"]`, `["127.0.0.1:1000:1", "127.0.0.1:1000:2"]`, "too"},
		{"${A:-dev}", "secret", "written down"},
		{"TINTYPE_KAFKA", "TINTYPE_KAFAK", "nothing reads"},
		{"data:/data", "/var/run:/data", "named volume"},
		{"    volumes: [data:/data]", "", "nothing uses it"},
		{"service_healthy", "service_started", "waits for"},
		{"image: b", "privileged: true\n    image: b", "privileged"},
		{"image: b", "user: root\n    image: b", "root"},
		{"image: b", "network_mode: host\n    image: b", "network of the host"},
	} {
		bad := strings.Replace(good, c.from, c.to, 1)
		if bad == good {
			t.Fatalf("%q is not in the file", c.from)
		}
		if wrong := check(bad); !slices.ContainsFunc(wrong, func(w string) bool { return strings.Contains(w, c.want) }) {
			t.Errorf("%q in place of %q: found %q, want %q", c.to, c.from, wrong, c.want)
		}
	}
}

func TestDockerfileFaults(t *testing.T) {
	for content, want := range map[string]string{
		"FROM go:1.2 AS build\nFROM scratch\nUSER 1:1\n":          "",
		"FROM --platform=x go:1.2 AS build\nFROM build\nUSER 1\n": "",
		"FROM go AS build\nFROM scratch\nUSER 1\n":                "the image go is not pinned",
		"FROM scratch\n":                      "the last stage runs as root",
		"FROM go:1.2\nUSER 1\nFROM scratch\n": "the last stage runs as root",
		"FROM scratch\nUSER root\n":           "the last stage runs as root",
		"FROM registry:5000/go AS build\nFROM scratch\nUSER 65532:65532\n":     "the image registry:5000/go is not pinned",
		"FROM go:${VERSION} AS build\nFROM scratch\nUSER 65532:65532\nRUN a\n": "the image go:${VERSION} is not pinned",
	} {
		if got := strings.Join(CheckDockerfile(content), "; "); got != want {
			t.Errorf("%q: %q, want %q", content, got, want)
		}
	}
}
