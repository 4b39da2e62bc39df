// Package load writes the read model: it turns fates and dead letters into rows
// of ClickHouse, each exactly once, and holds the schema and the reports.
//
// ClickHouse takes no part in Kafka's transactions, so the sink makes a replay
// harmless: every row carries the position of the record that the loader read,
// and a record at or below a table's watermark is skipped for that table. Rows are
// inserted under leases, by the owner of their partition alone (table load_owners);
// a record whose rows ClickHouse refuses becomes a dead letter, which keeps its fate.
package load
