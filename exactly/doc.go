// Package exactly runs goka processors on Kafka transactions, so that each
// input record changes the group table, the emitted records and the committed
// offset once or not at all.
//
// Stock goka commits offsets, table writes and emits separately: after a crash
// records are processed twice or, with filters, not at all. This package
// replaces goka's builders (consumer group, producer, topic manager, table
// consumer, storage) with ones on a franz-go GroupTransactSession. Callbacks,
// codecs, graphs, loops, joins and lookups stay as they are.
//
//	err := exactly.Run(ctx, exactly.Config{
//		Brokers:  []string{"127.0.0.1:9092"},
//		Instance: "host-1",
//		StateDir: "/var/lib/counter",
//		CreateTopics: true,
//	}, graph)
//
// Run supervises: it re-creates the processor after errors that heal and
// returns at once for those that cannot (see [IsPermanent]).
//
// The README beside this file holds the protocol, the invariants and the list
// of goka features that are refused.
package exactly
