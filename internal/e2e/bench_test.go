package e2e

import (
	"testing"
	"time"

	"github.com/tintype/tintype/bench"
	"github.com/tintype/tintype/internal/deployment"
	"github.com/tintype/tintype/transform/pixel"
)

// Every photo of a bench is developed once: what it measures is work.
func TestBenchMeasuresWork(t *testing.T) {
	d := open(t)
	report, err := bench.Throughput(t.Context(), d, deployment.Work{StateDir: t.TempDir(), Specs: pixel.DefaultSpecs()}, bench.Options{
		Photos: 12, Rounds: 2, Seed: 5, Small: true, Rate: 100, Timeout: time.Minute,
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(report.Rounds) != 2 || report.Missing != 0 || report.Latency.Photos != 12 || report.Latency.P50MS <= 0 || report.Share <= 0 {
		t.Errorf("the report is %+v", report)
	}
	const uploads = 12 + 2*12 + 12 // The warm-up, the rounds, the latency.
	if n := count(t, d, "SELECT countIf(outcome IN ('original', 'duplicate')) FROM uploads"); n != uploads {
		t.Errorf("%d uploads were developed, want %d", n, uploads)
	}
	if n := count(t, d, "SELECT countIf(outcome = 'duplicate') FROM uploads"); n > uploads/3 {
		t.Errorf("%d of %d uploads were duplicates, which cost no pixels", n, uploads)
	}
}
