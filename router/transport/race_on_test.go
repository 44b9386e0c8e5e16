//go:build race

package transport

// pooled says whether pools keep what they are given: the race detector has them drop some at random.
const pooled = false
