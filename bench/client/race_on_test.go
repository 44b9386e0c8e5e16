//go:build race

package client

// raceDetector: crypto/sha256 allocates under it.
const raceDetector = true
