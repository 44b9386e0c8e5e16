//go:build race || invariants

package router

// pooled says whether pools keep what they are given: the race detector drops at random, poisoned buffers are new.
const pooled = false

// slower says that everything takes many times as long: what one goroutine plays through is played for a shorter time.
const slower = true
