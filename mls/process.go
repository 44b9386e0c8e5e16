package mls

import (
	"bytes"
	"crypto/subtle"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/seed31b3bfd0/slimgo/mls/internal/suite"
)

// Received is what a message held.
type Received struct {
	Content     ContentType
	Sender      Sender
	Epoch       uint64
	Leaf        *LeafNode // of the sender in that epoch, borrowed: who sits there now may be another; nil of senders outside
	Generation  uint32    // of application data: with Sender and Epoch it names the message in its group, and no two have the same
	AAD         []byte
	Application []byte    // of application data
	Proposal    Committed // of a proposal, which waits for a commit now
	Change      *Change   // of a commit, which has not happened yet
}

// Process takes a public or private message of the group: verifies it, and decrypts it. Application data may be of a
// past epoch that is still kept; proposals and commits are of this one. Whatever it refuses leaves the group as it was:
// a commit that came before its proposals is taken when they are here. A commit can be processed again until one is
// applied; other messages only once. It does not keep msg.
func (g *Group) Process(msg []byte) (*Received, error) {
	u, err := g.unprotect(msg)
	if err != nil {
		return nil, err
	}
	return u.Verify().Accept()
}

// ProcessData is Process of application data of which exactly aad is authenticated, beside it. Whatever else comes is Invalid, and takes
// nothing: whoever has seen a message could show it with other data around it, before its sender does, and use its key up.
func (g *Group) ProcessData(msg, aad []byte) (*Received, error) {
	u, err := g.unprotect(msg)
	if err != nil {
		return nil, err
	}
	defer u.Discard() // of what is not accepted
	switch {
	case u.Content() != ContentApplication:
		return nil, refuse(Invalid, "6", "%v, want application data", u.Content())
	case !bytes.Equal(u.AAD(), aad):
		return nil, refuse(Invalid, "6.3.1", "authenticated data is other than what came with it")
	}
	return u.Verify().Accept()
}

// clip keeps long identifiers out of errors.
func clip(b []byte) []byte { return b[:min(len(b), 16)] }

// processPrivate takes a private handshake message, whose bytes are msg.
func (g *Group) processPrivate(p *privateMessage, msg []byte) (*Received, error) {
	keys := g.now.messages
	var o privateContent
	var c claim
	defer c.wipe()
	err := keys.unprotect(g.suite, p, g.now.own, g.limits.Window, g.underWay, &o, &c)
	if errors.Is(err, Own) && !g.sent(msg) {
		// Every member can write our leaf into the sender data, and the key that would show who sealed the rest is
		// gone.
		return nil, refuse(BadSignature, "6.3.2", "%v names this member as its sender, and is none that it sent in this epoch", p.kind)
	}
	if err != nil {
		return nil, err
	}
	a := o.authenticated(p)
	if err := a.checkSignature(g.suite, o.verifier, keys.context); err != nil {
		clear(o.text)
		return nil, err
	}
	r, err := g.handshake(a)
	if err == nil && r.Change == nil { // the key of a commit goes with the epoch when it is applied
		c.spend(g.suite, g.limits.Window)
	}
	return r, err
}

// keysOf are the message keys of an epoch that is here.
func (g *Group) keysOf(epoch uint64) (*epochKeys, error) {
	if epoch == g.Epoch() {
		return g.now.messages, nil
	}
	for _, k := range g.past {
		if k.epoch == epoch {
			return k, nil
		}
	}
	return nil, otherEpoch("6.3", "message", epoch, g.Epoch(), fmt.Sprintf(" and keeps %d past ones", len(g.past)))
}

// processPublic takes a public handshake message, whose bytes are msg.
func (g *Group) processPublic(p *publicMessage, msg []byte) (*Received, error) {
	if err := p.checkMembership(g.suite, g.now.secrets.membership.Bytes(), g.now.raw); err != nil {
		return nil, err
	}
	v, err := g.senderKey(&p.authenticated)
	if err != nil {
		return nil, err
	}
	if err := p.checkSignature(g.suite, v, g.now.raw); err != nil {
		return nil, err
	}
	if err := g.judgeProposer(p.content.sender); err != nil {
		return nil, err
	}
	// Only now: an outsider can write our leaf into a message as well.
	if p.content.sender == (Sender{Type: SenderMember, Leaf: g.now.own}) {
		return nil, g.ownPublic(&p.authenticated, msg)
	}
	return g.handshake(&p.authenticated)
}

