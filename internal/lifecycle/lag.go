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
	Groups []string
	// Ask tells how far a group is behind.
	Ask func(ctx context.Context, group string) (kadm.DescribedGroupLag, error)
}

var (
	lagDesc = prometheus.NewDesc("tintype_group_lag_records",
		"Offsets between the group's committed one and the last record of the partition; 0 once all is read.", []string{"group", "topic", "partition"}, nil)
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
	for _, group := range l.Groups {
		lag, err := l.Ask(ctx, group)
		up := 0.0
		if err == nil {
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
