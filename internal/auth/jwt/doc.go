// Package jwt signs and verifies JSON Web Tokens (RFC 7519) as connections and apps show them: what upstream's `auth: jwt` and
// `auth: static_jwt` do (P-jwt).
//
//	Signer, StaticFile ──▶ "Bearer TOKEN" ─ ─ ─▶ Verifier: bounds ─▶ keys ─▶ signature ─▶ claims ─▶ binding ─▶ policy ──▶ Identity
//	                                                          ▲                                └──▶ cache, until exp or other keys
//	                                        a file, text, or the issuer's JWKS
//
// Files are watched, however they are replaced; a bad one leaves in use what was there before. Keys of issuers are fetched and
// renewed beside what waits for nothing. Whatever a token can make us do before its signature is proven is bounded.
package jwt
