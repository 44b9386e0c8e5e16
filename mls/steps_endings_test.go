package mls

import (
	"bytes"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"testing"
)

// unprotected is a message after the first step.
func unprotected(t testing.TB, g *Group, msg []byte) *Unverified {
	t.Helper()
	return must[*Unverified](t)(g.Unprotect(msg))
}

// wantRead checks that a message is accepted.
func wantRead(t testing.TB, v *Verified, want string) {
	t.Helper()
	if r, err := v.Accept(); err != nil || string(r.Application) != want {
		t.Errorf("%q: %v, %+v", want, err, r)
	}
}

// wantWiped checks that neither plaintext nor keys of a message are left, and that it is not listed any more.
func wantWiped(t testing.TB, v *Verified, text []byte) {
	t.Helper()
	if !bytes.Equal(text, make([]byte, len(text))) {
		t.Errorf("plaintext is left: %q", text)
	}
	if v.claim.after.secret.Len() != 0 || v.content.text != nil || v.content.body.application != nil {
		t.Error("keys or fields are left")
	}
	for _, o := range v.group.underWay {
		if o == v {
			t.Error("it is still listed")
		}
	}
}

// A hostile member says what only the second step can refuse: nothing moves, nothing is left, and the message whose
// place it takes is read, whether it comes before or after.
func TestHostileMessagesInSteps(t *testing.T) {
	c := newCrowd(t, 2, 3, func(c *Config) { c.Limits.Window = 10 })
	victim, honest, hostile := c.members[0].group, c.members[1].group, c.members[2].group
	next := func() uint32 {
		return must[*ratchet](t)(victim.now.messages.secrets.ratchet(1, ContentApplication)).next
	}
	forge := func(ahead uint32, content []byte) []byte {
		return sealRaw(t, hostile, sealing{from: 1, generation: next() + ahead, kind: ContentApplication, content: content})
	}
	text := sealed(t, hostile, 2, []byte("forged"))
	for _, ahead := range []uint32{0, 1, 9} {
		for _, first := range []bool{false, true} {
			msg := forge(ahead, text)
			var forged, read *Unverified
			if first {
				forged = unprotected(t, victim, msg)
			}
			real := fmt.Sprintf("text %d", ahead)
			read = unprotected(t, victim, must[[]byte](t)(honest.Protect(nil, []byte(real), nil)))
			if !first {
				forged = unprotected(t, victim, msg)
			}
			plain := forged.message.content.text
			if !bytes.Contains(plain, []byte("forged")) {
				t.Fatal("it was not decrypted")
			}
			unchanged(t, victim, func() {
				v := forged.Verify()
				if !bytes.Equal(plain, make([]byte, len(plain))) {
					t.Error("plaintext is left when the signature was found to be bad")
				}
				_, err := v.Accept()
				wantRefusal(t, err, BadSignature, "6.1: signature of application data from member 1 does not verify")
			})
			wantWiped(t, &forged.message, plain)
			wantRead(t, read.Verify(), real)
		}
	}
	for name, msg := range map[string][]byte{"too far ahead": forge(99, text), "that does not decode": forge(0, []byte{0x40}),
		"in the name of the receiver": sealRaw(t, hostile, sealing{from: 0, generation: 5, kind: ContentApplication, content: text}),
		"damaged":                     sealRaw(t, hostile, sealing{from: 1, generation: next(), kind: ContentApplication, content: text, damage: true})} {
		unchanged(t, victim, func() {
			if u, err := victim.Unprotect(msg); err == nil || u != nil || len(victim.underWay) != 0 {
				t.Errorf("%s: %v, %v", name, u, err)
			}
		})
	}
}

// Of copies of one message under way at the same time one is accepted.
func TestCopiesUnderWay(t *testing.T) {
	c := newCrowd(t, 1, 2)
	a, b := c.members[0].group, c.members[1].group
	var msgs [][]byte
	for i := range 4 {
		msgs = append(msgs, must[[]byte](t)(a.Protect(nil, fmt.Appendf(nil, "text %d", i), nil)))
	}
	var all []*Unverified
	for _, i := range []int{2, 0, 2, 1, 0, 3, 3, 1} {
		all = append(all, unprotected(t, b, msgs[i]))
	}
	read := map[string]int{}
	for _, u := range all {
		r, err := u.Verify().Accept()
		if err != nil {
			wantRefusal(t, err, Replayed, "9.2: message from member 0: key of generation")
			continue
		}
		read[string(r.Application)]++
	}
	if len(read) != 4 || read["text 0"]*read["text 1"]*read["text 2"]*read["text 3"] != 1 {
		t.Errorf("read %v", read)
	}
}

