// Package kafkastreams carries the Java sources of this folder, for whoever
// builds and runs them.
package kafkastreams

import "embed"

// Source is the Maven project.
//
//go:embed pom.xml src
var Source embed.FS
