// Package chaos runs the pipeline as real processes on a real Kafka broker and
// breaks it: workers, the broker and ClickHouse are killed and paused, answers
// are lost, records are poison. Afterwards every upload must have its fate, once.
//
// The plan of a run is a pure function of its seed. Proxies between the processes
// see what is open when a fault strikes, so that a run can tell whether its kills
// hit anything.
package chaos
