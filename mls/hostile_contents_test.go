package mls

import (
	"bytes"
	"crypto/rand"
	"testing"

	"github.com/seed31b3bfd0/slimgo/mls/internal/codec"
)

// The delivery service damages a message at every byte, and cuts it everywhere: nothing of that is taken for good, and the message
// itself is still read.
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
		wantKind(t, err, Malformed)
	}
	r := must[*Received](t)(victim.Process(data))
	if string(r.Application) != "data" {
		t.Errorf("read %q", r.Application)
	}
	must[*Received](t)(victim.Process(commit.Commit))
	must[*Received](t)(victim.Process(proposal))
}

// unchangedBut is unchanged but for ratchets that were opened or moved on with the keys kept: epoch, tree, secrets, proposals.
func unchangedBut(t testing.TB, g *Group, f func()) {
	t.Helper()
	authenticator, epoch, pending := g.EpochAuthenticator(), g.Epoch(), len(g.proposals)
	f()
	if !bytes.Equal(authenticator, g.EpochAuthenticator()) || epoch != g.Epoch() || pending != len(g.proposals) {
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
		if KindOf(err) != want || want == 0 && (err != nil || r.Application[0] != byte(i)) {
			t.Errorf("message %d: %v, want %v", i, err, want)
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
	read(22, WrongEpoch) // too late
	_, err := a.Process(msgs[0])
	wantKind(t, err, WrongEpoch)
	own := must[[]byte](t)(a.Protect(nil, []byte("x"), nil))
	_, err = a.Process(own)
	wantKind(t, err, Own)
}

// A hostile member protects what does not decode: zeros that are none, application data that is public.
func TestHostileContents(t *testing.T) {
	c := newCrowd(t, 1, 2)
	a, b := c.members[0].group, c.members[1].group
	seal := func(text []byte) []byte {
		p := &privateMessage{groupID: a.ID(), epoch: a.Epoch(), kind: ContentApplication}
		dst, err := a.now.messages.seal(a.suite, rand.Reader, appendMessageHead(nil, WirePrivateMessage), p, a.now.own, text, &authData{signature: []byte("s")}, nil)
		if err != nil {
			t.Fatal(err)
		}
		return dst
	}
	for name, text := range map[string][]byte{
		"length beyond the end":   {0x80, 0xff, 0xff, 0xff},
		"length not the shortest": {0x40, 0x01, 'x'},
		"no content":              {},
	} {
		_, err := b.Process(seal(text))
		if KindOf(err) != Malformed && KindOf(err) != BadSignature {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, err := b.Process(seal(codec.AppendOpaque(nil, []byte("unsigned"))))
	wantKind(t, err, BadSignature)

	signed := must[*authenticated](t)(newAuthenticated(a.suite, rand.Reader, a.now.signer, WirePrivateMessage, framedContent{groupID: a.ID(), epoch: a.Epoch(),
		sender: Sender{Type: SenderMember}, kind: ContentApplication, body: body{application: []byte("text")}}, a.now.raw))
	p := &privateMessage{groupID: a.ID(), epoch: a.Epoch(), kind: ContentApplication}
	dirty := append(codec.AppendOpaque(nil, []byte("text")), signed.auth.append(nil, ContentApplication)...)
	dirty = append(dirty, 0, 0, 1)
	// The authentication is part of the body here, so that what looks like padding is not zero.
	msg := must[[]byte](t)(sealRaw(a, p, dirty))
	_, err = b.Process(msg)
	wantKind(t, err, Malformed)

	public := must[*authenticated](t)(newAuthenticated(a.suite, rand.Reader, a.now.signer, WirePublicMessage, framedContent{groupID: a.ID(), epoch: a.Epoch(),
		sender: Sender{Type: SenderMember}, kind: ContentApplication, body: body{application: []byte("text")}}, a.now.raw))
	_, err = b.Process(protectPublic(a.suite, public, a.now.secrets.membership.Bytes(), a.now.raw).append(appendMessageHead(nil, WirePublicMessage)))
	wantKind(t, err, Invalid)
	c.agree()
}

// sealRaw seals a whole PrivateMessageContent.
func sealRaw(g *Group, p *privateMessage, content []byte) ([]byte, error) {
	r, err := g.now.messages.secrets.open(g.now.own, p.kind)
	if err != nil {
		return nil, err
	}
	var key messageKey
	data := senderData{leaf: g.now.own, generation: r.next}
	if _, err := r.key(g.suite, r.next, 0, &key); err != nil {
		return nil, err
	}
	aead, err := g.suite.AEAD(key.key[:g.suite.KeySize()])
	if err != nil {
		return nil, err
	}
	p.ciphertext = aead.Seal(nil, key.nonce[:], content, p.appendHead(nil))
	r.spend(g.suite, data.generation, 0, nil)
	senderDataKey(g.suite, &g.now.messages.senderData, p.ciphertext, &key)
	if aead, err = g.suite.AEAD(key.key[:g.suite.KeySize()]); err != nil {
		return nil, err
	}
	p.senderData = aead.Seal(nil, key.nonce[:], data.append(nil), p.appendSenderAAD(nil))
	return p.append(appendMessageHead(nil, WirePrivateMessage)), nil
}
