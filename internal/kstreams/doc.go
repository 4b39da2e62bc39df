// Package kstreams runs Apache Kafka Streams beside transform/window and says
// where the two differ. The Java programs are in bench/peers/kafka-streams.
//
// It needs Java 17 and Maven. Maven fetches Kafka Streams once and compiles the
// programs into the user's cache folder.
package kstreams
