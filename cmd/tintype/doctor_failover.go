package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/tintype/tintype/exactly"
	"github.com/tintype/tintype/topologies"
)

// The settings of a broker that our timeouts have to fit.
const (
	minSessionSetting     = "group.min.session.timeout.ms"
	maxSessionSetting     = "group.max.session.timeout.ms"
	maxTransactionSetting = "transaction.max.timeout.ms"
	cleanupSetting        = "transaction.abort.timed.out.transaction.cleanup.interval.ms"
)

// defaultCleanup is Kafka's own, where no broker tells.
const defaultCleanup = 10 * time.Second

// failover checks the brokers' settings against our timeouts, and tells how long
// the partitions of a killed worker rest.
func (c *doctorCommand) failover(ctx context.Context, admin *kadm.Client, brokers []int32) []check {
	times := exactly.Config{}.Failover()
	configs, err := admin.DescribeBrokerConfigs(ctx, brokers...)
	for _, broker := range configs {
		err = errors.Join(err, broker.Err)
	}
	fit := verdict("timeouts", nil, fmt.Sprintf("the brokers take a session of %v and transactions of %v", times.Session, times.Transaction))
	switch {
	case errors.Is(err, kerr.ClusterAuthorizationFailed):
		// A worker finds out by itself: the brokers refuse such a timeout at once.
		fit.Detail = "not checked: allow this user DescribeConfigs on the cluster"
		configs = nil
	case err != nil:
		return []check{verdict("timeouts", fmt.Errorf("ask the brokers for their settings: %w", err), "")}
	default:
		if misfits := misfits(configs, times); len(misfits) > 0 {
			fit = verdict("timeouts", errors.New(strings.Join(misfits, "; ")), "")
		}
	}
	return []check{fit, c.bound(ctx, admin, times, configs)}
}

// bound tells how long the partitions of a killed worker rest.
func (c *doctorCommand) bound(ctx context.Context, admin *kadm.Client, times exactly.Failover, configs kadm.ResourceConfigs) check {
	const name = "failover"
	found := fmt.Sprintf("after a worker's kill -9 the others go on within %v (session %v, heartbeat %v) and a rebalance, %v more where an insert is in flight",
		times.Session+times.Heartbeat, times.Session, times.Heartbeat, times.Flush)
	cleanup, source := slowestCleanup(configs)
	late := fmt.Sprintf("%v (transaction %v, the brokers look every %v%s)", times.Transaction+cleanup, times.Transaction, cleanup, source)
	for _, stage := range topologies.Stages() {
		group := topologies.Group(c.Deployment, stage)
		// No worker has this id, but what is allowed for a group's ids is allowed for it.
		id := group + "/doctor"
		err := admin.FindTxnCoordinators(ctx, id)[id].Err
		if errors.Is(err, kerr.TransactionalIDAuthorizationFailed) {
			return verdict(name, nil, fmt.Sprintf("%s; what the dead one left open holds them up for up to %s, since this user does not see the transactional ids %s/*: "+
				"allow Describe and Write on the prefix %s-", found, late, group, c.Deployment))
		}
		if err != nil {
			return verdict(name, fmt.Errorf("ask for the coordinator of %s: %w", id, err), "")
		}
	}
	return verdict(name, nil, fmt.Sprintf("%s; they end what the dead one left open, and without Write on its transactional id the brokers do after up to %s", found, late))
}

// slowestCleanup is how often the brokers look for transactions that have timed
// out, and where that is from if none of them tells.
func slowestCleanup(configs kadm.ResourceConfigs) (interval time.Duration, source string) {
	for _, broker := range configs {
		if d, ok := setting(broker, cleanupSetting); ok {
			interval = max(interval, d)
		}
	}
	if interval == 0 {
		return defaultCleanup, " by default"
	}
	return interval, ""
}

// misfits are the settings of brokers that refuse our timeouts.
func misfits(configs kadm.ResourceConfigs, times exactly.Failover) []string {
	var found []string
	for _, broker := range configs {
		for _, s := range []struct {
			name  string
			ours  time.Duration
			fits  func(theirs time.Duration) bool
			limit string
		}{
			{minSessionSetting, times.Session, func(d time.Duration) bool { return d <= times.Session }, "at most"},
			{maxSessionSetting, times.Session, func(d time.Duration) bool { return d >= times.Session }, "at least"},
			{maxTransactionSetting, times.Transaction, func(d time.Duration) bool { return d >= times.Transaction }, "at least"},
		} {
			if theirs, ok := setting(broker, s.name); ok && !s.fits(theirs) {
				found = append(found, fmt.Sprintf("broker %s has %s=%d: set it to %s %d, or no worker can start", broker.Name, s.name, theirs.Milliseconds(), s.limit, s.ours.Milliseconds()))
			}
		}
	}
	return found
}

// setting is a broker's setting in milliseconds, where it tells.
func setting(broker kadm.ResourceConfig, name string) (time.Duration, bool) {
	for _, c := range broker.Configs {
		if c.Key == name {
			ms, err := strconv.ParseInt(c.MaybeValue(), 10, 64)
			return time.Duration(ms) * time.Millisecond, err == nil
		}
	}
	return 0, false
}
