package mls_test

import (
	"cmp"
	"fmt"
	"log"
	"strings"
	"time"

	"github.com/seed31b3bfd0/slimgo/mls"
)

// A session of SLIM. Commit ids, acknowledgements and retries are the session layer's. Rotation is for groups without
// members of the Rust implementation, who neither send nor take proposals.
func Example_slim() {
	alice, bob, carol := newMember("alice"), newMember("bob"), newMember("carol")
	alice.group = must(mls.Create(alice.cfg, nil)) // no extensions, and a random id; saved with the first commit
	alice.invite(bob)                              // of which nobody else is to be told
	alice.invite(carol, bob)
	alice.hear("bob", bob.say("hello"), bob.say("is it raining?"))
	carol.hear("alice", bob.say("it is"))
	// A commit of a participant is one for MLS, and none for SLIM. Bob's ends when Alice's next one is applied.
	carol.follow(must(bob.group.Commit(mls.CommitOptions{})).Commit)
	proposal := bob.rotate()
	alice.hear("bob", proposal)
	carol.hear("bob", proposal)
	c := alice.commit("rotation") // of what waits
	bob.follow(c.Commit)
	carol.follow(c.Commit)
	c.Sent()
	// Carol's database is lost, but not who she is.
	carol.group, carol.kept = nil, store{}
	alice.invite(carol, bob)
	carol.hear("bob", bob.say("welcome back"))
	// Alice removes Bob, and stops when Carol has the commit and Bob has not. It is sent again, to both.
	carol.follow(alice.commit("without bob", &mls.Remove{Leaf: bob.group.Own()}).Commit)
	alice.group = must(mls.Restore(alice.cfg, alice.kept.all()))
	for _, c := range alice.group.Unsent() {
		fmt.Printf("alice restarts in epoch %d and sends %q\n", alice.group.Epoch(), c.Note)
		carol.follow(c.Commit)
		bob.follow(c.Commit)
		c.Sent()
	}
	carol.hear("alice", alice.say("between us"))
	// Output:
	// bob: epoch 2, added carol
	// alice hears bob: hello
	// alice hears bob: is it raining?
	// carol drops a message that bob sent as alice
	// carol does not follow: mls: proposals of member 1 were refused: bob is not the moderator (RFC 9420 section 12.2)
	// bob: epoch 3, updated bob, updated alice
	// carol: epoch 3, updated bob, updated alice
	// bob: epoch 4, removed carol, added carol, updated alice
	// carol hears bob: welcome back
	// carol: epoch 5, removed bob, updated alice
	// alice restarts in epoch 5 and sends "without bob"
	// carol does not follow: mls: commit of epoch 4, the group is in 5 already (RFC 9420 section 12.4.2)
	// bob: epoch 5, removed bob, updated alice
	// carol hears alice: between us
}

// member is what a session keeps of its group. One goroutine at a time uses it.
type member struct {
	subject string // of its tokens
	cfg     *mls.Config
	group   *mls.Group
	kept    store // a map that stands for the database
}

// newMember makes a Config for one session, since each session has its own token. What is not set is as SLIM has it:
// handshakes are public messages, and the tree comes with the welcome.
func newMember(subject string) *member {
	key := must(mls.GenerateSigningKey(mls.P256AES128SHA256P256, nil))
	return &member{subject: subject, kept: store{}, cfg: &mls.Config{
		CipherSuite: mls.P256AES128SHA256P256,
		Credential:  token(subject, key.Public()),
		Key:         key,
		StateKey:    must(mls.NewStateKey([]byte("32 random bytes, kept elsewhere."), subject)),
		KeyPackages: &mls.MemoryStore{}, // of a program: a table of PrivateKeyPackage.Marshal
		Now:         time.Now,
		ClockSlack:  2 * time.Minute, // the clocks of joiners may be ahead
		Padding:     mls.PadStep,
		Credentials: believe,
		Client:      func(c mls.Credential) (string, error) { return subjectOf(c), nil },
		Proposals:   known,
	}}
}

// token stands for an identity token, which claims a subject and a public key. Those of SLIM are signed, which believe
// verifies in a program, and expire: that is looked at by who adds a member, and not by those who have to follow.
func token(subject string, key []byte) mls.Credential {
	return mls.BasicCredential(fmt.Appendf(nil, "%s:%x", subject, key))
}

func subjectOf(c mls.Credential) string { return strings.Split(string(c.Identity), ":")[0] }

// believe is asked about each leaf that comes into the tree. That no subject is there twice, and that none takes the
// leaf of another, is seen to.
func believe(p *mls.Presented) error {
	switch {
	case p.Place == mls.PlaceExternal || p.Place == mls.PlaceProposer:
		return fmt.Errorf("nobody outside the group takes part")
	case !p.Credential.Equal(token(subjectOf(p.Credential), p.SignatureKey)):
		return fmt.Errorf("not a token, or one for another key")
	case p.Stage == mls.StageCommit: // the moderator is strict: it looks at the token's expiry
	}
	return nil
}

