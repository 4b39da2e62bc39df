// Package windowsbench measures stage windows alone: its throughput beside Kafka
// Streams, its growth with the number of open windows, and what a million of them
// cost. It feeds the topic measures itself, control records included, and runs no
// other stage.
package windowsbench