// ownPublic is what Process says to a public handshake message that this member signed.
func (g *Group) ownPublic(a *authenticated, msg []byte) error {
	switch {
	case a.content.kind == ContentCommit && g.sent(msg):
		return refuse(Own, "12.4", "commit is our own: apply the change that came with it")
	case g.waits(a.ref(g.suite)):
		return refuse(Own, "12.4", "proposal is our own: it waits here already")
	}
	return refuse(Missing, "12.4", "%v is our own, and no longer here: it was dropped, or made before a restart", a.content.kind)
}

// sent reports whether msg is a commit of this member whose change is neither applied nor discarded, or a private
// message with a proposal of its that waits.
func (g *Group) sent(msg []byte) bool {
	return slices.ContainsFunc(g.unapplied, func(c *Change) bool { return bytes.Equal(c.made.sent, msg) }) ||
		slices.ContainsFunc(g.proposals, func(p pending) bool { return p.message != nil && bytes.Equal(p.message, msg) })
}

// senderKey is the key that the signature of a public message must verify with (section 6.1).
func (g *Group) senderKey(a *authenticated) (suite.Verifier, error) {
	c := &a.content
	switch c.sender.Type {
	case SenderMember:
		leaf := g.now.tree.leaf(c.sender.Leaf)
		if leaf == nil {
			return nil, refuse(Invalid, "6.1", "%v from leaf %d, which is blank", c.kind, c.sender.Leaf)
		}
		return leaf.verifier(g.suite)
	case SenderExternal:
		senders, err := externalSenders(g.now.context.extensions)
		if err != nil {
			return nil, err
		}
		if c.kind != ContentProposal || uint64(c.sender.Index) >= uint64(len(senders)) {
			return nil, refuse(Invalid, "6.1", "%v from %v, the group has %d who may propose", c.kind, c.sender, len(senders))
		}
		s := senders[c.sender.Index]
		v, err := g.suite.Verifier(s.SignatureKey)
		if err != nil {
			return nil, refuseFor(Invalid, "12.1.8.1", err, "signature key of %v", c.sender)
		}
		return v, nil
	case SenderNewMemberProposal:
		add, ok := c.body.proposal.(*Add)
		if !ok {
			return nil, refuse(Invalid, "6.1", "%v from %v, want an add", c.kind, c.sender)
		}
		return add.KeyPackage.Leaf.verifier(g.suite)
	}
	if c.kind != ContentCommit || c.body.commit.path == nil {
		return nil, refuse(Invalid, "12.4.3.2", "%v from %v, want a commit with a path", c.kind, c.sender)
	}
	return c.body.commit.path.leaf.verifier(g.suite)
}

// judgeProposer asks the application about an external sender, whose signature has been verified: everybody can write
// its index into a message.
func (g *Group) judgeProposer(s Sender) error {
	if s.Type != SenderExternal {
		return nil
	}
	senders, err := externalSenders(g.now.context.extensions)
	if err != nil {
		return err
	}
	from := senders[s.Index]
	return g.cfg.judge(&Presented{Place: PlaceProposer, Stage: StageArrival, Roster: g.roster(), Credential: from.Credential,
		SignatureKey: from.SignatureKey})
}

// handshake takes a proposal or commit of this epoch whose signature has been verified.
func (g *Group) handshake(a *authenticated) (*Received, error) {
	r := &Received{Content: a.content.kind, Sender: a.content.sender, Epoch: a.content.epoch, AAD: a.content.aad}
	if r.Sender.Type == SenderMember {
		r.Leaf = g.now.tree.leaf(r.Sender.Leaf)
	}
	var err error
	if a.content.kind == ContentProposal {
		var p pending
		if p, err = g.admit(a, nil); err == nil {
			r.Proposal = p.Committed
			g.keep(p)
		}
	} else {
		r.Change, err = g.receive(a)
	}
	if err != nil {
		return nil, err
	}
	return r, nil
}

// admit looks at a proposal that arrives: at what is wrong with it whatever a commit holds besides. Whether it goes
// together with others is said of the list of a commit and not before (section 12.2): the client of an Add may be one
// that a Remove takes out, and extensions may be some that only members lack who are removed. Credentials are judged
// with the commit, too. What costs least comes first.
func (g *Group) admit(a *authenticated, own *ownUpdate) (pending, error) {
	p := pending{Committed: Committed{Proposal: a.content.body.proposal, Sender: a.content.sender, ByReference: true}, ref: a.ref(g.suite), own: own}
	if g.waits(p.ref) {
		return p, nil
	}
	if err := g.checkRoom(p.Sender, weight(p.Proposal)); err != nil {
		return p, err
	}
	if g.cfg.Proposals == nil && p.Sender.Type == SenderNewMemberProposal {
		return p, refuse(Refused, "12.1.8", "a client proposes itself, and Config.Proposals is nil: nobody vouches for it")
	}
	alone := proposalList{suite: g.suite, all: []Committed{p.Committed}}
	if err := alone.checkAlone(&g.now.context, g.now.tree, g.cfg); err != nil {
		return p, err
	}
	p.sound = true
	if g.cfg.Proposals != nil {
		if err := g.cfg.Proposals(&Proposed{Stage: StageArrival, List: []Committed{p.Committed}, Roster: g.roster()}); err != nil {
			return p, refuseFor(Refused, "12.1.8", err, "%v of %v was refused", p.Proposal.Type(), p.Sender)
		}
	}
	// A copy: what is kept holds nothing else of its message, which may be long.
	p.Proposal = p.copied().Proposal
	return p, nil
}

