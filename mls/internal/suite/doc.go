// Package suite holds the cipher suites of MLS (RFC 9420, section 5.1): the labelled operations of sections 5.1.2, 5.1.3, 5.2,
// 8 and 9 over a hash, an HPKE scheme and a signature algorithm. A suite is a row of the registry.
package suite
