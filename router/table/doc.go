// Package table says which connections hold a name: the subscription table of a node.
//
//	trie over the prefix's 192 bits ─> prefix ─> state: ids ─> entry: connections by kind, rotation
//	                                              └──> union of the connections over all ids
//
// A match loads and never waits: the prefix trie is changed by storing one child pointer, and everything below a
// prefix is immutable and replaced by one store of its state, so a match sees a prefix before or after a change,
// never in between. All changes go through one mutex that no match takes. What an observer may see of order and
// rotation is stated at MatchOne, MatchAll and Remove and checked against a plain model in twin_test.go.
//
// Who has many messages for one name keeps its Place: the prefix is looked for once, and again when it has gone.
//
// Cost, with n the prefixes, ids or connections at that level: matching and subscribing O(log n) everywhere, with a
// base of 32 or 64, and not worse than 33 steps for a prefix and 22 for an id whatever values a peer makes up.
package table
