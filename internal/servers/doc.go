// Package servers turns the addresses that a user gives into clients: Kafka
// URLs into franz-go options, ClickHouse URLs into clickhouse-go options,
// schema registry URLs into framed codecs. Passwords come from the
// environment or from files and are never part of a message.
package servers
