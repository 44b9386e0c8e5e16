package mls

import (
	"fmt"
)

// What holds secrets prints itself, for every verb: fmt would otherwise walk through its fields, and calls no method of
// those that are not exported. The receivers are values where that is possible, so that a copy is covered as well. A
// test walks all types.

// Format tells which group it is, and nothing of its secrets.
func (g Group) Format(f fmt.State, _ rune) {
	if g.now == nil {
		fmt.Fprint(f, "mls.Group{}")
		return
	}
	fmt.Fprintf(f, "mls.Group{%x, epoch %d, leaf %d}", clip(g.ID()), g.Epoch(), g.Own())
}

// Format tells where the change leads, and nothing of its secrets.
func (c Change) Format(f fmt.State, _ rune) {
	fmt.Fprintf(f, "mls.Change{epoch %d, by %v}", c.Epoch, c.Sender)
}

// Format tells whose keys they are, and not the keys.
func (p PrivateKeyPackage) Format(f fmt.State, _ rune) {
	if p.Package == nil {
		fmt.Fprint(f, "mls.PrivateKeyPackage{}")
		return
	}
	fmt.Fprintf(f, "mls.PrivateKeyPackage{%v}", p.Package.CipherSuite)
}

// Format tells nothing of what it keeps.
func (*MemoryStore) Format(f fmt.State, _ rune) { fmt.Fprint(f, "mls.MemoryStore{}") }

// Format tells how many parts there are.
func (s Saved) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "mls.Saved{%d parts}", len(s.Parts)) }

// Format tells nothing.
func (StateKey) Format(f fmt.State, _ rune) { fmt.Fprint(f, "mls.StateKey{}") }
