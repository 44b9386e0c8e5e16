//go:build !race

package compress

const pooled = true
