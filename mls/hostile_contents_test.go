package mls

import (
	"bytes"
	"crypto/cipher"
	"crypto/rand"
	"errors"
	"testing"

	"github.com/seed31b3bfd0/slimgo/mls/internal/codec"
)

// The delivery service damages a message at every byte, and cuts it everywhere: nothing of that is taken for good, and
// the message itself is still read.
func TestDeliveryServiceDamages(t *testing.T) {
	c := newCrowd(t, 1, 3, func(c *Config) { c.Padding = PadStep })
	commit := must[*Change](t)(c.members[1].group.Commit(CommitOptions{}))
	proposal := must[[]byte](t)(c.members[2].group.Propose(&Remove{1}, nil))
	c.members[2].group.DropPending()
	data := must[[]byte](t)(c.members[1].group.Protect(nil, []byte("data"), []byte("aad")))
	victim := c.members[0].group
	for name, msg := range map[string][]byte{"commit": commit.Commit, "proposal": proposal, "data": data} {
		for i := range msg {
			for _, damaged := range [][]byte{append(append(bytes.Clone(msg[:i]), msg[i]^1), msg[i+1:]...), append(append(bytes.Clone(msg[:i]), msg[i]^0x80), msg[i+1:]...), msg[:i]} {
				unchangedBut(t, victim, func() {
					if r, err := victim.Process(damaged); err == nil {
						t.Fatalf("%s, damaged at %d, is taken for %+v", name, i, r)
					} else if KindOf(err) == 0 {
						t.Fatalf("%s, damaged at %d: %v", name, i, err)
					}
				})
			}
		}
		_, err := victim.Process(append(bytes.Clone(msg), 0))
		wantRefusal(t, err, Malformed, ": does not decode")
	}
	r := must[*Received](t)(victim.Process(data))
	if string(r.Application) != "data" {
		t.Errorf("read %q", r.Application)
	}
	must[*Received](t)(victim.Process(commit.Commit))
	must[*Received](t)(victim.Process(proposal))
}

// Who is no member cannot make public messages of members, whatever keys it has besides (section 6.2).
func TestMembershipTags(t *testing.T) {
	c := newCrowd(t, 1, 3)
	ch := must[*Change](t)(c.members[0].group.Commit(CommitOptions{}))
	for _, tag := range [][]byte{nil, make([]byte, 32), parse(t, ch.Commit).public.membershipTag[:31]} {
		p := parse(t, ch.Commit).public
		p.membershipTag = tag
		_, err := c.members[1].group.Process(p.append(appendMessageHead(nil, WirePublicMessage)))
		wantRefusal(t, err, BadSignature, "6.2: membership tag of a commit from member 0")
	}
	must[*Received](t)(c.members[1].group.Process(ch.Commit))
}

// unchangedBut is unchanged but for ratchets that were opened or moved on with the keys kept: epoch, tree, secrets,
// proposals.
func unchangedBut(t testing.TB, g *Group, f func()) {
	t.Helper()
	before, epoch, pending := authenticator(t, g), g.Epoch(), len(g.proposals)
	f()
	if !bytes.Equal(before, authenticator(t, g)) || epoch != g.Epoch() || pending != len(g.proposals) {
		t.Fatal("the group has changed")
	}
}

func TestReplayAndReordering(t *testing.T) {
	c := newCrowd(t, 1, 2, func(c *Config) { c.Limits.Window = 10; c.PastEpochs = 1 })
	a, b := c.members[0].group, c.members[1].group
	var msgs [][]byte
	for i := range 30 {
		msgs = append(msgs, must[[]byte](t)(a.Protect(nil, []byte{byte(i)}, nil)))
	}
	read := func(i int, want Kind) {
		t.Helper()
		r, err := b.Process(msgs[i])
		switch {
		case want == 0 && (err != nil || r.Application[0] != byte(i)):
			t.Errorf("message %d: %v", i, err)
		case want == Limit:
			wantRefusal(t, err, Limit, "9.1: message from member 0: generation")
		case want == Replayed:
			wantRefusal(t, err, Replayed, "9.2: message from member 0: key of generation")
		case want == PastEpoch:
			wantRefusal(t, err, PastEpoch, "6.3: message of epoch 1, the group is in 3")
		}
	}
	read(11, Limit) // further ahead than the window
	read(10, 0)
	read(10, Replayed)
	read(0, 0)
	read(0, Replayed)
	read(20, 0)
	read(9, Replayed) // its key was dropped for newer ones
	read(10, Replayed)
	read(11, 0)
	read(15, 0)
	read(15, Replayed)
	if n := len(b.now.messages.secrets.ratchets[0].application.skipped); n > 10 {
		t.Errorf("%d keys kept, at most 10 may be", n)
	}
	c.commit(0, CommitOptions{})
	read(21, 0) // late
	read(21, Replayed)
	c.commit(1, CommitOptions{})
	read(22, PastEpoch) // too late
	_, err := a.Process(msgs[0])
	wantRefusal(t, err, PastEpoch, "6.3: message of epoch 1, the group is in 3 and keeps 1")
}

