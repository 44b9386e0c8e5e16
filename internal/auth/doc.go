// Package auth says who a connection is: how a client shows it, how a listener judges it, and what is written down of both. It
// knows no transport: HTTP/2 and WebSocket ask it with what a request has brought, a link with what it is to bring.
//
//	client: Source ──▶ header of the request ─ ─ ─▶ listener: Verifier ──▶ Identity ──▶ what its connection may do
//	                                                              └──▶ Denied: 401 or 403, and the reason in the audit log alone
//
// Who makes and judges what stands in packages of their own: jwt, oidc, spire, policy. Sessions of apps
// (session/identity) use the same.
//
// Verifiers and Sources may take their time: they are asked beside the loops, about a request that waits, and never about a
// message. The rules are P-auth-1 and following of docs/protocol.md.
package auth
