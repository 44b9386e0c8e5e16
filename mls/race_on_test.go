//go:build race

package mls

// slower says that everything takes many times as long: of what one goroutine does many times a sample is done.
const slower = true
