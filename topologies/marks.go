package topologies

import (
	"maps"
	"strconv"
	"strings"

	"github.com/google/uuid"

	"github.com/tintype/tintype/exactly"
)

// marks tell whether what a stage holds in memory is still what the group has
// committed. Each commit leaves a mark of its own in the metadata of its offsets.
// An assignment whose offsets carry the very marks of the last commit comes after an
// abort: memory goes back to that commit. With any other, somebody else was at work,
// or this process began anew: memory is built up again.
type marks struct {
	process            uuid.UUID
	count              int
	pending, committed map[claimID]string
}

// claimID names a partition of an input.
type claimID struct {
	topic     string
	partition int32
}

// next is the mark to commit with a partition's offset.
func (m *marks) next(topic string, partition int32) string {
	if m.pending == nil {
		m.pending = map[claimID]string{}
	}
	mark := m.process.String() + "/" + strconv.Itoa(m.count)
	m.pending[claimID{topic, partition}] = mark
	return mark
}

// commit says that what next told of is committed.
func (m *marks) commit() {
	maps.Copy(m.committed, m.pending)
	m.pending = nil
	m.count++
}

// assign takes over an assignment. It reports whether it is the one before, as this
// process left it at its last commit.
func (m *marks) assign(claims []exactly.Claim) (same bool) {
	if m.process == uuid.Nil {
		m.process = uuid.New()
	}
	m.pending = nil
	same = m.committed != nil && len(m.committed) == len(claims)
	now := make(map[claimID]string, len(claims))
	for _, c := range claims {
		id, mark := claimID{c.Topic, c.Partition}, readMetadata(c.Metadata)["mark"]
		if old, held := m.committed[id]; !held || old != mark {
			same = false
		}
		now[id] = mark
	}
	m.committed = now
	return same
}

// metadataVersion begins what stands in an offset's metadata.
const metadataVersion = "tintype1"

// writeMetadata writes pairs of names and values.
func writeMetadata(pairs ...string) string {
	var b strings.Builder
	b.WriteString(metadataVersion)
	for i := 0; i+1 < len(pairs); i += 2 {
		b.WriteString(" " + pairs[i] + "=" + pairs[i+1])
	}
	return b.String()
}

// readMetadata reads what writeMetadata wrote; empty where something else stands.
func readMetadata(text string) map[string]string {
	fields := strings.Fields(text)
	if len(fields) == 0 || fields[0] != metadataVersion {
		return nil
	}
	pairs := make(map[string]string, len(fields)-1)
	for _, field := range fields[1:] {
		name, value, _ := strings.Cut(field, "=")
		pairs[name] = value
	}
	return pairs
}
