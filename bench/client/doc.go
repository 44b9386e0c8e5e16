// Package client is the SLIM client of the load generator: connections of session/uplink that send copies of messages which
// were encoded once, many with one write, each with a stamp and, where it is new, an identity and a header MAC of its own.
// It also speaks to the blind relay, which negotiates nothing.
package client
