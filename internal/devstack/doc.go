// Package devstack is the stack that needs no server installed: a Kafka
// broker in this process (kfake), the ClickHouse engine in a child process
// (chserver) and a folder of blobs, all kept in one folder over restarts.
package devstack
