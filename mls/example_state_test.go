package mls_test

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"log"

	"github.com/seed31b3bfd0/slimgo/mls"
)

// store keeps the parts of one group. In a program it is a table, with the group's id beside the number, and put is one
// transaction.
type store map[uint64][]byte

// put writes what has changed of a group: before anything is sent or handed over.
func (s store) put(g *mls.Group) {
	saved, err := g.Save()
	if err != nil {
		log.Fatal(err)
	}
	for _, p := range saved.Parts {
		if !s.takes(p) {
			log.Fatalf("part %d is of another Group that was made of this store", p.Number)
		}
		s[p.Number] = p.Data
	}
	for _, n := range saved.Obsolete {
		delete(s, n)
	}
	if err := saved.Done(); err != nil {
		log.Fatal(err)
	}
}

// takes reports whether p is newer than all that is there, or there already.
func (s store) takes(p mls.Part) bool {
	if b, ok := s[p.Number]; ok {
		return bytes.Equal(b, p.Data)
	}
	for n := range s {
		if n > p.Number {
			return false
		}
	}
	return true
}

func (s store) all() (parts [][]byte) {
	for _, p := range s {
		parts = append(parts, p)
	}
	return parts
}

// Bob's program stops between his commit and its acceptance, and goes on.
func ExampleGroup_Save() {
	alice, bob := client("Alice"), client("Bob")
	key := make([]byte, mls.StateKeySize)
	if _, err := rand.Read(key); err != nil {
		log.Fatal(err)
	}
	var err error
	if bob.StateKey, err = mls.NewStateKey(key, "Bob"); err != nil {
		log.Fatal(err)
	}
	k, err := bob.NewKeyPackage()
	if err != nil {
		log.Fatal(err)
	}
	a, err := mls.Create(alice, nil)
	if err != nil {
		log.Fatal(err)
	}
	change, err := a.Commit(mls.CommitOptions{Proposals: []mls.Proposal{&mls.Add{KeyPackage: k}}})
	if err != nil {
		log.Fatal(err)
	}
	if err := change.Apply(); err != nil {
		log.Fatal(err)
	}

	kept := store{}
	b, err := mls.Join(bob, change.Welcomes[0], mls.JoinOptions{})
	if err != nil {
		log.Fatal(err)
	}
	kept.put(b) // now Bob's key package is gone

	mine, err := b.Commit(mls.CommitOptions{})
	if err != nil {
		log.Fatal(err)
	}
	kept.put(b) // and only now the commit is sent
	sent := mine.Commit

	b, err = mls.Restore(bob, kept.all())
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("epoch %d, %d commits on their way\n", b.Epoch(), len(b.Outstanding()))

	// The commit comes back: it was accepted.
	_, err = b.Process(sent)
	fmt.Println(mls.KindOf(err))
	if err := b.Outstanding()[0].Apply(); err != nil {
		log.Fatal(err)
	}
	kept.put(b)
	r, err := a.Process(sent)
	if err != nil {
		log.Fatal(err)
	}
	if err := r.Change.Apply(); err != nil {
		log.Fatal(err)
	}
	fmt.Printf("epochs %d and %d\n", a.Epoch(), b.Epoch())

	// Output:
	// epoch 1, 1 commits on their way
	// own message
	// epochs 2 and 2
}
