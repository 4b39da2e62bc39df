package topologies

import (
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tintype/tintype/event"
	"github.com/tintype/tintype/event/eventpb"
	"github.com/tintype/tintype/transform/window"
)

// Metrics are the counters of all stages of a process. They count what was
// committed: what an aborted transaction did is never in them.
type Metrics struct {
	fates   *prometheus.CounterVec
	deaths  *prometheus.CounterVec
	rekeyed prometheus.Counter
	foreign *prometheus.CounterVec
	seconds *prometheus.HistogramVec

	clamped    prometheus.Counter
	ticks      prometheus.Counter
	results    *prometheus.CounterVec
	lates      *prometheus.CounterVec
	undeclared prometheus.Counter
	watermark  *prometheus.GaugeVec
	openKeys   *prometheus.GaugeVec
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
		clamped: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "tintype_clamped_event_times_total", Help: "Uploads whose claimed event time was ahead of its append time, or before 1970.",
		}),
		ticks: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "tintype_ticks_total", Help: "Ticks read: control records that move the stream time of an idle partition of uploads.",
		}),
		results: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tintype_window_results_total", Help: "Results of windows, by aggregate and state: early, final or retracted.",
		}, []string{"aggregate", "state"}),
		lates: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tintype_late_uploads_total", Help: "Uploads that a window does not count, by aggregate and cause. " +
				"closed must be 0 unless uploads was created anew; overflow: the key had too many open windows.",
		}, []string{"aggregate", "cause"}),
		undeclared: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "tintype_windows_undeclared_total", Help: "Open windows dropped, since their aggregate is not declared any more.",
		}),
		watermark: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "tintype_watermark_timestamp_seconds", Help: "Event time up to which windows close, Unix time, by partition of windows.",
		}, []string{"partition"}),
		openKeys: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "tintype_window_keys", Help: "Keys with open windows, by partition of windows.",
		}, []string{"partition"}),
	}
}

// Register adds the counters to a registry.
func (m *Metrics) Register(r prometheus.Registerer) {
	r.MustRegister(m.fates, m.deaths, m.rekeyed, m.foreign, m.seconds,
		m.clamped, m.ticks, m.results, m.lates, m.undeclared, m.watermark, m.openKeys)
}

// windowsPartition shows where a partition of windows stands.
func (m *Metrics) windowsPartition(partition int32, watermark int64, keys int) {
	label := strconv.Itoa(int(partition))
	if watermark != window.Unknown {
		m.watermark.WithLabelValues(label).Set(float64(watermark) / 1000)
	}
	m.openKeys.WithLabelValues(label).Set(float64(keys))
}

// windowsRevoked shows no partition of windows.
func (m *Metrics) windowsRevoked() {
	m.watermark.Reset()
	m.openKeys.Reset()
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

func (t *tally) clamped() { t.add(t.metrics.clamped.Inc) }

func (t *tally) tick() { t.add(t.metrics.ticks.Inc) }

func (t *tally) undeclared(n int) { t.add(func() { t.metrics.undeclared.Add(float64(n)) }) }

func (t *tally) late(aggregate, cause string) {
	t.add(t.metrics.lates.WithLabelValues(aggregate, cause).Inc)
}

func (t *tally) result(r *eventpb.WindowResult) {
	state := "early"
	switch {
	case r.Retracted:
		state = "retracted"
	case r.Final:
		state = "final"
	}
	t.add(t.metrics.results.WithLabelValues(r.Aggregate, state).Inc)
}

func (t *tally) rekeyed() { t.add(t.metrics.rekeyed.Inc) }

func (t *tally) foreign() { t.add(t.metrics.foreign.WithLabelValues(t.stage).Inc) }

func (t *tally) stageDone(took time.Duration) {
	t.add(func() { t.metrics.seconds.WithLabelValues(t.stage).Observe(took.Seconds()) })
}
