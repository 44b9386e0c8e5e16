// Package fetch gets JSON from identity providers: discovery documents, sets of keys, tokens. Who asks for a connection may
// be able to choose what is asked, and who answers may be hostile, slow or broken: everything is bounded in bytes, time,
// redirects and number.
//
//	Client.Get ──▶ one request for all who ask for this URL now ──▶ at most MaxBytes within Timeout, same origin ──▶ Reply
//	Pace: how often a stranger may make us ask again
package fetch
