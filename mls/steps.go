package mls

import (
	"bytes"
	"fmt"
	"slices"
	"sync/atomic"
)

// Messages are unprotected in three steps, so that what costs most of one, its signature, is verified on another
// processor than the group's:
//
//	owner of the group     Unprotect ──▶ Unverified ─┐                 ┌─▶ Verified ──▶ Accept ──▶ Received
//	any goroutine                                    └──▶ Verify ──────┘
//
// A message happens when it is accepted, and what happens then is what Process would do at that moment. Until then the
// group is as if it had not come: no ratchet has moved, and a state that is saved knows nothing of it. The key that it
// was decrypted with is lent (claim). So two copies of one message can be under way, and one of them is accepted; a
// message that is refused takes nothing from those after it; and of an epoch that is forgotten meanwhile, or a group
// that is wiped, nothing is accepted any more. Plaintext is in fields that are not exported until the signature was
// found good, and is overwritten when it is not.

// Unverified is a message that was decrypted, and whose signature is to be verified. It cannot be printed, and is not
// to be copied.
type Unverified struct{ message Verified }

// Verified is a message that was decrypted and whose signature was verified. Whether it holds is for Accept to say. It
// cannot be printed, and is not to be copied.
type Verified struct {
	stage atomic.Uint32
	size  int // of the message

	group *Group // does not change

	// Touched by the owner of the group alone.
	claim claim

	// Of a handshake message: a copy of it, and not what it decodes to, which can take many times the room.
	msg       []byte
	handshake ContentType

	// Of application data. Its text is the owner's, but for the time in which it is verified; the rest does not change.
	content      privateContent
	groupID, aad []byte
	epoch        uint64
	context      []byte // of the group in that epoch, serialised
}

// The stages of a message. While it is being verified its text is the verifier's: an owner who ends it then only says
// so, and the verifier, who finds that out, overwrites the text.
const (
	unset     uint32 = iota // of the zero value
	decrypted               // Unprotect has returned it
	verifying
	refused // the signature is bad, and the text is overwritten
	verified
	ended // accepted or discarded
)

// Unprotect is the first step of Process. It takes a message of the group as Process does, and decrypts it if it is
// application data of an epoch that is here. Errors are those of Process, for messages that need no more steps, and
// Busy: as many messages are under way as Limits.UnderWay says, or together they are longer than one message may be;
// it can be unprotected when one of those has been accepted or discarded. It does not keep msg.
//
// Handshake messages are copied, and all work with them is done when they are accepted: whom and what they concern
// depends on what was accepted before. Messages of the epoch that a commit leads to can be unprotected when the commit
// has been accepted and applied.
//
// Each Unverified is to be ended, by Accept or Discard of it or of what Verify makes of it.
func (g *Group) Unprotect(msg []byte) (*Unverified, error) {
	if n := len(g.underWay); n >= g.limits.UnderWay || n > 0 && g.underWaySize+len(msg) > g.limits.Message {
		return nil, refuse(Busy, "", "%d messages of %d bytes are neither accepted nor discarded: accept or discard one of them first", n, g.underWaySize)
	}
	u, err := g.unprotect(msg)
	if err != nil {
		return nil, err
	}
	g.underWay, g.underWaySize = append(g.underWay, &u.message), g.underWaySize+len(msg)
	return u, nil
}

// unprotect is Unprotect without the bound, and does not list the message.
func (g *Group) unprotect(msg []byte) (*Unverified, error) {
	if g.removed {
		return nil, g.usable()
	}
	if len(msg) > g.limits.Message {
		return nil, refuse(Limit, "", "message of %d bytes, at most %d are allowed", len(msg), g.limits.Message)
	}
	room := spareScratch.Get().(*scratch)
	defer room.done()
	room.reader.Reset(msg)
	m := &room.message
	if err := m.parse(&room.reader); err != nil {
		return nil, err
	}
	switch {
	case m.public == nil && m.private == nil:
		return nil, refuse(Malformed, "6", "message is %v, want a public or private message", m.WireFormat)
	case !bytes.Equal(m.GroupID, g.ID()):
		return nil, refuse(WrongGroup, "6", "message is for group %x, this is %x", clip(m.GroupID), clip(g.ID()))
	case m.Content != ContentApplication:
		return g.unprotectHandshake(m, msg)
	case m.public != nil:
		return nil, refuse(Invalid, "6", "application data in a public message")
	}
	p := m.private
	keys, err := g.keysOf(p.epoch)
	if err != nil {
		return nil, err
	}
	u := &Unverified{Verified{size: len(msg), group: g, groupID: g.ID(), epoch: p.epoch, context: keys.context}}
	v := &u.message
	err = keys.unprotect(g.suite, p, g.now.own, g.limits.Window, g.underWay, &v.content, &v.claim)
	if keys != g.now.messages && v.claim.ratchet != nil { // handshakes of an epoch that is over are of no use (section 9.2)
		keys.secrets.ratchets[v.content.from].handshake.wipe()
	}
	if err != nil {
		return nil, err
	}
	v.aad = v.content.aad
	v.stage.Store(decrypted)
	return u, nil
}

// unprotectHandshake copies a handshake message: what it holds is kept.
func (g *Group) unprotectHandshake(m *Message, msg []byte) (*Unverified, error) {
	if err := g.takesHandshake(m); err != nil {
		return nil, err
	}
	u := &Unverified{Verified{size: len(msg), group: g, msg: bytes.Clone(msg), handshake: m.Content}}
	u.message.stage.Store(verified) // as far as it can be now
	return u, nil
}

