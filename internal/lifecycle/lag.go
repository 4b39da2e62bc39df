package lifecycle

import (
	"context"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kadm"
)

// Lag collects how far groups are behind their topics, asked of the brokers at
// each scrape.
type Lag struct {
	Admin  *kadm.Client
	Groups []string
}

var (
	lagDesc = prometheus.NewDesc("tintype_group_lag_records",
		"Offsets between the group's committed one and the end of the partition. The marker that ends a transaction is an offset, too: 1 at rest.", []string{"group", "topic", "partition"}, nil)
	lagUpDesc = prometheus.NewDesc("tintype_group_lag_up", "Whether the lag of the group could be asked for.", []string{"group"}, nil)
)

// Describe implements prometheus.Collector.
func (l *Lag) Describe(ch chan<- *prometheus.Desc) {
	ch <- lagDesc
	ch <- lagUpDesc
}

// Collect implements prometheus.Collector.
func (l *Lag) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	lags, err := l.Admin.Lag(ctx, l.Groups...)
	for _, group := range l.Groups {
		lag, ok := lags[group]
		up := 0.0
		if err == nil && ok && lag.Error() == nil {
			up = 1
		}
		ch <- prometheus.MustNewConstMetric(lagUpDesc, prometheus.GaugeValue, up, group)
		if up == 0 {
			continue
		}
		for _, p := range lag.Lag.Sorted() {
			if p.Err == nil {
				ch <- prometheus.MustNewConstMetric(lagDesc, prometheus.GaugeValue, float64(p.Lag), group, p.Topic, strconv.Itoa(int(p.Partition)))
			}
		}
	}
}
