package mls

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"
)

// What a commit of ours holds of proposals that rule each other out, whichever came first.
func TestWhatIsChosenOfRivals(t *testing.T) {
	const private ExtensionType = 0xf001
	plain := func(t *testing.T) *Add { return &Add{newPerson(t, 1, "plain").keyPackage()} }
	for _, x := range []struct {
		name    string
		propose func(*testing.T, *crowd)
		want    []ProposalType
	}{
		{"a removal, and an update of the same leaf after it", func(t *testing.T, c *crowd) {
			c.propose(1, &Remove{3})
			c.tell(3, must[[]byte](t)(c.members[3].group.ProposeUpdate(Identity{}, nil)))
		}, []ProposalType{ProposalRemove}},
		{"an update, and a removal of the same leaf after it", func(t *testing.T, c *crowd) {
			c.tell(3, must[[]byte](t)(c.members[3].group.ProposeUpdate(Identity{}, nil)))
			c.propose(1, &Remove{3})
		}, []ProposalType{ProposalRemove}},
		{"a reinit, and an add after it", func(t *testing.T, c *crowd) {
			c.propose(1, &ReInit{GroupID: []byte("next"), Version: MLS10, CipherSuite: 1})
			c.propose(3, plain(t))
		}, []ProposalType{ProposalAdd}},
		// Extensions need the removal of who lacks them, and leave no room for a client that lacks them, too.
		{"an add, extensions, a removal", func(t *testing.T, c *crowd) {
			c.propose(1, plain(t))
			c.propose(1, &GroupContextExtensions{Extensions{{private, nil}}})
			c.propose(3, &Remove{2})
		}, []ProposalType{ProposalGroupContextExtensions, ProposalRemove}},
		{"a removal, extensions, an add", func(t *testing.T, c *crowd) {
			c.propose(3, &Remove{2})
			c.propose(1, &GroupContextExtensions{Extensions{{private, nil}}})
			c.propose(1, plain(t))
		}, []ProposalType{ProposalRemove, ProposalGroupContextExtensions}},
	} {
		t.Run(x.name, func(t *testing.T) {
			t.Parallel()
			c := newCrowd(t, 1, 1, func(c *Config) { c.Capabilities.Extensions = []ExtensionType{private} })
			for i := 1; i < 4; i++ {
				p := newPerson(t, 1, fmt.Sprintf("m%d", i))
				if i != 2 {
					p.cfg.Capabilities.Extensions = []ExtensionType{private}
				}
				c.add(0, p)
			}
			x.propose(t, c)
			var got []ProposalType
			for _, p := range c.commit(0, CommitOptions{}).Proposals {
				got = append(got, p.Proposal.Type())
			}
			if !slices.Equal(got, x.want) {
				t.Errorf("committed %v, want %v", got, x.want)
			}
			c.agree()
		})
	}
}

// What this member would not commit, although it follows others who do, does not keep it from sending (section 12.4).
func TestWhatIsNotChosenDoesNotMute(t *testing.T) {
	c := newCrowd(t, 1, 3)
	k := newPerson(t, 1, "new").forgePackage(func(_ *KeyPackage, l *LeafNode) { l.Capabilities.Versions = nil })
	from := c.members[1].group
	msg := say(t, from, from.now.signer, Sender{Type: SenderMember, Leaf: from.Own()}, &Add{k})
	g := c.members[0].group
	must[*Received](t)(g.Process(msg))
	must[[]byte](t)(g.Protect(nil, []byte("text"), nil))
	leftOut(t, g)

	const grease = 0x1a1a // which our own leaf lists, and nobody supports
	c = newCrowd(t, 1, 2, func(c *Config) { c.Capabilities.Proposals = []ProposalType{grease} })
	from, g = c.members[1].group, c.members[0].group
	msg = say(t, from, from.now.signer, Sender{Type: SenderMember, Leaf: from.Own()}, &UnknownProposal{grease, nil})
	must[*Received](t)(g.Process(msg))
	must[[]byte](t)(g.Protect(nil, []byte("text"), nil))
	leftOut(t, g)
}

// What the application says of proposals that wait is asked for now and then, and not with each message.
func TestProposalsThatWaitAreJudgedSeldom(t *testing.T) {
	c := newCrowd(t, 1, 2)
	c.propose(1, &Add{newPerson(t, 1, "new").keyPackage()})
	p, asked := c.members[0], 0
	cfg := *p.cfg
	cfg.Credentials = func(*Presented) error { asked++; return errors.New("nobody is believed") }
	p.group.cfg = &cfg
	for i, after := range []time.Duration{0, time.Second, dueAtMost - 1, dueAtMost, dueAtMost + 1, 2 * dueAtMost} {
		p.at(testTime.Add(after), func() { must[[]byte](t)(p.group.Protect(nil, nil, nil)) })
		if want := []int{1, 1, 1, 2, 2, 3}[i]; asked != want {
			t.Errorf("after %v it was asked %d times, want %d", after, asked, want)
		}
	}
}

// Room for proposals is counted to the byte.
func TestRoomToTheByte(t *testing.T) {
	for _, x := range []struct {
		r    room
		size int
		want bool
	}{{room{}, 99, true}, {room{1, 10}, 5, true}, {room{1, 10}, 6, false}} {
		if got := x.r.takes(x.size, 15); got != x.want {
			t.Errorf("%+v takes %d of 15: %v", x.r, x.size, got)
		}
	}
}

// What a commit brings itself may need updates that wait, all of them, beside a proposal that no commit can hold with it.
func TestOwnExtensionsThatNeedUpdates(t *testing.T) {
	const private ExtensionType = 0xf001
	supports := func(c *Config) { c.Capabilities.Extensions = []ExtensionType{private} }
	c := newCrowd(t, 1, 2, supports)
	const plain = 3
	for i := range plain {
		c.add(0, newPerson(t, 1, fmt.Sprintf("plain %d", i)))
	}
	g := c.members[0].group
	c.propose(1, &GroupContextExtensions{Extensions{required()}})
	for _, p := range c.members[2:] {
		o := p.group
		l := copyLeaf(o.Member(o.Own()))
		l.Source, l.EncryptionKey, l.Capabilities.Extensions = SourceUpdate, freshKey(t, 1), []ExtensionType{private}
		signLeaf(t, o.suite, l, o.now.signer, o.ID(), o.Own())
		must[*Received](t)(g.Process(say(t, o, o.now.signer, Sender{Type: SenderMember, Leaf: o.Own()}, &Update{l})))
	}
	ch := must[*Change](t)(g.Commit(CommitOptions{Proposals: []Proposal{&GroupContextExtensions{Extensions{{private, nil}}}}}))
	if len(ch.Proposals) != plain+1 || ch.Proposals[0].Proposal.Type() != ProposalUpdate {
		t.Errorf("committed %+v", ch.Proposals)
	}
}
