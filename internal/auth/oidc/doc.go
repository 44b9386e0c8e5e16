// Package oidc shows and judges access tokens of an OpenID Connect provider, as upstream's `auth: oidc` (P-oidc). A Source gets
// them, by whichever grant its options allow, and renews them in the background; a Verifier judges them by the keys that the
// provider publishes, and by a policy over their claims.
//
//	Source:   files, secrets ──▶ grant ──▶ token endpoint ──▶ rotated refresh token kept first ──▶ access token ──▶ Authorization
//	Verifier: token ──▶ keys of the provider, renewed ──▶ signature ──▶ claims ──▶ userinfo ──▶ policy ──▶ Identity
//
// Nobody of a message's path asks here. What comes from the provider is bounded by package fetch.
package oidc