// Messages of ours that come back are said to be, and do no harm.
func TestOwnMessages(t *testing.T) {
	for _, encrypted := range []bool{false, true} {
		c := newCrowd(t, 1, 2, func(c *Config) { c.EncryptHandshake = encrypted })
		g := c.members[0].group
		data := must[[]byte](t)(g.Protect(nil, []byte("x"), nil))
		_, err := g.Process(data)
		wantRefusal(t, err, Own, "6.3.1: message is our own")
		wants := []string{"12.4: commit is our own: apply the change", "12.4: proposal is our own: it waits"}
		if encrypted {
			wants = []string{"6.3.1: message is our own", "6.3.1: message is our own"}
		}
		change := must[*Change](t)(g.Commit(CommitOptions{}))
		messages := [][]byte{change.Commit, must[[]byte](t)(g.Propose(&Remove{1}, nil))}
		for i, msg := range messages {
			unchanged(t, g, func() {
				_, err := g.Process(msg)
				wantRefusal(t, err, Own, wants[i])
			})
		}
		// What is no longer on its way must not be taken for what is.
		change.Discard()
		g.DropPending()
		must[*Change](t)(g.Commit(CommitOptions{}))
		for _, msg := range messages {
			_, err := g.Process(msg)
			if encrypted {
				wantRefusal(t, err, BadSignature, "6.3.2: names this member as its sender, and is none that it sent")
			} else {
				wantRefusal(t, err, Missing, "12.4: is our own, and no longer here")
			}
		}
	}
}

// Who knows a group's id and epoch can write a member's leaf into a message. The member must not be told that it is its
// own: it would apply a change that nobody else has (section 6.2).
func TestMessagesInTheNameOfTheReceiver(t *testing.T) {
	c := newCrowd(t, 1, 3)
	g, hostile := c.members[0].group, c.members[1].group
	ours := must[*Change](t)(g.Commit(CommitOptions{}))
	waits := must[[]byte](t)(g.Propose(&Remove{2}, nil))
	outside := newPerson(t, 1, "outside")
	head := func(kind ContentType, b body) framedContent {
		return framedContent{groupID: g.ID(), epoch: g.Epoch(), sender: Sender{Type: SenderMember, Leaf: g.Own()}, kind: kind, body: b}
	}
	content := head(ContentCommit, body{commit: &commit{}})
	public := func(key *SigningKey, tag func(*publicMessage)) []byte {
		a := must[*authenticated](t)(newAuthenticated(g.suite, rand.Reader, key, WirePublicMessage, content, g.now.raw))
		a.auth.confirmationTag = make([]byte, 32)
		p := protectPublic(g.suite, a, hostile.now.secrets.membership.Bytes(), g.now.raw)
		tag(p)
		return p.append(appendMessageHead(nil, WirePublicMessage))
	}
	damaged := func(msg []byte, change func(*publicMessage)) []byte {
		m := parse(t, msg)
		change(m.public)
		return m.append(nil)
	}
	for _, x := range []struct {
		name string
		msg  []byte
		kind Kind
		want string
	}{
		{"of an outsider", public(outside.cfg.Key, func(p *publicMessage) { p.membershipTag = make([]byte, 32) }), BadSignature, "6.2: membership tag of a commit from member 0"},
		{"of an outsider without a tag", public(outside.cfg.Key, func(p *publicMessage) { p.membershipTag = nil }), BadSignature, "6.2: membership tag of a commit from member 0"},
		{"of another member", public(hostile.now.signer, func(*publicMessage) {}), BadSignature, "6.1: signature of a commit from member 0"},
		{"our commit with another tag", damaged(ours.Commit, func(p *publicMessage) { p.membershipTag[0] ^= 1 }), BadSignature, "6.2: membership tag of a commit from member 0"},
		{"our proposal with another tag", damaged(waits, func(p *publicMessage) { p.membershipTag[0] ^= 1 }), BadSignature, "6.2: membership tag of a proposal from member 0"},
		{"of another member in private, a commit", sealRaw(t, hostile, sealing{from: 0, kind: ContentCommit, content: sealed(t, hostile, 1, nil)}), BadSignature, "6.3.2: commit names this member as its sender"},
		{"of another member in private, a proposal", sealRaw(t, hostile, sealing{from: 0, kind: ContentProposal, content: sealed(t, hostile, 1, nil)}), BadSignature, "6.3.2: proposal names this member as its sender"},
	} {
		t.Run(x.name, func(t *testing.T) {
			unchanged(t, g, func() {
				_, err := g.Process(x.msg)
				wantRefusal(t, err, x.kind, x.want)
			})
		})
	}
	_, err := g.Process(ours.Commit)
	wantRefusal(t, err, Own, "12.4: commit is our own")

	// What we sent in private is known byte for byte, and nothing else is taken for it.
	g.cfg.EncryptHandshake = true
	private := must[[]byte](t)(g.Propose(&Remove{1}, nil))
	unchanged(t, g, func() {
		_, err = g.Process(private)
		wantRefusal(t, err, Own, "6.3.1: message is our own")
		_, err = g.Process(sealRaw(t, hostile, sealing{from: 0, kind: ContentProposal, content: sealed(t, hostile, 1, nil)}))
		wantRefusal(t, err, BadSignature, "6.3.2: proposal names this member as its sender")
	})
}