// waits reports whether a proposal waits already.
func (g *Group) waits(ref []byte) bool {
	return slices.ContainsFunc(g.proposals, func(p pending) bool { return bytes.Equal(p.ref, ref) })
}

// checkRoom: those who fill the room keep nobody else out, neither those outside nor a member. It is counted in
// proposals and in bytes, of which size more are to come.
func (g *Group) checkRoom(from Sender, size int) error {
	var all, outside, same room
	for _, q := range g.proposals {
		n := weight(q.Proposal)
		all.add(n)
		if q.Sender.Type != SenderMember {
			outside.add(n)
		}
		if q.Sender == from {
			same.add(n)
		}
	}
	switch {
	case all.n >= g.limits.Proposals, from.Type != SenderMember && outside.n >= g.limits.Proposals/4:
		return refuse(Limit, "", "%d proposals wait already, %d of them from outside", all.n, outside.n)
	case from.Type == SenderMember && same.n >= g.limits.PerMember:
		return refuse(Limit, "", "%d proposals of %v wait already", same.n, from)
	case !all.takes(size, g.limits.Message), from.Type != SenderMember && !outside.takes(size, g.limits.Message/4):
		return refuse(Limit, "", "%d bytes of proposals wait already, %d of them from outside", all.bytes, outside.bytes)
	case from.Type == SenderMember && !same.takes(size, g.limits.Message/4):
		return refuse(Limit, "", "%d bytes of proposals of %v wait already", same.bytes, from)
	}
	return nil
}

// room is what proposals that wait take up.
type room struct{ n, bytes int }

func (r *room) add(bytes int) { r.n, r.bytes = r.n+1, r.bytes+bytes }

// takes reports whether one more, of size bytes, fits into most. The first one always does.
func (r *room) takes(size, most int) bool { return r.n == 0 || r.bytes+size <= most }

// weight is about how many bytes a proposal takes that was read or copied.
func weight(p Proposal) int {
	n := 64 + lengthOf(p)
	switch p := p.(type) {
	case *ReInit:
		n += 8 * len(p.Extensions)
	case *GroupContextExtensions:
		n += 8 * len(p.Extensions)
	}
	return n
}

// keep lets a proposal wait for a commit. Received again, it is there once.
func (g *Group) keep(p pending) {
	if !g.waits(p.ref) {
		g.setPending(append(g.proposals, p))
	}
}

// setPending replaces the proposals that wait.
func (g *Group) setPending(list []pending) { g.proposals, g.dueUntil = list, time.Time{} }

// due reports whether a proposal waits that must be committed before data is sent: one that is valid by itself (section
// 12.4). What has been found is kept until another proposal waits, a key package begins or ends to be valid, or the
// clock was put back, which can be by years.
func (g *Group) due() bool {
	now := g.cfg.Now().Round(0) // lifetimes are of this clock, not of the monotonic one
	if !now.Before(g.dueSince) && now.Before(g.dueUntil) {
		return g.dueNow
	}
	g.dueNow, g.dueSince, g.dueUntil = false, now, now.Add(dueAtMost)
	for _, p := range g.proposals {
		if a, ok := p.Proposal.(*Add); ok {
			l, slack := a.KeyPackage.Leaf.Lifetime, g.cfg.ClockSlack
			for _, at := range []time.Time{inSeconds(l.NotBefore).Add(-slack), inSeconds(l.NotAfter + 1).Add(slack)} {
				if at.After(now) && at.Before(g.dueUntil) {
					g.dueUntil = at
				}
			}
		}
		c := p.Committed
		g.dueNow = g.dueNow || !g.unsupported(&c) && g.judgeWaiting(&c) == nil
	}
	return g.dueNow
}

