package exactly

import "time"

// Failover are the times that bound how long the partitions of a member rest
// that was killed: Session + Heartbeat, and Flush where another member is in the
// middle of one, and then a rebalance.
type Failover struct {
	// Session is how long the group waits for the dead.
	Session time.Duration
	// Heartbeat is how long until the others learn that it gave up.
	Heartbeat time.Duration
	// Flush is how long at most they wait for a hook BeforeCommit that runs.
	Flush time.Duration
	// Transaction is how long the dead member's open transaction may hold up its
	// readers, and the recovery of its tables, where the others may not end it:
	// this long after it began the broker may, and does as soon as it looks
	// (transaction.abort.timed.out.transaction.cleanup.interval.ms).
	Transaction time.Duration
}

// Failover are the times of members that run with this configuration.
func (cfg Config) Failover() Failover {
	cfg.setTimeouts()
	return Failover{
		Session: cfg.SessionTimeout, Heartbeat: cfg.HeartbeatInterval, Flush: cfg.flushPatience(), Transaction: cfg.TransactionTimeout,
	}
}

// flushPatience is how long a member that loses its partitions lets a hook
// BeforeCommit run on: the group waits no longer than its session timeout.
func (cfg *Config) flushPatience() time.Duration { return cfg.SessionTimeout / 2 }
