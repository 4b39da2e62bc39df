package kafkatest

import (
	"context"
	"errors"
	"os"
	"testing"
	"time"
)

// fetchTimeout bounds a start that fetches the jars too.
const fetchTimeout = 5 * time.Minute

// Run starts a broker that ends with the test. Without Java or Maven the test
// is skipped; with TINTYPE_REQUIRE_KAFKA=1 it fails.
func Run(t testing.TB) *Broker {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), fetchTimeout)
	defer cancel()
	b, err := Start(ctx, Options{Dir: t.TempDir()})
	if errors.Is(err, ErrMissing) && os.Getenv("TINTYPE_REQUIRE_KAFKA") != "1" {
		t.Skipf("SKIPPED, it needs a real Kafka broker: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return b
}
