// Package pool holds the memory that crosses from one event loop to another, and who holds it: Buf, a counted piece of
// bytes, Ring, a bounded queue between two loops, and Pipe, a bounded way of Bufs between a loop and an app in its process.
// Quota bounds what all hold together. Gather is the uncounted sibling for cold paths.
package pool
