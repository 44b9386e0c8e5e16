//go:build !race && !invariants

package router

// pooled says whether pools keep what they are given.
const pooled = true