// Between the steps the group goes on: the message is judged by what it has become when it is accepted.
func TestGroupsThatGoOnMeanwhile(t *testing.T) {
	t.Parallel()
	start := func(t *testing.T) (c *crowd, u *Unverified, text []byte) {
		c = newCrowd(t, 1, 3, func(c *Config) { c.PastEpochs = 1 })
		u = unprotected(t, c.members[0].group, must[[]byte](t)(c.members[1].group.Protect(nil, []byte("text"), nil)))
		return c, u, u.message.content.text
	}
	t.Run("a commit is applied", func(t *testing.T) {
		c, u, _ := start(t)
		c.commit(2, CommitOptions{})
		wantRead(t, u.Verify(), "text")
		c.agree()
	})
	t.Run("the sender is removed", func(t *testing.T) {
		c, u, _ := start(t)
		c.commit(2, CommitOptions{Proposals: []Proposal{&Remove{1}}})
		r := must[*Received](t)(u.Verify().Accept())
		if string(r.Leaf.Credential.Identity) != "m1" || r.Epoch != 1 {
			t.Errorf("%+v", r)
		}
	})
	t.Run("its epoch is forgotten", func(t *testing.T) {
		c, u, text := start(t)
		c.commit(2, CommitOptions{})
		c.commit(1, CommitOptions{})
		if u.message.claim.after.secret.Len() != 0 {
			t.Error("a key of an epoch that is forgotten is left")
		}
		_, err := u.Verify().Accept()
		wantRefusal(t, err, PastEpoch, "6.3: message of epoch 1, the group is in 3 and keeps 1")
		wantWiped(t, &u.message, text)
	})
	t.Run("the group is wiped before the signature is verified", func(t *testing.T) {
		c, u, text := start(t)
		c.members[0].group.Wipe()
		wantWiped(t, &u.message, text)
		_, err := u.Verify().Accept()
		wantRefusal(t, err, Removed, "12.4.2: no longer in the group")
	})
	t.Run("the group is wiped when the signature was verified", func(t *testing.T) {
		c, u, text := start(t)
		v := u.Verify()
		c.members[0].group.Wipe()
		wantWiped(t, v, text)
		_, err := v.Accept()
		wantRefusal(t, err, Removed, "12.4.2: no longer in the group")
	})
	t.Run("the group is wiped while the signature is verified", func(t *testing.T) {
		for range 20 {
			c, u, text := start(t)
			var wait sync.WaitGroup
			wait.Go(func() { u.Verify() })
			c.members[0].group.Wipe()
			wait.Wait()
			if !bytes.Equal(text, make([]byte, len(text))) || u.message.claim.after.secret.Len() != 0 {
				t.Error("plaintext or keys are left")
			}
		}
	})
	t.Run("we are removed", func(t *testing.T) {
		c, u, text := start(t)
		c.commit(2, CommitOptions{Proposals: []Proposal{&Remove{0}}})
		wantWiped(t, &u.message, text)
		_, err := u.Verify().Accept()
		wantRefusal(t, err, Removed, "12.4.2: no longer in the group")
	})
	t.Run("the state is saved", func(t *testing.T) {
		c, u, _ := start(t)
		g, restored := c.members[0].group, twin(t, c.members[0])
		wantRead(t, u.Verify(), "text")
		again := must[[]byte](t)(c.members[1].group.Protect(nil, []byte("more"), nil))
		for _, g := range []*Group{g, restored} {
			wantRead(t, unprotected(t, g, again).Verify(), "more")
		}
		if n := len(must[*ratchet](t)(restored.now.messages.secrets.ratchet(1, ContentApplication)).skipped); n != 1 {
			t.Errorf("%d keys wait: the message that was not accepted is to be read again", n)
		}
	})
	t.Run("it is discarded", func(t *testing.T) {
		c, u, text := start(t)
		unchanged(t, c.members[0].group, u.Discard)
		wantWiped(t, &u.message, text)
		u.Verify().Discard()
		_, err := u.Verify().Accept()
		wantRefusal(t, err, Misuse, ": the message was accepted or discarded before")
	})
}

