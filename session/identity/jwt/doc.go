// Package jwt has identities of apps that rest on JSON Web Tokens, and such tokens for nodes.
//
//	SelfSigned   an Ed25519 key of one's own, whose did:key is the subject, and a list of the keys of those who are believed
//	Source       tokens signed with a key, as upstream's `jwt` with an encoding key has them: for other apps
//	Verifier     what is made of the tokens of others: by one key, a list of keys, or the keys of their issuers
//	Link         tokens as those of a Source, and Static one from a file: for nodes only
//
// SelfSigned is both a session.TokenSource and a session.Verifier; a Source needs a Verifier beside it, which has to believe the app's
// own tokens, too, as every member of an encrypted session looks at itself.
//
//	me, err := jwt.NewSelfSigned(jwt.SelfSignedOptions{
//		PrivateKey:  jwt.File("alice.pem"),
//		TrustedKeys: jwt.File("trusted.json"),
//	})
//	if err != nil {
//		return err
//	}
//	defer me.Close() // after the app
//	app, err := session.Connect(ctx, session.Options{Name: name, Tokens: me, Verifier: me, Nodes: nodes})
//
// A token for other apps has the app's public key in it, as `pubkey`, and goes with its messages in the clear: nodes and members see it. So
// another key, or another audience, had better sign what is shown to nodes. One for nodes has no public key, and no app believes it.
//
// Files may be replaced at any time, in whatever manner. What a file holds that is wrong is said in the log, and counted; what was in use
// stays in use, and the file is read again when it changes, and each minute. When a key is taken from a list its tokens are not
// believed any more, although they have not expired. All types are safe for all. The rules are P-id of docs/protocol.md.
package jwt
