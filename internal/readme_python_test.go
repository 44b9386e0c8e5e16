//go:build interop

package internal

const withPython = true
