//go:build !gates

package router

// resets is how many connections are reset; the tag gates takes fifty times as many.
const resets = 2_000
