// Package hop takes the header of a routed message one hop further.
//
//	sender's link                                               receiver's link
//	Receive: parse, verify, check, lower the TTL  ──▶ Known ──▶ Header: rewrite, sign
//	   remembers the latest headers of the sender                  remembers what has gone to the receiver
//
// A header MAC is a pure function of the header and the link (P-mac-1). So a header that comes again byte for byte
// needs neither parsing nor hashing, and leaves again with the bytes and the tag of before. An application that makes a
// new identity for each message repeats at least the names; for those the state of the hash is kept. And since two MACs
// side by side cost little more than one (mac.Tag2), a new header is verified together with its signature for the
// receiver that its names had last time, and the signatures of a fan-out are made in pairs.
//
// None of this shows: a twin in the tests, which remembers nothing and hashes with crypto/hmac, yields the same
// verdicts and the same bytes. What is remembered is bounded for all links of an event loop together (Options.Memory),
// and given back when it is not used.
//
// A Scratch and all its Links belong to one event loop: one call at a time. Nothing on the way of a publish allocates
// once its names are known.
package hop
