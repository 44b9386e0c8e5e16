// Package rules says which names a connection may subscribe to, publish to and publish from, and what kind of connection it
// may be. It is what the protocol lacks (P-rule), and off unless a node is given a Set.
//
//	Source ──Compile──▶ Set ──For(identity)──▶ Rights ──May(act, name)──▶ yes or no
//	as written          immutable, shared       of one connection          some lookups of hashes, no allocation
//
// A Set is a value: who has a newer one asks that for new Rights. All that is compiled and looked up is bounded, whatever the
// rules, the claims and the names are.
//
// Names travel as hashes, and what routes is the hashes alone (P-name-4). So rules are compared with hashes, too: the strings
// beside them may say anything, and nothing here looks at them (P-rule-3).
package rules
