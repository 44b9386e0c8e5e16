// Package wire reads and writes SLIM messages as bytes: the protobuf messages of package dataplane.proto.v1 that travel
// over a connection, one per gRPC message or binary WebSocket message.
//
// A node needs little of a message: its kind, two names, fanout, ttl and the link's MAC. The rest is never decoded, but
// walked: no receiver gets what it cannot decode. [Scan] does so and finds where the parts lie, [ParseHeader] reads the
// SLIMHeader, and a message goes one hop further as
//
//	b[:Pre] | oneof tag, new length | b[Body.Off:HeadAt] | header tag, new length | new header | b[Header.End:]
//	`------------------------ AppendOpening ----------------------------------'   AppendHeader   `--- tail, shared ---'
//
// with every byte of session header, content and metadata as the originator wrote it.
//
// Input is foreign: every function is bounded by the length of its input, never panics, and refuses what prost (the
// decoder of the Rust nodes) refuses: truncated fields, malformed varints, field number 0, a known field with a wrong
// wire type, strings that are not UTF-8, groups nested too deep. Where protobuf would merge repeated messages, Odd is
// set and [Normalise] writes the message anew.
//
// The functions hold no state and are safe for concurrent use; those on the path of a publish do not allocate.
package wire
