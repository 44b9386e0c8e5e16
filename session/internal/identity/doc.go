// Package identity is who says something in a session: tokens of a shared secret, the signatures of control messages, the
// ids that names and channels get from an identity, the memory of what was heard before, and how often who may speak.
//
// Token, header signature and payload signature hold together by the public key in the token: who has a token without its
// private key can sign nothing. What follows from a token that names another subject than the sender's is for the caller.
//
// Time is given. Secrets, keys and their functions, and a Pace, are safe for concurrent use; Replays and Paces are their owner's.
package identity