// Handshake messages have their turn when they are accepted.
func TestHandshakesInSteps(t *testing.T) {
	for _, private := range []bool{false, true} {
		c := newCrowd(t, 1, 3, func(c *Config) { c.EncryptHandshake = private })
		g := c.members[0].group
		proposal := unprotected(t, g, must[[]byte](t)(c.members[1].group.Propose(&Remove{2}, nil)))
		made := must[*Change](t)(c.members[1].group.Commit(CommitOptions{}))
		commit := unprotected(t, g, made.Commit)
		late := unprotected(t, g, must[[]byte](t)(c.members[2].group.Protect(nil, []byte("late"), nil)))
		if proposal.Content() != ContentProposal || commit.Content() != ContentCommit || late.Content() != ContentApplication {
			t.Errorf("%v, %v, %v", proposal.Content(), commit.Content(), late.Content())
		}
		if len(g.Pending()) != 0 {
			t.Error("a proposal waits that was not accepted")
		}
		must[*Received](t)(proposal.Verify().Accept())
		ch := must[*Received](t)(commit.Verify().Accept()).Change
		again := unprotected(t, g, made.Commit)
		if err := made.Apply(); err != nil {
			t.Fatal(err)
		}
		next := must[[]byte](t)(c.members[1].group.Protect(nil, []byte("next"), nil))
		_, err := g.Unprotect(next)
		wantRefusal(t, err, FutureEpoch, "6.3: message of epoch 2, the group is in 1")
		if err := ch.Apply(); err != nil {
			t.Fatal(err)
		}
		wantRead(t, late.Verify(), "late")
		wantRead(t, unprotected(t, g, next).Verify(), "next")
		_, err = again.Verify().Accept()
		wantRefusal(t, err, PastEpoch, "12.4.2: commit of epoch 1, the group is in 2")
		if len(g.underWay) != 0 {
			t.Errorf("%d messages are under way", len(g.underWay))
		}
	}
}

// Messages under way are bounded in number and bytes, and the group can be used beside them.
func TestMessagesUnderWayAreBounded(t *testing.T) {
	c := newCrowd(t, 1, 2, func(c *Config) { c.Limits.UnderWay, c.Limits.Message = 3, 4000 })
	a, b := c.members[0].group, c.members[1].group
	msg := func(n int) []byte { return must[[]byte](t)(a.Protect(nil, make([]byte, n), nil)) }
	var all []*Unverified
	for range 3 {
		all = append(all, unprotected(t, b, msg(1)))
	}
	more := msg(1)
	_, err := b.Unprotect(more)
	wantRefusal(t, err, Busy, ": 3 messages of 4")
	must[*Received](t)(b.Process(more)) // it is accepted at once
	all[0].Discard()
	must[*Received](t)(all[1].Verify().Accept())
	_, err = b.Unprotect(msg(3800)) // with another
	wantRefusal(t, err, Busy, ": 1 messages of 1")
	must[*Received](t)(all[2].Verify().Accept())
	must[*Received](t)(unprotected(t, b, msg(3800)).Verify().Accept())
	short, long := msg(1), msg(2000)
	for over := range 2 { // counted to the byte
		b.limits.Message = len(short) + len(long) - over
		u := unprotected(t, b, short)
		v, err := b.Unprotect(long)
		if over == 0 {
			if err != nil {
				t.Fatal(err)
			}
			v.Discard()
		} else {
			wantRefusal(t, err, Busy, ": 1 messages of 1")
		}
		u.Discard()
	}
	b.limits.Message = 4000

	_, err = new(Verified).Accept()
	wantRefusal(t, err, Misuse, ": no message: it did not come from Group.Unprotect")
	_, err = new(Unverified).Verify().Accept()
	wantRefusal(t, err, Misuse, ": no message: it did not come from Group.Unprotect")
	new(Unverified).Discard()
	u := unprotected(t, b, msg(1))
	u.message.stage.Store(verifying)
	_, err = u.Verify().Accept()
	wantRefusal(t, err, Misuse, ": the signature of the message is still being verified")
}

// While signatures are verified the owner does whatever it likes with the group.
func TestVerifyBesideTheOwner(t *testing.T) {
	t.Parallel()
	c := newCrowd(t, 1, 3, kept, func(c *Config) { c.PastEpochs = 100 })
	g := c.members[0].group
	var wait sync.WaitGroup
	results := make(chan *Verified, 100)
	for i := range 100 {
		from := c.members[1+i%2].group
		u := unprotected(t, g, must[[]byte](t)(from.Protect(nil, []byte("text"), []byte("aad"))))
		wait.Go(func() { results <- u.Verify() })
		must[[]byte](t)(g.Protect(nil, []byte("ours"), nil))
		switch {
		case i%10 == 3:
			c.commit(i%3, CommitOptions{})
		case i%10 == 7:
			twin(t, c.members[0])
			must[*Change](t)(g.Commit(CommitOptions{})).Discard()
		case i%3 == 0:
			wantRead(t, <-results, "text")
		}
	}
	wait.Wait()
	for len(results) > 0 {
		wantRead(t, <-results, "text")
	}
	c.agree()
}

