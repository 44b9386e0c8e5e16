// Package p256 makes ECDSA signatures on the curve P-256 (FIPS 186-5, RFC 6979 appendix A.2.5). The standard library signs as well, but
// with some sixty allocations and randomness of its own; here a signature allocates its result, takes randomness from the caller, and
// takes some three quarters of the time. Points are filippo.io/nistec's, the code of the standard library; what is here is arithmetic
// modulo the order of the curve, in constant time: no branch and no index depends on a secret.
//
// Signatures are checked by the standard library, which is good enough at that.
package p256
