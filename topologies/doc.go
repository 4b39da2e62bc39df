// Package topologies wires the pure stages into goka processors: decode, call
// the pure step, emit, set state, dead-letter. It decides nothing about photos,
// and beside package exactly it is the only importer of goka.
//
// Three groups make the pipeline, each named <deployment>-<stage>:
//
//   - extract reads uploads, keyed by upload id; its table holds the upload ids
//     that are taken; records without their right key pass its loop first
//   - transform reads photos, keyed by content hash; its table holds the first
//     sighting of every photo
//   - load reads developed and dead-letters and has no table: the sink itself
//     knows what it holds
package topologies