// inSeconds is a time of a lifetime. One that is too far away for package time is put where nobody will be.
func inSeconds(s uint64) time.Time { return time.Unix(int64(min(s, 1<<40)), 0) }

// dueAtMost is how long what the application says of proposals that wait is taken for its opinion.
const dueAtMost = time.Minute

// resolve replaces references by the proposals that wait (section 12.4.2).
func (g *Group) resolve(committer Sender, entries []proposalOrRef) ([]Committed, error) {
	waiting := make(map[string]Committed, len(g.proposals))
	for _, p := range g.proposals {
		waiting[string(p.ref)] = p.Committed
	}
	list := make([]Committed, len(entries))
	for i, e := range entries {
		if e.proposal != nil {
			list[i] = Committed{Proposal: e.proposal, Sender: committer}
			continue
		}
		c, ok := waiting[string(e.ref)]
		if !ok {
			return nil, refuse(Missing, "12.4.2", "commit refers to proposal %x, which has not arrived", clip(e.ref))
		}
		list[i] = c
	}
	return list, nil
}

// receive prepares the change of a commit by another (section 12.4.2).
func (g *Group) receive(a *authenticated) (*Change, error) {
	now, from, made := g.now, a.content.sender, a.content.body.commit
	l := &proposalList{suite: g.suite, committer: from}
	switch from.Type {
	case SenderMember:
	case SenderNewMemberCommit:
		l.mode = external
	default:
		return nil, refuse(Invalid, "6.1", "commit from %v", from)
	}
	var err error
	if l.all, err = g.resolve(from, made.proposals); err != nil {
		return nil, err
	}
	if err := l.checkLimits(now.tree, g.limits); err != nil {
		return nil, err
	}
	if err := l.check(&now.context, now.tree, g.cfg); err != nil {
		return nil, err
	}
	if made.path == nil && (l.needsPath() || l.mode == external) {
		return nil, refuse(Invalid, "12.4.2", "commit has no path, and its proposals ask for one")
	}
	if l.mode == external { // signed with a key of its own: who it is comes before all work with the tree
		l.joiner = made.path.leaf
		if err := g.cfg.judge(l.pathLeaf(from.Leaf, made.path, g.roster())); err != nil {
			return nil, err
		}
	}
	if err := l.apply(&now.context, now.tree, g.limits); err != nil {
		return nil, err
	}
	if err := l.judge(g.cfg, &now.context, now.tree); err != nil {
		return nil, err
	}
	c := &Change{Sender: from, Epoch: now.context.epoch + 1, AAD: slices.Clone(a.content.aad), SelfRemoved: slices.Contains(l.removed, now.own), group: g,
		base: now, end: l.reinit}
	var steps []step
	added := l.added
	if made.path != nil {
		leaf := from.Leaf
		if l.mode == external {
			leaf = l.tree.vacant()
			added = append(added, leaf)
		}
		if steps, err = g.checkPath(l, leaf, made.path); err != nil {
			return nil, err
		}
	}
	init := new(suite.Secret)
	defer init.Wipe()
	init.Set(now.secrets.init.Bytes())
	if l.init != nil {
		if err := g.externalInit(init, l.init); err != nil {
			return nil, err
		}
	}
	if c.SelfRemoved { // the rest is for those who stay
		c.describe(now.tree, l.tree, l.all, added)
		return c, nil
	}
	c.next = &epoch{suite: g.suite, tree: l.tree, own: now.own, keys: g.ownKeys(l), signer: g.ownSigner(l), context: groupContext{suite: g.suite.ID(),
		groupID: now.context.groupID, epoch: c.Epoch, treeHash: l.tree.hash(), confirmedHash: now.context.confirmedHash, extensions: l.extensions}}
	if err := g.followCommit(c.next, l, a, steps, init); err != nil {
		return nil, err
	}
	c.describe(now.tree, l.tree, l.all, added)
	return c, nil
}

// followCommit derives the epoch after a commit, whose path gave steps, and compares the confirmation tag. On an error
// to is dropped.
func (g *Group) followCommit(to *epoch, l *proposalList, a *authenticated, steps []step, init *suite.Secret) (err error) {
	defer func() {
		if err != nil {
			to.drop()
		}
	}()
	var commitSecret, psk suite.Secret
	defer commitSecret.Wipe()
	defer psk.Wipe()
	commitSecret.Room(g.suite.HashSize())
	if path := a.content.body.commit.path; path != nil {
		if err := l.takePath(to, path, steps, &commitSecret); err != nil {
			return err
		}
	}
	if err := mixPSKs(g.suite, &psk, l.psks, g.psk); err != nil {
		return err
	}
	n := advance(g.suite, g.now.interim, init, to, a, &commitSecret, &psk)
	defer n.wipe()
	if subtle.ConstantTimeCompare(a.auth.confirmationTag, to.tag) != 1 {
		return refuse(BadSignature, "12.4.2", "confirmation tag of a commit by %v is wrong: its sender has another view of the group", a.content.sender)
	}
	return nil
}

