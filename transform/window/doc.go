// Package window aggregates events by event time. All of it is pure: what a
// window comes to depends on the events and their stamps, not on the order in
// which sources interleave, on clocks, or on restarts.
//
// Time has four names here. An event's own time is its event time. The stream
// time of a source (a partition of the log) is the greatest event time that it
// has had, the event included: an event is late by that stamp alone. The
// watermark is the least stream time of all sources, as far as it is known to
// whoever closes windows. Grace is how far both may lag behind a window's end.
//
// The inequalities stand in rules.go. They are those of Kafka Streams, but for
// sessions, which need two stricter ones so that no event that is accepted can
// meet a closed window.
package window
