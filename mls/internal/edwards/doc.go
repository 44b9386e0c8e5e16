// Package edwards checks Ed25519 signatures (RFC 8032), as crypto/ed25519 does and with the same verdicts. Keys that are checked with again
// and again have a table of their multiples, as in package p256, which leaves sixteen doublings of 252: of 31 KiB, for 64 keys of the process
// at most. The arithmetic of the field, and what is a point or a scalar, is filippo.io/edwards25519's, the code of the standard library.
// Nothing of a check is secret, so which entries are read depends on it. Keys without a table are the standard library's.
package edwards
