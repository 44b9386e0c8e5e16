// Package certs makes TLS configurations of certificates, keys and authorities, from files or text or what is Live, and keeps
// them current while those change.
//
//	files ──folder changes──┬──▶ Watcher ──▶ Keeper.Reload ──▶ state, replaced whole ──▶ handshakes that begin from now on
//	Live ───────────changed─┘
//
// A Keeper has one configuration, of a listener or of a client. What cannot be loaded at the start is an *Error with the key
// to blame; what cannot be loaded later changes nothing. Connections that are open keep what they have.
//
// Versions, key exchanges and what makes an authority are upstream's: exactly one version of TLS; X25519MLKEM768, X25519,
// P-256 and P-384; authorities are trusted whatever their extensions say, as upstream's verifier does it (P-tls-3).
package certs
