// Package spire shows and judges what a SPIFFE Workload API gives, such as that of a SPIRE agent: JWT-SVIDs in requests,
// X.509-SVIDs and bundles in TLS. The rules are P-spiffe-1 and following of docs/protocol.md.
//
//	Workload API ──streams──▶ Agent ──▶ X509      certificates and authorities of listeners and clients
//	                            ├─────▶ Source    what a client shows: a JWT-SVID, renewed before it expires
//	                            └─────▶ Verifier  judges JWT-SVIDs by the bundles of now
//
// An Agent is one connection to one API, shared by all that name its address, and asks for nothing that nobody wants. An API
// that is away hinders no start: what needs it says why it has nothing, and has it once the API is there. What it gave last
// stays in use while it is away.
package spire
