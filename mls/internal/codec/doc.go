// Package codec reads and writes the presentation language of RFC 9420, section 2.1: fixed integers in network order,
// vectors whose length stands in front of them as a variable-size integer, optional values.
//
// Reading is total: every length is checked against what is there before anything is done with it, nothing is allocated on the
// word of a length, and the one way to write a value is the only way that is read.
package codec
