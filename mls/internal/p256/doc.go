// Package p256 makes and checks ECDSA signatures on the curve P-256 (FIPS 186-5, RFC 6979 appendix A.2.5), for the suite that SLIM uses
// unless told otherwise: of a message there, two thirds are its signature.
//
// The standard library signs as well, but with some sixty allocations and randomness of its own; here a signature allocates its result,
// takes randomness from the caller, and takes some half of the time. The multiple of the generator is filippo.io/nistec's, the code of
// the standard library, in constant time. So is the arithmetic modulo the order of the curve, which is here: no branch and no index
// depends on a secret. What is inverted in other time is hidden first.
//
// To check signatures is to multiply two points, the generator and the key. The standard library takes as many doublings of the key
// as its order has bits, each time. Here a key that has been checked with before has a table of its multiples, which leaves a
// sixteenth of them and makes a check a quarter as long: of 16 KiB, for 64 keys of the process at most. Nothing of
// a check is secret, so its arithmetic is not in constant time. Keys without a table are the standard library's.
package p256
