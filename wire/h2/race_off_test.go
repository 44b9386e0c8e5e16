//go:build !race

package h2

const pooled = true
