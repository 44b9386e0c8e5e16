//go:build race

package compress

// pooled says whether pools keep what they are given: the race detector has them drop some at random.
const pooled = false
