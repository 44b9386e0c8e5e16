// Package hpke is hybrid public key encryption in base mode (RFC 9180) as MLS uses it: each context seals one message or exports one
// secret, so there are no sequence numbers.
//
// The standard library's package serves neither all of MLS's suites nor private KEMs, and circl's allocates per step; the
// primitives below are theirs. Everything that comes from a peer, keys and encapsulations, may be any bytes: it is refused with an error.
package hpke
