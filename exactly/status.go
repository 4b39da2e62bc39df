package exactly

import (
	"fmt"
	"sync/atomic"
	"time"
)

// Status is written by the adapter and may be read at any time, for readiness
// probes and metrics. The zero value is ready to use; one Status serves one
// group member.
type Status struct {
	ready                        atomic.Bool
	committed, aborted, restarts atomic.Uint64
	records, emits               atomic.Uint64
	inFlight, partitions         atomic.Int64
	overlayKeys, overlayBytes    atomic.Int64
	pauseNS, rebalances          atomic.Int64
	lastCommit                   atomic.Int64 // Unix ns
	lastError                    atomic.Pointer[string]
	// tables finds an open partition of the group's table; nil: there is none.
	tables atomic.Pointer[func(partition int32) *store]
}

// Stats is a reading of a Status.
type Stats struct {
	Committed    uint64        // transactions
	Aborted      uint64        // transactions
	Restarts     uint64        // processors created anew after an error
	Rebalances   int64         // times that partitions were taken away
	Records      uint64        // input records committed
	Emits        uint64        // records produced, table writes included, aborted ones too
	InFlight     int64         // input records delivered and not yet marked
	Partitions   int64         // claims held
	OverlayKeys  int64         // table keys changed by the last transaction
	OverlayBytes int64         // their size
	Pause        time.Duration // time without delivery: commits, flushes, setups
	LastCommit   time.Time     // zero before the first
	LastError    string        // empty while all is well
}

// Ready reports whether the member is in the group, its tables (if it holds
// partitions) are recovered, and records flow.
func (s *Status) Ready() bool { return s.ready.Load() }

// Snapshot reads all figures.
func (s *Status) Snapshot() Stats {
	st := Stats{
		Committed: s.committed.Load(), Aborted: s.aborted.Load(), Restarts: s.restarts.Load(), Rebalances: s.rebalances.Load(),
		Records: s.records.Load(), Emits: s.emits.Load(), InFlight: s.inFlight.Load(), Partitions: s.partitions.Load(),
		OverlayKeys: s.overlayKeys.Load(), OverlayBytes: s.overlayBytes.Load(), Pause: time.Duration(s.pauseNS.Load()),
	}
	if ns := s.lastCommit.Load(); ns != 0 {
		st.LastCommit = time.Unix(0, ns).UTC()
	}
	if e := s.lastError.Load(); e != nil {
		st.LastError = *e
	}
	return st
}

func (s *Status) setError(err error) {
	if err == nil {
		s.lastError.Store(nil)
		return
	}
	text := err.Error()
	s.lastError.Store(&text)
}

// EachKey calls f with the keys of a partition of the group's table in order, from
// one on, as of the last commit, until f returns false. It may be called at any
// time; a partition that is not held is an error, and one that is taken away ends the
// walk with one. The value is f's for the call alone.
func (s *Status) EachKey(partition int32, from string, f func(key string, value []byte) bool) error {
	var st *store
	if tables := s.tables.Load(); tables != nil {
		st = (*tables)(partition)
	}
	if st == nil {
		return fmt.Errorf("exactly: read table: partition %d is not held", partition)
	}
	return st.eachKey(from, f)
}
