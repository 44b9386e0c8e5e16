// Package message is what the members of a session say to each other, one message as a value and as bytes: a publish of
// package wire with a session header and a content, which nodes pass on unseen.
//
//	Decode(b) ──▶ Message ──▶ Append(dst)
//	                 ├──▶ AppendAAD        what a header signature signs and MLS authenticates
//	                 └──▶ AppendSigned     what a payload signature signs
//
// What is encoded is canonical: fields in ascending order, defaults left out, empty messages that are present kept. Rust
// peers encode anew what they have decoded before they compare or verify, so other forms of the same would be refused.
//
// Input is foreign: Decode is bounded by the length of what it is given and by the limits of this package, and never
// panics. Nothing in a Message is authenticated by it. Sources: the protocol buffer definition in proto/, and for the two
// preimages docs/protocol.md.
//
// No function keeps state; all are safe for concurrent use. A Decoder and an Encoder do the same for one session, and remember
// headers: data of a session costs them no memory.
package message
