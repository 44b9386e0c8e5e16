//go:build !race

package mls

// slower says that everything takes many times as long.
const slower = false
