// Package event is the contract between the stages: the topics, the Protobuf
// messages on them (package eventpb), the codecs that read and write them, and
// the words that all stages share: positions, outcomes, reasons, stages.
//
// It imports no other package of this project and knows nothing of goka,
// though [Codec] has the shape of a goka codec.
package event
