package topologies

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/tintype/tintype/exactly"
)

// Groups lists the consumer groups that the runner's stages are members of.
func (r *Runner) Groups() []string {
	groups := make([]string, 0, len(r.stages))
	for _, name := range r.stages {
		groups = append(groups, Group(r.config.Deployment, name))
	}
	return groups
}

// groupMetrics are read off the status of each group member at every scrape.
var groupMetrics = []struct {
	desc  *prometheus.Desc
	kind  prometheus.ValueType
	value func(exactly.Stats) float64
}{
	{
		groupDesc("tintype_transactions_committed_total", "Transactions committed."), prometheus.CounterValue,
		func(s exactly.Stats) float64 { return float64(s.Committed) },
	},
	{
		groupDesc("tintype_transactions_aborted_total", "Transactions aborted; their records were read again."), prometheus.CounterValue,
		func(s exactly.Stats) float64 { return float64(s.Aborted) },
	},
	{
		groupDesc("tintype_processor_restarts_total", "Times a processor was created anew after an error."), prometheus.CounterValue,
		func(s exactly.Stats) float64 { return float64(s.Restarts) },
	},
	{
		groupDesc("tintype_rebalances_total", "Times that partitions were taken away."), prometheus.CounterValue,
		func(s exactly.Stats) float64 { return float64(s.Rebalances) },
	},
	{
		groupDesc("tintype_records_total", "Input records committed."), prometheus.CounterValue,
		func(s exactly.Stats) float64 { return float64(s.Records) },
	},
	{
		groupDesc("tintype_pause_seconds_total", "Time without delivery: commits, flushes, setups."), prometheus.CounterValue,
		func(s exactly.Stats) float64 { return s.Pause.Seconds() },
	},
	{
		groupDesc("tintype_records_in_flight", "Input records delivered and not yet done."), prometheus.GaugeValue,
		func(s exactly.Stats) float64 { return float64(s.InFlight) },
	},
	{
		groupDesc("tintype_partitions_held", "Input partitions held."), prometheus.GaugeValue,
		func(s exactly.Stats) float64 { return float64(s.Partitions) },
	},
}

func groupDesc(name, help string) *prometheus.Desc {
	return prometheus.NewDesc(name, help, []string{"group"}, nil)
}

// Describe implements prometheus.Collector.
func (r *Runner) Describe(ch chan<- *prometheus.Desc) {
	for _, m := range groupMetrics {
		ch <- m.desc
	}
}

// Collect implements prometheus.Collector.
func (r *Runner) Collect(ch chan<- prometheus.Metric) {
	for _, name := range r.stages {
		stats := r.status[name].Snapshot()
		for _, m := range groupMetrics {
			ch <- prometheus.MustNewConstMetric(m.desc, m.kind, m.value(stats), Group(r.config.Deployment, name))
		}
	}
}