// ownKeys are the keys of the next epoch as far as the proposals tell: without those that were blanked, and with that
// of an update of ours.
func (g *Group) ownKeys(l *proposalList) keyring {
	keys := g.now.keys.clone()
	if u := g.ownUpdate(l); u != nil {
		keys.set(g.now.own.Node(), u.key.Clone())
	}
	keys.forget(l.tree)
	return keys
}

// ownSigner is the signer after the proposals.
func (g *Group) ownSigner(l *proposalList) *SigningKey {
	if u := g.ownUpdate(l); u != nil && u.signer != nil {
		return u.signer
	}
	return g.now.signer
}

// ownUpdate is the update of ours that the list holds.
func (g *Group) ownUpdate(l *proposalList) *ownUpdate {
	for _, p := range g.proposals {
		if p.own != nil && slices.ContainsFunc(l.all, func(c Committed) bool { return c.Proposal == p.Proposal }) {
			return p.own
		}
	}
	return nil
}

// checkPath verifies a path as far as it goes without keys, and puts it into the tree of l.
func (g *Group) checkPath(l *proposalList, from LeafIndex, u *updatePath) ([]step, error) {
	place := l.pathLeaf(from, u, g.roster())
	if err := checkLeafAlone(g.suite, u.leaf, SourceCommit, g.ID(), from, g.cfg.rules(false)); err != nil {
		return nil, within(err, "leaf in the path of a commit")
	}
	if place.Replaces != nil {
		if err := checkNewKey(u.leaf, place.Replaces); err != nil {
			return nil, err
		}
	}
	if err := l.tree.checkPathKeys(u); err != nil {
		return nil, err
	}
	steps, err := l.tree.mergeUpdatePath(from, u, l.addedSet())
	if err != nil {
		return nil, err
	}
	if err := l.tree.checkLeavesTogether([]LeafIndex{from}, l.extensions); err != nil {
		return nil, err
	}
	if l.mode == external { // it has been judged
		return steps, nil
	}
	return steps, g.cfg.judge(place)
}

// pathLeaf is the leaf of a path as it is presented to the application.
func (l *proposalList) pathLeaf(from LeafIndex, u *updatePath, before Roster) *Presented {
	p := &Presented{Place: PlaceUpdate, Stage: StageFollow, Roster: before, Leaf: from, Credential: u.leaf.Credential, SignatureKey: u.leaf.SignatureKey, Node: u.leaf}
	if l.mode == external {
		p.Place, p.Leaf, p.Replaces = PlaceExternal, 0, l.replaced(before.tree)
	} else {
		p.Replaces = l.tree.leaf(from)
	}
	return p
}

// takePath takes from a path what is for this member: keys, and the commit secret.
func (l *proposalList) takePath(to *epoch, u *updatePath, steps []step, commitSecret *suite.Secret) error {
	keys, err := l.tree.decryptPath(to.own, to.keys, u, steps, to.context.append(nil), l.addedSet(), commitSecret)
	if err != nil {
		return err
	}
	for n, k := range keys {
		to.keys.set(n, k)
	}
	to.keys.forget(l.tree)
	// Keys above our leaf that the path replaced and that we were not told are no longer ours.
	for _, s := range steps {
		if keys[s.node] == nil {
			to.keys.set(s.node, nil)
		}
	}
	return nil
}

// replaced is the leaf that an external commit takes out; nil: none.
func (l *proposalList) replaced(before *tree) *LeafNode {
	for _, c := range l.all {
		if p, ok := c.Proposal.(*Remove); ok {
			return before.leaf(p.Leaf)
		}
	}
	return nil
}

// externalInit finds the init secret of an external commit (section 8.3).
func (g *Group) externalInit(out *suite.Secret, p *ExternalInit) error {
	key, err := g.suite.DeriveKeyPair(&g.now.secrets.external)
	if err != nil {
		return err
	}
	defer key.Wipe()
	b, err := g.suite.ReceiveExport(key, p.KEMOutput, externalInitLabel, g.suite.HashSize())
	if err != nil {
		return refuseFor(Invalid, "8.3", err, "kem_output of an external_init")
	}
	out.Set(b)
	clear(b)
	return nil
}

const externalInitLabel = "MLS 1.0 external init secret"
