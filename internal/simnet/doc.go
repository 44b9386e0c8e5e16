// Package simnet is a network in memory for tests: listeners, and connections with the buffers, delays and ends of
// real ones. It waits on conditions and timers only, never in the kernel. So a test may run in a bubble of
// testing/synctest, where time passes only while nothing else can be done: what it measures does not depend on the
// machine.
package simnet
