// Package identity is who says something in a session: tokens of a shared secret, the signatures of control messages, the
// ids that names and channels get from an identity, and the memory of what was heard before.
//
// Token, header signature and payload signature hold together by the public key in the token: who has a token without its
// private key can sign nothing. What follows from a token that names another subject than the sender's is for the caller.
//
// Time is given. Secrets, keys and their functions are safe for concurrent use; a Replays is its owner's.
package identity
