package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sr/srfake"

	"github.com/tintype/tintype/event"
)

// diagnose runs the doctor, checks that both formats say the same, and returns
// the checks by their names.
func diagnose(t *testing.T, code int, args ...string) map[string]check {
	t.Helper()
	text := want(t, code, append([]string{"doctor"}, args...)...)
	lines := want(t, code, append([]string{"doctor", "-o", "json"}, args...)...)
	decoder := json.NewDecoder(strings.NewReader(lines.stdout))
	checks := map[string]check{}
	var mirror strings.Builder
	for decoder.More() {
		var c check
		if err := decoder.Decode(&c); err != nil {
			t.Fatal(err)
		}
		checks[c.Check] = c
		mark := "ok    "
		if !c.OK {
			mark = "FAIL  "
		}
		mirror.WriteString(mark + strings.Join(strings.Fields(c.Check+" "+c.Detail), " ") + "\n")
	}
	var got strings.Builder
	for line := range strings.Lines(text.stdout) {
		got.WriteString(line[:6] + strings.Join(strings.Fields(line[6:]), " ") + "\n")
	}
	if got.String() != mirror.String() {
		t.Errorf("as text\n%s\nas JSON\n%s", text.stdout, lines.stdout)
	}
	return checks
}

// healthy fails unless exactly these checks fail, each with what to do.
func healthy(t *testing.T, checks map[string]check, sick map[string]string) {
	t.Helper()
	for name, c := range checks {
		advice, ill := sick[name]
		switch {
		case c.OK == ill:
			t.Errorf("%s is %v: %s", name, c.OK, c.Detail)
		case ill && !strings.Contains(c.Detail, advice):
			t.Errorf("%s fails with %q, want %q", name, c.Detail, advice)
		case strings.Contains(c.Detail, "\n"):
			t.Errorf("%s has many lines: %q", name, c.Detail)
		}
	}
	for name := range sick {
		if _, ok := checks[name]; !ok {
			t.Errorf("%s is not checked", name)
		}
	}
}

func TestDoctor(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	healthy(t, diagnose(t, exitFailed, p.at()...), map[string]string{"topics": "topic uploads is missing: create it", "tables": "tintype run creates the tables"})

	p.open(t, 2)
	registry := srfake.New()
	t.Cleanup(registry.Close)
	checks := diagnose(t, exitOK, p.at("--registry", registry.URL())...)
	healthy(t, checks, nil)
	for _, topic := range event.TopicsOf("", "").All() {
		if c := checks["topic "+topic.Name]; !strings.HasPrefix(c.Detail, "id ") {
			t.Errorf("topic %s: %+v", topic.Name, c)
		}
	}
	for name, fact := range map[string]string{
		"kafka": p.kafka, "topics": "of 2 partitions", "clickhouse": "database " + p.name, "group tintype-load": "not running",
		"blobs": p.blobs, "registry": registry.URL(), "tables": "schema",
	} {
		if c := checks[name]; !strings.Contains(c.Detail, fact) {
			t.Errorf("%s: %+v, want %s", name, c, fact)
		}
	}

	client, err := kgo.NewClient(kgo.SeedBrokers(p.kafka))
	if err != nil {
		t.Fatal(err)
	}
	admin := kadm.NewClient(client)
	t.Cleanup(admin.Close)
	if _, err := admin.DeleteTopics(t.Context(), "photos", "developed"); err != nil {
		t.Fatal(err)
	}
	if _, err := admin.CreateTopic(t.Context(), 3, 1, nil, "photos"); err != nil {
		t.Fatal(err)
	}
	want(t, exitOK, "sql", "--clickhouse", p.clickhouse, "DROP TABLE goose_db_version")
	checks = diagnose(t, exitFailed, p.at()...)
	healthy(t, checks, map[string]string{"topics": "topic photos has 3 partitions where", "tables": "tintype run creates the tables"})
	if c := checks["topics"]; !strings.Contains(c.Detail, "topic developed is missing: create it with 2 partitions") {
		t.Errorf("a missing topic: %s", c.Detail)
	}
}

// Servers that are not there fail each for itself.
func TestDoctorUnreachable(t *testing.T) {
	t.Parallel()
	gone := srfake.New()
	gone.Close()
	checks := diagnose(t, exitFailed, "--kafka", closed, "--clickhouse", closed, "--registry", gone.URL(), "--blobs", "pigeons://loft")
	healthy(t, checks, map[string]string{"kafka": "--kafka", "clickhouse": "--clickhouse", "registry": "does not answer", "blobs": "pigeons"})
}
