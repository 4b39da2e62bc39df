// Package windowcount counts by hand what windows must come to: from the topic
// uploads alone, by the rules as they are written down, and with nothing of the
// code that it checks. It is slow and holds everything in memory.
package windowcount