// Of an epoch that is over nobody needs the ratchets of handshakes, those neither that are derived for a late message
// (section 9.2).
func TestLateRatchetsOfHandshakesAreWiped(t *testing.T) {
	c := newCrowd(t, 1, 3)
	c.commit(1, CommitOptions{})
	g := c.members[0].group
	late := must[[]byte](t)(c.members[2].group.Protect(nil, []byte("late"), nil))
	c.commit(1, CommitOptions{})
	must[*Received](t)(g.Process(late))
	r := must[*epochKeys](t)(g.keysOf(2)).secrets.ratchets[2]
	if r.application.secret.Len() == 0 || r.handshake.secret.Len() != 0 {
		t.Errorf("secrets of %d and %d bytes", r.application.secret.Len(), r.handshake.secret.Len())
	}

	// The same when it is derived once more after a restart.
	p := newCrowd(t, 1, 3, kept)
	first := p.members[0]
	p.commit(1, CommitOptions{}) // the epoch is new: nobody's ratchets are derived
	late = must[[]byte](t)(p.members[2].group.Protect(nil, []byte("late"), nil))
	p.commit(1, CommitOptions{})
	first.restart()
	must[*Received](t)(first.group.Process(late))
	first.restart()
	r = must[*epochKeys](t)(first.group.keysOf(2)).secrets.ratchets[2]
	if r == nil || r.application.secret.Len() == 0 || r.handshake.secret.Len() != 0 {
		t.Errorf("after a restart: %+v", r)
	}
}

// A message that ends while its signature is verified is the verifier's, however often the owner ends it: by Wipe and
// by
// Discard, as who gives up all that it holds does.
func TestEndedTwiceWhileVerified(t *testing.T) {
	c := newCrowd(t, 1, 2)
	g := c.members[0].group
	u := unprotected(t, g, must[[]byte](t)(c.members[1].group.Protect(nil, []byte("text"), nil)))
	v := &u.message
	v.stage.Store(verifying) // as Verify does first
	g.Wipe()
	u.Discard()
	u.Discard()
	if v.content.verifier == nil || v.content.raw == nil {
		t.Fatal("what the verifier reads was taken away")
	}
	if !v.signatureHolds() {
		t.Error("the text was overwritten while it was verified")
	}
}

// A handshake message under way takes the room of its bytes, however much more it is when it is decoded: nobody has
// vouched for it.
func TestHandshakesUnderWayTakeLittleRoom(t *testing.T) {
	g := newCrowd(t, 1, 2).members[0].group
	leaf := copyLeaf(g.Member(1))
	path := &updatePath{leaf: leaf, nodes: []updatePathNode{{secrets: make([]hpkeCiphertext, maxRecipients)}}}
	f := framedContent{groupID: g.ID(), epoch: g.Epoch(), sender: Sender{Type: SenderNewMemberCommit}, kind: ContentCommit,
		body: body{commit: &commit{proposals: slices.Repeat([]proposalOrRef{{ref: []byte("r")}}, maxProposals), path: path}}}
	msg := (&publicMessage{authenticated: authenticated{wire: WirePublicMessage, content: f, raw: f.append(nil)}}).append(appendMessageHead(nil, WirePublicMessage))
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	u := unprotected(t, g, msg)
	runtime.GC()
	runtime.ReadMemStats(&after)
	if held := int(after.HeapAlloc) - int(before.HeapAlloc); held > 2*len(msg) {
		t.Errorf("a message of %d bytes holds %d", len(msg), held)
	}
	_, err := u.Verify().Accept()
	if KindOf(err) == 0 {
		t.Error("it was accepted")
	}
	runtime.KeepAlive(path)
}

// Application data with other authenticated data than what came with it, and what is none, is refused and takes nothing: the right message is
// accepted after it.
func TestDataWithOtherAAD(t *testing.T) {
	c := newCrowd(t, 1, 2)
	alice, bob := c.members[0].group, c.members[1].group
	msg, err := alice.Protect(nil, []byte("text"), []byte("header"))
	if err != nil {
		t.Fatal(err)
	}
	for _, aad := range []string{"", "heade", "header2"} {
		if _, err := bob.ProcessData(msg, []byte(aad)); KindOf(err) != Invalid {
			t.Errorf("under %q: %v", aad, err)
		}
	}
	commit, err := alice.Commit(CommitOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := bob.ProcessData(commit.Commit, nil); KindOf(err) != Invalid {
		t.Errorf("a commit: %v", err)
	}
	commit.Discard()
	u, err := bob.Unprotect(msg)
	if err != nil || string(u.AAD()) != "header" {
		t.Fatalf("in steps: %v, %q", err, u.AAD())
	}
	u.Discard()
	r, err := bob.ProcessData(msg, []byte("header"))
	if err != nil || string(r.Application) != "text" {
		t.Fatalf("the right one: %v, %v", r, err)
	}
	if _, err := bob.ProcessData(msg, []byte("header")); KindOf(err) != Replayed {
		t.Errorf("again: %v", err)
	}
}
