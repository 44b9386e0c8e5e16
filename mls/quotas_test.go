package mls

import (
	"bytes"
	"fmt"
	"testing"
)

// Proposals that wait are bounded in bytes: together by the longest message, those of one member or of all outside by a
// quarter of it, unless it is one. What is kept of a proposal is nothing else of its message.
func TestBytesOfWaitingProposals(t *testing.T) {
	const most = 64 << 10
	service := newPerson(t, 1, "service")
	c := newCrowd(t, 1, 6, func(c *Config) { c.Limits.Message = most })
	senders := ExternalSenders(ExternalSender{service.cfg.Key.Public(), service.cfg.Credential})
	c.commit(0, CommitOptions{Proposals: []Proposal{&GroupContextExtensions{Extensions{senders}}}})
	g := c.members[0].group
	long := func(n int) *GroupContextExtensions {
		return &GroupContextExtensions{Extensions{senders, {0xf00d, make([]byte, n)}}}
	}
	propose := func(i, n int) ([]byte, error) { return c.members[i].group.Propose(long(n), nil) }
	take := func(msg []byte, err error) {
		t.Helper()
		if err == nil {
			_, err = g.Process(msg)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	take(propose(1, 20<<10)) // the first one of a member may be longer than its share
	_, err := propose(1, 1)
	wantRefusal(t, err, Limit, ": bytes of proposals of member 1 wait already")
	take(propose(2, 7<<10))
	take(propose(2, 7<<10+1))
	_, err = propose(2, 7<<10+2)
	wantRefusal(t, err, Limit, ": bytes of proposals of member 2 wait already")

	outside := func(n int) []byte {
		return must[[]byte](t)(ProposeFromOutside(service.cfg, g.ID(), g.Epoch(), 0, long(n)))
	}
	take(outside(9<<10), nil)
	_, err = g.Process(outside(8 << 10))
	wantRefusal(t, err, Limit, ": of them from outside")
	take(outside(1<<10), nil)

	take(propose(3, 14<<10))
	msg, err := propose(4, 14<<10) // whose own room is free
	if err != nil {
		t.Fatal(err)
	}
	_, err = g.Process(msg)
	wantRefusal(t, err, Limit, ": bytes of proposals wait already")
	take(c.members[4].group.Propose(must[*PreSharedKey](t)(g.NewPSK([]byte("k"))), make([]byte, 30<<10))) // long by what is not kept
	take(c.members[4].group.Propose(must[*PreSharedKey](t)(g.NewPSK([]byte("l"))), make([]byte, 30<<10)))
	g.DropPending()
	take(msg, nil)

	for _, p := range []Proposal{&ReInit{GroupID: make([]byte, 1000)}, &ReInit{Extensions: long(1000).Extensions}, &UnknownProposal{0xf00d, make([]byte, 1000)},
		&PreSharedKey{PSKID{Type: PSKExternal, ID: make([]byte, 1000)}}, &PreSharedKey{PSKID{Type: PSKResumption, GroupID: make([]byte, 1000)}},
		&PreSharedKey{PSKID{Nonce: make([]byte, 1000)}}, long(1000), &Remove{}} {
		want := len(appendProposal(nil, p))
		if n := weight(p); n < want-2 || n > want+100 {
			t.Errorf("%T of %d bytes weighs %d", p, want, n)
		}
	}
	k := service.keyPackage()
	if n := weight(&Add{k}) + weight(&Update{k.Leaf}); n < len(k.raw)+len(k.Leaf.raw) {
		t.Errorf("a key package weighs %d", n)
	}
}

// A proposal that would be read as another one is not sent.
func TestProposalsOfAnotherForm(t *testing.T) {
	p := newCrowd(t, 1, 2).members[0]
	unchanged(t, p.group, func() {
		for kind := ProposalAdd; kind <= ProposalGroupContextExtensions; kind++ {
			u := &UnknownProposal{kind, []byte("no key package")}
			_, err := p.group.Propose(u, nil)
			wantRefusal(t, err, Misuse, "12.1: UnknownProposal of "+kind.String())
			_, err = p.group.Commit(CommitOptions{Proposals: []Proposal{u}})
			wantRefusal(t, err, Misuse, "12.1: UnknownProposal of "+kind.String())
			_, err = ProposeFromOutside(p.cfg, p.group.ID(), 1, 0, u)
			wantRefusal(t, err, Misuse, "12.1: UnknownProposal of "+kind.String())
		}
	})
}

// What is made is not longer than what would be taken: a message that no other member reads, or a commit that only its
// maker follows, is not sent, and spends no key.
func TestMessagesThatNobodyWouldTake(t *testing.T) {
	t.Parallel()
	const most = 8 << 10
	for _, encrypt := range []bool{false, true} {
		c := newCrowd(t, 1, 3, func(c *Config) { c.Limits.Message, c.EncryptHandshake = most, encrypt })
		g := c.members[0].group
		over := 0
		for n := most - 300; n <= most; n++ {
			msg, err := g.Protect(nil, make([]byte, n/2), make([]byte, n-n/2))
			if err != nil {
				over++
				wantRefusal(t, err, Limit, ": this member takes and makes at most 8192")
				continue
			}
			if over > 0 || len(msg) > most {
				t.Fatalf("%d bytes made a message of %d", n, len(msg))
			}
			r := must[*Received](t)(c.members[1].group.Process(msg))
			if len(r.Application) != n/2 || int(r.Generation) != 1+n-(most-300) {
				t.Fatalf("read %d bytes, generation %d", len(r.Application), r.Generation)
			}
		}
		if over == 0 {
			t.Error("none was too long")
		}
		prefix := []byte("prefix")
		if dst, err := g.Protect(prefix, make([]byte, most+1), nil); err == nil || !bytes.Equal(dst, prefix) {
			t.Errorf("%q, %v", dst, err)
		}
		unchanged(t, g, func() {
			_, err := g.Propose(&Remove{1}, make([]byte, most))
			wantRefusal(t, err, Limit, ": message of")
			_, err = g.ProposeUpdate(Identity{}, make([]byte, most))
			wantRefusal(t, err, Limit, ": (Limits.Message)")
			_, err = g.Commit(CommitOptions{AAD: make([]byte, most)})
			wantRefusal(t, err, Limit, ": message of")
			var adds []Proposal
			for i := range 25 {
				adds = append(adds, &Add{newPerson(t, 1, fmt.Sprint("n", i)).keyPackage()})
			}
			_, err = g.Commit(CommitOptions{Proposals: adds})
			wantRefusal(t, err, Limit, ": welcome: message of")
		})
		c.commit(0, CommitOptions{})
		c.agree()
		_, _, err := JoinExternal(newPerson(t, 1, "joiner", func(c *Config) { c.Limits.Message = most }).cfg, must[[]byte](t)(g.GroupInfo(true, true)),
			ExternalOptions{AAD: make([]byte, most)})
		wantRefusal(t, err, Limit, ": message of")
	}
}

// What the caller brings and no commit can hold is told, whatever waits besides.
func TestOwnProposalsThatNothingMakesValid(t *testing.T) {
	c := newCrowd(t, 1, 4)
	c.propose(1, &Remove{3})
	c.propose(1, &Add{newPerson(t, 1, "new").keyPackage()})
	g := c.members[0].group
	unchanged(t, g, func() {
		ch, err := g.Commit(CommitOptions{Proposals: []Proposal{&Remove{9}}})
		if wantRefusal(t, err, Invalid, "12.1.3: leaf 9 is blank"); ch != nil {
			t.Error("there is a change all the same")
		}
	})
	if ch := c.commit(0, CommitOptions{}); len(ch.Proposals) != 2 {
		t.Errorf("committed %v", ch.Proposals)
	}
}

// A pre-shared key that waits is looked for once to choose what is committed, and once to mix it in.
func TestCommitsAskTwiceForAKey(t *testing.T) {
	asked := 0
	c := newCrowd(t, 1, 2, func(c *Config) {
		c.PSK = func(*PSKID) ([]byte, error) { asked++; return []byte("key"), nil }
	})
	c.propose(1, must[*PreSharedKey](t)(c.members[1].group.NewPSK([]byte("k"))))
	asked = 0
	if ch := must[*Change](t)(c.members[0].group.Commit(CommitOptions{})); len(ch.Proposals) != 1 || asked != 2 {
		t.Errorf("%d proposals, asked %d times", len(ch.Proposals), asked)
	}
}

// A proposal of a type that the RFC does not know keeps from sending who supports it, and nobody else (section 12.4).
func TestProposalsOfOtherTypesThatWait(t *testing.T) {
	lists := func(c *Config) { c.Capabilities.Proposals = []ProposalType{0xf00d} }
	for _, support := range []bool{false, true} {
		c := newCrowd(t, 1, 2)
		if support {
			c = newCrowd(t, 1, 2, lists)
		}
		c.propose(1, &UnknownProposal{0xf00d, []byte("data")})
		_, err := c.members[0].group.Protect(nil, nil, nil)
		if !support {
			if err != nil {
				t.Error(err)
			}
			continue
		}
		wantRefusal(t, err, CommitDue, "12.4: 1 proposals wait: commit before sending data")
		if ch := c.commit(0, CommitOptions{}); len(ch.Proposals) != 1 {
			t.Errorf("committed %v", ch.Proposals)
		}
		c.agree()
	}
}
