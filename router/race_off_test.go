//go:build !race && !invariants

package router

import "time"

// pooled says whether pools keep what they are given.
const pooled = true

// slower says that everything takes many times as long.
const slower = false

// hang is when a test that waits for an event is given up: long after a busy machine has come to it.
const hang = 5 * time.Minute

// atOnce is how many tests that wait run side by side.
const atOnce = "12"
