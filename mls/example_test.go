package mls_test

import (
	"fmt"
	"log"
	"time"

	"github.com/seed31b3bfd0/slimgo/mls"
)

// client makes the configuration of a client that calls itself name. Who is to be believed is for the application to
// say, in Credentials; here everybody is.
func client(name string) *mls.Config {
	const suite = mls.X25519AES128SHA256Ed25519
	key, err := mls.GenerateSigningKey(suite, nil)
	if err != nil {
		log.Fatal(err)
	}
	return &mls.Config{
		CipherSuite: suite,
		Credential:  mls.BasicCredential([]byte(name)),
		Key:         key,
		Now:         time.Now,
		KeyPackages: &mls.MemoryStore{},
		Credentials: func(p *mls.Presented) error { return nil },
	}
}

// A group of three: Alice creates it, adds Bob and Carol with one commit, all talk, and Bob is removed.
func Example() {
	alice, bob, carol := client("Alice"), client("Bob"), client("Carol")

	// Key packages are published by those who want to be added.
	var adds []mls.Proposal
	for _, c := range []*mls.Config{bob, carol} {
		k, err := c.NewKeyPackage()
		if err != nil {
			log.Fatal(err)
		}
		adds = append(adds, &mls.Add{KeyPackage: k})
	}
	a, err := mls.Create(alice, nil)
	if err != nil {
		log.Fatal(err)
	}
	change, err := a.Commit(mls.CommitOptions{Proposals: adds})
	if err != nil {
		log.Fatal(err)
	}
	// Here the commit would be sent to those who are in the group. When it is accepted it is applied, and the newcomers
	// are welcomed.
	if err := change.Apply(); err != nil {
		log.Fatal(err)
	}
	b, err := mls.Join(bob, change.Welcomes[0], mls.JoinOptions{})
	if err != nil {
		log.Fatal(err)
	}
	c, err := mls.Join(carol, change.Welcomes[0], mls.JoinOptions{})
	if err != nil {
		log.Fatal(err)
	}

	message, err := b.Protect(nil, []byte("hello"), []byte("a header that everybody may read"))
	if err != nil {
		log.Fatal(err)
	}
	for _, g := range []*mls.Group{a, c} {
		r, err := g.Process(message)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%s in epoch %d: %s (%s)\n", g.Member(r.Sender.Leaf).Credential.Identity, r.Epoch, r.Application, r.AAD)
	}

	// Carol looks at what Alice's commit does before she lets it happen.
	change, err = a.Commit(mls.CommitOptions{Proposals: []mls.Proposal{&mls.Remove{Leaf: b.Own()}}})
	if err != nil {
		log.Fatal(err)
	}
	r, err := c.Process(change.Commit)
	if err != nil {
		log.Fatal(err)
	}
	for _, who := range r.Change.Removed {
		by := r.Change.Committer.Before
		fmt.Printf("%s is removed by %s\n", who.Before.Credential.Identity, by.Credential.Identity)
	}
	if err := r.Change.Apply(); err != nil {
		log.Fatal(err)
	}
	if err := change.Apply(); err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%d members in epoch %d\n", len(c.Members()), c.Epoch())

	message, err = a.Protect(nil, []byte("between us"), nil)
	if err != nil {
		log.Fatal(err)
	}
	_, err = b.Process(message)
	fmt.Println("Bob:", mls.KindOf(err))

	// Output:
	// Bob in epoch 1: hello (a header that everybody may read)
	// Bob in epoch 1: hello (a header that everybody may read)
	// Bob is removed by Alice
	// 2 members in epoch 2
	// Bob: future epoch
}