// Who sent a late message is who sat there then.
func TestLateMessagesTellTheirSender(t *testing.T) {
	c := newCrowd(t, 1, 3)
	late := must[[]byte](t)(c.members[1].group.Protect(nil, []byte("late"), nil))
	c.commit(0, CommitOptions{Proposals: []Proposal{&Remove{1}}})
	c.add(0, newPerson(t, 1, "heir"))
	for _, p := range c.members[:2] {
		r := must[*Received](t)(p.group.Process(late))
		if r.Sender.Leaf != 1 || string(r.Leaf.Credential.Identity) != "m1" || string(p.group.Member(1).Credential.Identity) != "heir" {
			t.Errorf("sender %v, leaf of %q", r.Sender, r.Leaf.Credential.Identity)
		}
		c.members[1].restart() // who reads it next does so from its state
	}
	proposal := must[[]byte](t)(c.members[2].group.Propose(&Remove{0}, nil))
	if r := must[*Received](t)(c.members[1].group.Process(proposal)); string(r.Leaf.Credential.Identity) != "heir" {
		t.Errorf("leaf of %q", r.Leaf.Credential.Identity)
	}
}

// sealing is how a hostile member seals: in the name of another, with any generation and content, damaged.
type sealing struct {
	from       LeafIndex
	generation uint32
	kind       ContentType
	content    []byte
	sender     []byte // in place of the sender data
	damage     bool
}

// sealRaw seals a whole PrivateMessageContent. It takes the keys of all generations from the tree secrets of g, which
// it does not change.
func sealRaw(t testing.TB, g *Group, s sealing) []byte {
	t.Helper()
	copied := readTreeState(codec.NewReader(g.now.messages.secrets.appendState(nil)), g.suite)
	r, err := copied.ratchet(s.from, s.kind)
	if err != nil {
		t.Fatal(err)
	}
	var key messageKey
	if _, err := r.key(g.suite, s.generation, ^uint32(0), &key); err != nil {
		t.Fatal(err)
	}
	p := &privateMessage{groupID: g.ID(), epoch: g.Epoch(), kind: s.kind}
	aead := must[cipher.AEAD](t)(g.suite.AEAD(key.key[:g.suite.KeySize()]))
	p.ciphertext = aead.Seal(nil, key.nonce[:], s.content, p.appendHead(nil))
	if s.damage {
		p.ciphertext[0] ^= 1
	}
	senderDataKey(g.suite, &g.now.messages.senderData, p.ciphertext, &key)
	aead = must[cipher.AEAD](t)(g.suite.AEAD(key.key[:g.suite.KeySize()]))
	if s.sender == nil {
		s.sender = (&senderData{leaf: s.from, generation: s.generation}).append(nil)
	}
	p.senderData = aead.Seal(nil, key.nonce[:], s.sender, p.appendSenderAAD(nil))
	return p.append(appendMessageHead(nil, WirePrivateMessage))
}

// sealed is the content of a private message, signed by a member of g.
func sealed(t testing.TB, g *Group, from LeafIndex, text []byte) []byte {
	t.Helper()
	f := framedContent{groupID: g.ID(), epoch: g.Epoch(), sender: Sender{Type: SenderMember, Leaf: from}, kind: ContentApplication, body: body{application: text}}
	a := must[*authenticated](t)(newAuthenticated(g.suite, rand.Reader, g.now.signer, WirePrivateMessage, f, g.now.raw))
	return a.auth.append(codec.AppendOpaque(nil, text), ContentApplication)
}