// known lets participants propose new keys of their own, and the moderator commit, add and remove. While a proposal
// waits nobody can send, so one that arrives must be one that will be committed.
func known(p *mls.Proposed) error {
	const moderator = "alice" // participants know it from the request to join
	if who := p.Roster.Member(p.Committer.Leaf).Client(); p.Stage == mls.StageFollow && who != moderator {
		return fmt.Errorf("%s is not the moderator", who)
	}
	for _, c := range p.List {
		t := c.Proposal.Type()
		if c.ByReference && t != mls.ProposalUpdate || !c.ByReference && t != mls.ProposalAdd && t != mls.ProposalRemove {
			return fmt.Errorf("SLIM has no use for %v", t)
		}
	}
	return nil
}

// commit makes the moderator's commit. It needs nobody's word, because nobody else commits: it is applied and saved
// before it is sent, and after a crash the same one is sent again, with its welcome, until all have it. The note is for
// what the session has to say with it: commit id, roster, and who is new.
func (m *member) commit(note string, p ...mls.Proposal) *mls.Change {
	c := must(m.group.Commit(mls.CommitOptions{Proposals: p, Keep: true, Note: []byte(note)}))
	must(c, c.Apply())
	m.kept.put(m.group)
	return c
}

// invite adds who, whose key package came in a JOIN_REPLY, or in a REJOIN_REQUEST: then its old leaf goes in the same
// commit, so that no epoch is without it, and none has it twice.
func (m *member) invite(who *member, others ...*member) {
	k := must(mls.ParseKeyPackage(must(who.cfg.NewKeyPackage()).Marshal()))
	if s := subjectOf(k.Leaf.Credential); s != who.subject { // the source of the message: else it could replace another's leaf
		log.Fatalf("key package of %s came from %s", s, who.subject)
	}
	proposals := []mls.Proposal{&mls.Add{KeyPackage: k}}
	if old, ok := m.group.FindClient(who.subject); ok {
		proposals = append(proposals, &mls.Remove{Leaf: old})
	}
	c := m.commit(who.subject, proposals...)
	for _, o := range others { // GROUP_UPDATE
		o.follow(c.Commit)
	}
	who.join(c.Welcomes[0]) // GROUP_WELCOME, or REJOIN_REPLY
	c.Sent()                // when all have acknowledged; with the next Save it leaves the store
}

// join enters the group. Who has parts of it in its store, with a Group of them or not, calls Replace before put.
func (m *member) join(welcome []byte) {
	m.group = must(mls.Join(m.cfg, welcome, mls.JoinOptions{}))
	m.kept.put(m.group) // now the key package is gone
}

// follow takes a participant through a commit, if it agrees with it.
func (m *member) follow(commit []byte) {
	r, err := m.group.Process(commit)
	if err != nil { // PastEpoch: it was applied before; FutureEpoch: one is missing, and the member rejoins
		fmt.Printf("%s does not follow: %v\n", m.subject, err)
		return
	}
	must(r, r.Change.Apply())
	m.kept.put(m.group)
	what := list(", removed", r.Change.Removed) + list(", added", r.Change.Added) + list(", updated", r.Change.Updated)
	fmt.Printf("%s: epoch %d%s\n", m.subject, r.Change.Epoch, what)
}

// rotate proposes another signature key, with a token for it. The old one signs until the proposal is committed. The
// group keeps the new one: key packages are made with what its Identity says.
func (m *member) rotate() []byte {
	key := must(mls.GenerateSigningKey(m.cfg.CipherSuite, nil))
	proposal := must(m.group.ProposeUpdate(mls.Identity{Credential: token(m.subject, key.Public()), Key: key}, nil))
	m.kept.put(m.group)
	return proposal
}

// say makes a message. The header that it travels in, which names its source, is authenticated with it.
func (m *member) say(text string) []byte {
	message := must(m.group.Protect(nil, []byte(text), []byte("from "+m.subject)))
	m.kept.put(m.group)
	return message
}

// hear takes messages: unprotected and accepted here, in their order, and their signatures verified elsewhere.
func (m *member) hear(source string, messages ...[]byte) {
	queues := make([]chan *mls.Verified, len(messages))
	for i := range messages {
		u := must(m.group.Unprotect(messages[i]))
		queues[i] = make(chan *mls.Verified, 1)
		go func() { queues[i] <- u.Verify() }()
	}
	var received []*mls.Received
	for _, q := range queues {
		received = append(received, must((<-q).Accept()))
	}
	m.kept.put(m.group) // once for all, before they are handed over: so that is done at most once
	for _, r := range received {
		switch {
		case r.Content == mls.ContentProposal: // it waits for the moderator's commit
		case r.Leaf.Client() != source || string(r.AAD) != "from "+source: // the leaf says who sent it
			fmt.Printf("%s drops a message that %s sent as %s\n", m.subject, r.Leaf.Client(), source)
		default:
			fmt.Printf("%s hears %s: %s\n", m.subject, source, r.Application)
		}
	}
}

func list(what string, all []mls.LeafChange) (s string) {
	for _, c := range all {
		s += what + " " + cmp.Or(c.After, c.Before).Client()
	}
	return s
}

// must ends the example. A session counts what is refused, and goes on.
func must[T any](v T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return v
}