// takesHandshake refuses handshake messages of a group that has ended, and of other epochs.
func (g *Group) takesHandshake(m *Message) error {
	if err := g.usable(); err != nil {
		return err
	}
	if m.Epoch != g.Epoch() {
		return otherEpoch("12.4.2", m.Content.String(), m.Epoch, g.Epoch(), " already")
	}
	return nil
}

// Content is what the message says that it holds.
func (u *Unverified) Content() ContentType { return u.message.kind() }

// AAD is what the message says that is authenticated with it, borrowed; nil of handshake messages. Its sender has said so if it is accepted:
// before that it can be compared with what came around the message, and discarded, which uses no key up.
func (u *Unverified) AAD() []byte { return u.message.aad }

// Discard gives the message up, which can be unprotected again. For the owner of the group, at any time.
func (u *Unverified) Discard() { u.message.Discard() }

// Verify is the second step of Process: it verifies the signature of application data; with handshake messages it does
// nothing. It is called once, by any goroutine, and may overlap with all methods of the group, Accept and Discard of
// other messages, and Verify of others.
func (u *Unverified) Verify() *Verified {
	v := &u.message
	if !v.stage.CompareAndSwap(decrypted, verifying) {
		return v
	}
	found := verified
	if !v.signatureHolds() {
		clear(v.content.text)
		found = refused
	}
	if !v.stage.CompareAndSwap(verifying, found) { // ended meanwhile
		clear(v.content.text)
	}
	return v
}

// signatureHolds verifies the signature of application data. It reads nothing that others change.
func (v *Verified) signatureHolds() bool {
	room := spareScratch.Get().(*scratch)
	defer room.done()
	f := framedContent{groupID: v.groupID, epoch: v.epoch, sender: v.sender(), aad: v.aad, kind: ContentApplication}
	return v.group.suite.VerifyWithLabel(v.content.verifier, framedContentLabel, room.tbs(&f, v.content.raw, v.context), v.content.auth.signature)
}

func (v *Verified) sender() Sender { return Sender{Type: SenderMember, Leaf: v.content.from} }

func (v *Verified) kind() ContentType {
	if v.handshake != 0 {
		return v.handshake
	}
	return ContentApplication
}

// Accept is the last step of Process, for the owner of the group: the message happens now, or is refused, as if Process
// had been given it now. So messages are accepted in the order in which they came. Whatever is refused leaves the group
// as it was.
func (v *Verified) Accept() (*Received, error) {
	g := v.group
	switch {
	case g == nil:
		return nil, refuse(Misuse, "", "no message: it did not come from Group.Unprotect")
	case g.removed:
		v.Discard()
		return nil, g.usable()
	}
	stage := v.stage.Load()
	switch stage {
	case decrypted, verifying:
		return nil, refuse(Misuse, "", "the signature of the message is still being verified")
	case ended:
		return nil, refuse(Misuse, "", "the message was accepted or discarded before")
	}
	if v.handshake != 0 {
		msg := v.msg
		v.Discard()
		return g.acceptHandshake(msg)
	}
	if err := v.acceptable(stage); err != nil {
		v.Discard()
		return nil, err
	}
	r := &Received{Content: ContentApplication, Sender: v.sender(), Epoch: v.epoch, Leaf: v.content.leaf, Generation: v.claim.generation, AAD: v.aad,
		Application: v.content.body.application}
	v.claim.spend(g.suite, g.limits.Window)
	v.content.text = nil // it is the caller's now
	v.Discard()
	return r, nil
}

// acceptable says what Process would say of application data now: first whether its key is still there, which may have
// changed since it was decrypted.
func (v *Verified) acceptable(stage uint32) error {
	g := v.group
	if _, err := g.keysOf(v.epoch); err != nil {
		return err
	}
	if err := v.claim.ratchet.check(v.claim.generation, g.limits.Window); err != nil {
		return within(err, "message from member %d", v.content.from)
	}
	if stage != verified {
		return refuse(BadSignature, "6.1", "signature of application data from member %d does not verify", v.content.from)
	}
	return nil
}

// acceptHandshake takes a handshake message, and keeps it.
func (g *Group) acceptHandshake(msg []byte) (*Received, error) {
	m, err := ParseMessage(msg)
	if err != nil {
		return nil, err
	}
	if err := g.takesHandshake(m); err != nil {
		return nil, err
	}
	if m.private != nil {
		return g.processPrivate(m.private, msg)
	}
	return g.processPublic(m.public, msg)
}

// Discard gives the message up, which can be unprotected again. For the owner of the group.
func (v *Verified) Discard() {
	if v.group == nil {
		return
	}
	switch v.stage.Swap(ended) {
	case ended: // the group may have been wiped: what is left is the verifier's, who may not be done yet
		return
	case verifying:
	default:
		clear(v.content.text)
		v.content = privateContent{}
		v.msg = nil
	}
	v.claim.wipe()
	g := v.group
	if i := slices.Index(g.underWay, v); i >= 0 {
		g.underWay, g.underWaySize = slices.Delete(g.underWay, i, i+1), g.underWaySize-v.size
	}
}

// dropUnderWay ends all messages under way.
func (g *Group) dropUnderWay() {
	for len(g.underWay) > 0 {
		g.underWay[len(g.underWay)-1].Discard()
	}
}

// forgetClaims wipes the keys that were lent to messages of epochs that are no longer kept.
func (g *Group) forgetClaims() {
	for _, v := range g.underWay {
		if v.handshake == 0 {
			if _, err := g.keysOf(v.epoch); err != nil {
				v.claim.wipe()
			}
		}
	}
}

// Format tells nothing of what the message holds.
func (u *Unverified) Format(f fmt.State, _ rune) { fmt.Fprint(f, "mls.Unverified{}") }

// Format tells nothing of what the message holds.
func (v *Verified) Format(f fmt.State, _ rune) { fmt.Fprint(f, "mls.Verified{}") }