// A hostile member protects what does not decode, in the name of others, of generations to come: it is refused, moves
// no ratchet and costs nobody a message.
func TestHostileContents(t *testing.T) {
	c := newCrowd(t, 1, 5, func(c *Config) { c.Limits.Window = 10 })
	c.commit(0, CommitOptions{Proposals: []Proposal{&Remove{4}}})
	victim, honest, hostile := c.members[0].group, c.members[1].group, c.members[2].group
	content := func(text string) []byte { return sealed(t, hostile, 2, []byte(text)) }
	app := func(from LeafIndex, generation uint32, content []byte) sealing {
		return sealing{from: from, generation: generation, kind: ContentApplication, content: content}
	}
	c.agree() // all ratchets are open
	for _, x := range []struct {
		name string
		s    sealing
		kind Kind
		want string
	}{
		{"a length beyond the end", app(2, 0, []byte{0x80, 0xff, 0xff, 0xff}), Malformed, ": content of a private message does not decode"},
		{"a length that is not the shortest", app(2, 0, []byte{0x40, 0x01, 'x'}), Malformed, ": content of a private message does not decode"},
		{"nothing", app(2, 0, nil), Malformed, ": content of a private message does not decode"},
		{"padding that is not zero", app(2, 0, append(content("text"), 0, 0, 1)), Malformed, ": content of a private message does not decode"},
		{"a signature that is none", app(2, 0, append(codec.AppendOpaque(nil, []byte("text")), 1, 's')), BadSignature, "6.1: signature of application data from member 2"},
		{"in the name of another", app(1, 0, content("text")), BadSignature, "6.1: signature of application data from member 1"},
		{"in the name of another, from generations ahead", app(1, 9, content("text")), BadSignature, "6.1: signature of application data from member 1"},
		{"in the name of another, from too far ahead", app(1, 99, content("text")), Limit, "9.1: message from member 1: generation"},
		{"that does not open", sealing{from: 1, kind: ContentApplication, content: content("text"), damage: true}, BadSignature, "6.3.1: message from member 1, generation"},
		{"that does not open, from generations ahead", sealing{from: 1, generation: 9, kind: ContentApplication, content: content("text"), damage: true}, BadSignature, "6.3.1: message from member 1, generation"},
		{"in the name of the receiver", app(0, 0, content("text")), Own, "6.3.1: message is our own"},
		{"in the name of a blank leaf", sealing{from: 1, kind: ContentApplication, content: content("text"), sender: (&senderData{leaf: 4}).append(nil)}, Invalid, "6.3.2: message of epoch 2 from leaf 4, which was blank"},
		{"in the name of a leaf outside of the tree", sealing{from: 1, kind: ContentApplication, content: content("text"), sender: (&senderData{leaf: 1 << 31}).append(nil)}, Invalid, "6.3.2: message of epoch 2 from leaf 2147483648, which was blank"},
		{"sender data that is short", sealing{from: 1, kind: ContentApplication, content: content("text"), sender: make([]byte, 11)}, Malformed, "6.3.2: sender data of 11 bytes"},
		{"a proposal that does not decode", sealing{from: 2, kind: ContentProposal, content: []byte{0}}, Malformed, ": content of a private message does not decode"},
		{"a proposal that is not signed", sealing{from: 2, kind: ContentProposal, content: append(appendProposal(nil, &Remove{1}), 1, 's')}, BadSignature, "6.1: signature of a proposal from member 2"},
	} {
		t.Run(x.name, func(t *testing.T) {
			before, after := must[[]byte](t)(honest.Protect(nil, []byte("before"), nil)), must[[]byte](t)(honest.Protect(nil, []byte("after"), nil))
			must[*Received](t)(victim.Process(after))
			x.s.generation += must[*ratchet](t)(victim.now.messages.secrets.ratchet(x.s.from, x.s.kind)).next
			msg := sealRaw(t, hostile, x.s)
			unchanged(t, victim, func() {
				_, err := victim.Process(msg)
				wantRefusal(t, err, x.kind, x.want)
			})
			must[*Received](t)(victim.Process(before))
		})
	}
	damaged := parse(t, must[[]byte](t)(hostile.Protect(nil, nil, nil)))
	damaged.private.senderData[0] ^= 1
	_, err := victim.Process(damaged.append(nil))
	wantRefusal(t, err, BadSignature, "6.3.2: sender data of a message of epoch 2 does not open")
	for _, kind := range []ContentType{0, ContentCommit + 1} {
		_, err := victim.Process((&privateMessage{groupID: victim.ID(), epoch: victim.Epoch(), kind: kind}).append(appendMessageHead(nil, WirePrivateMessage)))
		if wantRefusal(t, err, Malformed, ": mls_private_message does not decode"); !errors.Is(err, errContent) {
			t.Errorf("%v", err)
		}
	}
	public := signed(t, hostile, hostile.now.signer, framedContent{groupID: hostile.ID(), epoch: hostile.Epoch(), sender: Sender{Type: SenderMember, Leaf: 2},
		kind: ContentApplication, body: body{application: []byte("text")}}, nil)
	_, err = victim.Process(public)
	wantRefusal(t, err, Invalid, "6: application data in a public message")
}
