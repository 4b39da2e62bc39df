// Package devtest gives tests the embedded servers.
package devtest

import (
	"testing"

	"github.com/tintype/tintype/internal/devstack"
)

// Kafka starts a broker that ends with the test.
func Kafka(t testing.TB) *devstack.Kafka {
	t.Helper()
	k, err := devstack.StartKafka(t.Context(), devstack.KafkaOptions{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := k.Close(); err != nil {
			t.Error(err)
		}
	})
	return k
}
