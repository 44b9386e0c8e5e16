//go:build !race

package transport

const pooled = true
