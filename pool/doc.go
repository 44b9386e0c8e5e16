// Package pool holds the memory that crosses from one event loop to another, and who holds it: Buf, a counted piece of
// bytes, and Ring, a bounded queue between two loops. Quota bounds what all hold together. Gather is the uncounted
// sibling for cold paths.
package pool
