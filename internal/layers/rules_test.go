package layers

// folder says what the files below a folder may import of this project. The
// longest folder that matches a file is the one that counts, and every file
// needs one. A folder may always import what lies below itself; what lies
// below a folder is imported by the same right.
//
// Imports run one way:
//
//	event, blob ← extract, transform, load ← topologies ← bench, internal, cmd
type folder struct {
	path string
	may  []string
}

var folders = []folder{
	// The contract and the store.
	{"event", nil},
	{"blob", nil},

	// The stages, which never import each other; internal/header is the part
	// of a photo's reading that extract and transform share.
	{"extract", []string{"event", "blob", "internal/header"}},
	{"transform", []string{"event", "blob", "internal/header"}},
	{"transform/window", nil},
	{"load", []string{"event", "blob"}},
	{"internal/header", []string{"event"}},

	// goka on transactions, which knows nothing of photos.
	{"exactly", nil},

	// The stages as goka processors.
	{"topologies", []string{"event", "blob", "extract", "transform", "load", "exactly"}},

	// What surrounds them.
	{"internal/audit", []string{"event", "exactly", "load"}},
	{"internal/compose", nil},
	{"internal/devstack", nil},
	{"internal/invariant", nil},
	{"internal/kafkatest", nil},
	{"internal/kstreams", []string{"transform/window", "bench/peers/kafka-streams"}},
	{"internal/layers", nil},
	{"internal/lifecycle", nil},
	{"internal/servers", []string{"event"}},
	{"internal/verify", []string{"event", "load", "internal/audit"}},
	{"internal/deployment", []string{"event", "blob", "extract", "transform", "load", "topologies", "exactly", "internal/servers"}},
	{"internal/produce", []string{"event", "blob", "bench/synthetic", "internal/servers"}},

	// The generator of photos, and the measurements.
	{"bench/synthetic", nil},
	{"bench/goka", []string{"exactly"}},
	{"bench/peers/kafka-streams", nil},
	{"bench/windows", []string{"event", "blob", "exactly", "topologies", "transform/window"}},
	{"bench", []string{
		"event", "blob", "extract", "transform", "load", "topologies", "exactly",
		"internal/deployment", "internal/devstack", "internal/lifecycle", "internal/produce", "internal/servers",
	}},

	// The whole pipeline under test, and under faults: chaos recounts what the
	// loader, the stages and the audit say, so it shares nothing with them.
	{"internal/e2e", []string{"event", "blob", "extract", "transform", "load", "topologies", "exactly", "bench", "internal"}},
	{"internal/chaos", []string{"event", "exactly", "bench/synthetic", "internal/devstack", "internal/kafkatest"}},

	// The programs; nobody imports them.
	{"cmd/chserver", nil},
	{"cmd/tintype", []string{"event", "blob", "extract", "transform", "load", "topologies", "exactly", "bench", "internal"}},
}

// forTests are what test files may import beside: the servers they run on.
var forTests = []string{"internal/devstack", "internal/kafkatest"}

// confined are imports that only some folders may have, with or without tests.
var confined = []struct {
	what string
	// project tells that it is a folder of this project, and that test files
	// may import it everywhere.
	project bool
	only    []string
}{
	{what: "github.com/ebitengine/purego", only: []string{"cmd/chserver"}},
	// bench/goka runs stock goka, over sarama, beside exactly.
	{what: "github.com/lovoo/goka", only: []string{"exactly", "topologies", "bench/goka"}},
	{what: "github.com/IBM/sarama", only: []string{"exactly", "bench/goka"}},
	{what: "internal/devstack/devtest", project: true, only: []string{"internal/devstack/devtest", "internal/e2e", "internal/chaos"}},
	{what: "internal/kafkatest", project: true, only: []string{"internal/kafkatest", "internal/kstreams", "internal/e2e", "internal/chaos"}},
}
