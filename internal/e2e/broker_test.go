package e2e

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tintype/tintype/bench/synthetic"
	"github.com/tintype/tintype/internal/deployment"
	"github.com/tintype/tintype/internal/devstack/devtest"
	"github.com/tintype/tintype/internal/kafkatest"
)

// The broker is killed, and started again, while photos are on their way:
// processing goes on by itself, and every upload is one row.
func TestABrokerRestartHeals(t *testing.T) {
	broker := kafkatest.Run(t)
	name := "t" + strings.ReplaceAll(uuid.NewString(), "-", "")[:12]
	d, err := deployment.Open(t.Context(), deployment.Options{
		Addresses: deployment.Addresses{
			Kafka: broker.Addr(), ClickHouse: devtest.Database(t, name), Blobs: "file://" + filepath.ToSlash(t.TempDir()),
		},
		Name: name, CreateTopics: true, Log: logger(t),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	drain := run(t, d, deployment.Work{})
	generator := synthetic.New(synthetic.Options{Seed: 5, Small: true})
	const rounds, each = 3, 40
	for round := range rounds {
		var records []*kgo.Record
		for i := range each {
			p := generator.Photo(round*each + i)
			records = append(records, upload(t, d, fmt.Sprintf("u%03d", round*each+i), p.Name, p.Data))
		}
		send(t, d, records...)
		if err := broker.Kill(); err != nil {
			t.Fatal(err)
		}
		if err := broker.Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, d, rounds*each, "SELECT count() FROM uploads")
	drain()
	for query, want := range map[string]uint64{
		"SELECT count() FROM uploads":                                                                        rounds * each,
		"SELECT uniqExact(src_topic_id, src_partition, src_offset) FROM uploads":                             rounds * each,
		"SELECT count() FROM uploads WHERE outcome = 'dead'":                                                 0,
		"SELECT abs(count() - 3 * (SELECT count() FROM uploads WHERE outcome = 'original')) FROM renditions": 0,
	} {
		if got := count(t, d, query); got != want {
			t.Errorf("%s: %d, want %d", query, got, want)
		}
	}
}
