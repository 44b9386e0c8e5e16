// Package mac is the header MAC of a SLIM link: its preimage, and the keyed hash over it.
//
// A MAC signs and checks the header of every message after the negotiation on edge and remote links. It reads no
// clock, starts no goroutine and allocates nothing after New.
package mac
