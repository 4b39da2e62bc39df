package topologies

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tintype/tintype/event"
	"github.com/tintype/tintype/event/eventpb"
)

// Metrics are the counters of all stages of a process. They count what was
// committed: what an aborted transaction did is never in them.
type Metrics struct {
	fates   *prometheus.CounterVec
	deaths  *prometheus.CounterVec
	rekeyed prometheus.Counter
	foreign *prometheus.CounterVec
	seconds *prometheus.HistogramVec
}

// NewMetrics makes the counters; they are registered with [Metrics.Register].
func NewMetrics() *Metrics {
	return &Metrics{
		fates: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tintype_fates_total", Help: "Fates emitted (stages extract and transform) or loaded (stage load), by outcome.",
		}, []string{"stage", "outcome"}),
		deaths: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tintype_dead_letters_total", Help: "Dead letters emitted, by reason.",
		}, []string{"stage", "reason"}),
		rekeyed: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "tintype_rekeyed_uploads_total", Help: "Upload records that came without their key or on another partition than their key's.",
		}),
		foreign: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tintype_foreign_records_total", Help: "Records on our own topics that none of our stages wrote.",
		}, []string{"stage"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "tintype_stage_seconds", Help: "Time one photo took in a stage, queueing for a processor included.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2, 14),
		}, []string{"stage"}),
	}
}

// Register adds the counters to a registry.
func (m *Metrics) Register(r prometheus.Registerer) {
	r.MustRegister(m.fates, m.deaths, m.rekeyed, m.foreign, m.seconds)
}

// A tally counts within a transaction. Its counts reach the metrics on commit
// and vanish on abort.
type tally struct {
	metrics *Metrics
	stage   string

	mu      sync.Mutex
	pending []func()
}

func newTally(m *Metrics, stage event.Stage) *tally { return &tally{metrics: m, stage: string(stage)} }

func (t *tally) add(count func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.pending = append(t.pending, count)
}

func (t *tally) take() []func() {
	t.mu.Lock()
	defer t.mu.Unlock()
	pending := t.pending
	t.pending = nil
	return pending
}

// commit counts what the transaction did.
func (t *tally) commit() {
	for _, count := range t.take() {
		count()
	}
}

// drop forgets what an aborted transaction did.
func (t *tally) drop() { t.take() }

func (t *tally) fate(outcome eventpb.Outcome) {
	t.add(t.metrics.fates.WithLabelValues(t.stage, event.OutcomeName(outcome)).Inc)
}

func (t *tally) dead(reason event.Reason) {
	t.add(t.metrics.deaths.WithLabelValues(t.stage, string(reason)).Inc)
}

func (t *tally) rekeyed() { t.add(t.metrics.rekeyed.Inc) }

func (t *tally) foreign() { t.add(t.metrics.foreign.WithLabelValues(t.stage).Inc) }

func (t *tally) stageDone(took time.Duration) {
	t.add(func() { t.metrics.seconds.WithLabelValues(t.stage).Observe(took.Seconds()) })
}
