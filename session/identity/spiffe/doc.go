// Package spiffe has identities of apps that a SPIFFE Workload API gives, such as that of SPIRE's agent: JWT-SVIDs by which other apps
// know this one, and such for nodes.
//
//	me, err := spiffe.New(spiffe.Options{})
//	if err != nil {
//		return err
//	}
//	defer me.Close() // after the app
//	app, err := session.Connect(ctx, session.Options{Name: name, Tokens: me, Verifier: me, Nodes: nodes})
//
// The app's subject is its SPIFFE ID. Whoever has an SVID of a trust domain of which the agent has a bundle is believed, unless
// Options.Peers says who is. All types are safe for all. The rules are P-id and P-spiffe of docs/protocol.md.
package spiffe
