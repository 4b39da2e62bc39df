package main

import (
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tintype/tintype/exactly"
)

// The brokers' settings are held against our timeouts, and the bound counts with
// the slowest of them.
func TestDoctorKnowsTheBound(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.open(t, 1)
	checks := diagnose(t, exitOK, p.at()...)
	for name, facts := range map[string][]string{
		"timeouts": {"session of 10s", "transactions of 30s"},
		"failover": {"within 11s", "5s more", "end what the dead one left open", "40s", "every 10s by default"}, // kfake tells no interval.
	} {
		for _, fact := range facts {
			if c := checks[name]; !c.OK || !strings.Contains(c.Detail, fact) {
				t.Errorf("%s: %+v, want %s", name, c, fact)
			}
		}
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(p.kafka))
	if err != nil {
		t.Fatal(err)
	}
	admin := kadm.NewClient(client)
	t.Cleanup(admin.Close)
	limit := func(name, value string) kadm.AlterConfig { return kadm.AlterConfig{Name: name, Value: &value} }
	altered, err := admin.AlterBrokerConfigs(t.Context(), []kadm.AlterConfig{limit(minSessionSetting, "20000"), limit(maxTransactionSetting, "15000")})
	if err != nil || altered[0].Err != nil {
		t.Fatal(err, altered)
	}
	checks = diagnose(t, exitFailed, p.at()...)
	healthy(t, checks, map[string]string{"timeouts": minSessionSetting + "=20000: set it to at most 10000"})
	if c := checks["timeouts"]; !strings.Contains(c.Detail, maxTransactionSetting+"=15000: set it to at least 30000") {
		t.Errorf("a transaction timeout that is refused: %s", c.Detail)
	}
}

// Brokers may differ: each one's limits count, and the longest interval.
func TestBrokersMayDiffer(t *testing.T) {
	t.Parallel()
	broker := func(name, setting, value string) kadm.ResourceConfig {
		return kadm.ResourceConfig{Name: name, Configs: []kadm.Config{{Key: setting, Value: &value}}}
	}
	configs := kadm.ResourceConfigs{
		broker("1", cleanupSetting, "1000"), broker("2", cleanupSetting, "25000"), broker("3", maxSessionSetting, "9000"), broker("4", maxSessionSetting, "10000"),
	}
	if interval, source := slowestCleanup(configs); interval != 25*time.Second || source != "" {
		t.Errorf("the slowest cleanup is every %v%s", interval, source)
	}
	if found := misfits(configs, exactly.Config{}.Failover()); len(found) != 1 || !strings.Contains(found[0], "broker 3 has "+maxSessionSetting+"=9000: set it to at least 10000") {
		t.Errorf("misfits: %q", found)
	}
}

// Whoever may not see the transactions of others, nor the brokers' settings,
// is told the longer bound and what to allow.
func TestDoctorWithFewRights(t *testing.T) {
	t.Parallel()
	few := []kfake.ACL{
		{Resource: kmsg.ACLResourceTypeCluster, Name: "kafka-cluster", Pattern: kmsg.ACLResourcePatternTypeLiteral, Operation: kmsg.ACLOperationDescribe, Allow: true},
		{Resource: kmsg.ACLResourceTypeGroup, Name: "*", Pattern: kmsg.ACLResourcePatternTypeLiteral, Operation: kmsg.ACLOperationDescribe, Allow: true},
	}
	all := append([]kfake.ACL{
		{Resource: kmsg.ACLResourceTypeTransactionalId, Name: "tintype-", Pattern: kmsg.ACLResourcePatternTypePrefixed, Operation: kmsg.ACLOperationDescribe, Allow: true},
	}, few...)
	const mechanism = "SCRAM-SHA-512"
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.EnableSASL(), kfake.EnableACLs(), kfake.Superuser(mechanism, "root", "x"),
		kfake.User(mechanism, "few", "x", few...), kfake.User(mechanism, "all", "x", all...))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	for user, facts := range map[string][]string{
		"few": {"within 11s", "up to 40s", "does not see the transactional ids tintype-extract/*", "allow Describe and Write on the prefix tintype-"},
		"all": {"within 11s", "up to 40s", "end what the dead one left open"},
	} {
		checks := diagnose(t, exitFailed, "--kafka", "kafka://"+user+":x@"+cluster.ListenAddrs()[0], "--clickhouse", closed, "--blobs", fileURL(t.TempDir()))
		if c := checks["timeouts"]; !c.OK || !strings.Contains(c.Detail, "allow this user DescribeConfigs on the cluster") {
			t.Errorf("%s: timeouts: %+v", user, c)
		}
		for _, fact := range facts {
			if c := checks["failover"]; !c.OK || !strings.Contains(c.Detail, fact) {
				t.Errorf("%s: failover: %+v, want %s", user, c, fact)
			}
		}
	}
}
