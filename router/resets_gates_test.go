//go:build gates

package router

const resets = 100_000
