//go:build !race && !invariants

package router

// pooled says whether pools keep what they are given.
const pooled = true

// slower says that everything takes many times as long.
const slower = false
