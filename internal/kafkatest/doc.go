// Package kafkatest runs a real Apache Kafka broker for tests: one process,
// broker and controller in one (KRaft), listening on 127.0.0.1 only.
//
// It needs Java 17. Maven fetches the broker's jars once, into the user's
// cache folder. The broker dies with the process that started it.
package kafkatest
