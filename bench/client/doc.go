// Package client is a raw SLIM client for load: HTTP/2 by wire/h2, negotiation by wire/link, header MAC by wire/mac, messages
// assembled once and patched. No gRPC library, no session layer: what is measured with it is the node.
//
// A connection is edge and strict, as an app's is: every header is signed. Where a header repeats byte for byte its tag is
// computed once; with a fresh identity each message is hashed. Small messages share DATA frames and writes.
package client
