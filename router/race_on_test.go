//go:build race || invariants

package router

import "time"

// pooled says whether pools keep what they are given: the race detector drops at random, poisoned buffers are new.
const pooled = false

// slower says that everything takes many times as long: what one goroutine plays through is played for a shorter time.
const slower = true

// hang is when a test that waits for an event is given up: long after a busy machine has come to it.
const hang = 20 * time.Minute

// atOnce is how many tests that wait run side by side. They compute for most of their time here.
const atOnce = "4"
