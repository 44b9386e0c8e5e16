package mls

import (
	"bytes"
	"io"
	"slices"

	"github.com/seed31b3bfd0/slimgo/mls/internal/codec"
	"github.com/seed31b3bfd0/slimgo/mls/internal/suite"
)

// CommitOptions are how to commit. The zero value commits what is pending.
type CommitOptions struct {
	Proposals   []Proposal // by value, after those that are pending
	SkipPending bool       // leave pending proposals out
	Path        bool       // bring new keys where the proposals do not ask for them
	AAD         []byte     // authenticated_data of the commit
	// Identity replaces credential and signature key of this member, as far as they are not zero. It brings new keys.
	Identity Identity
	// Keep keeps the commit and its welcomes after it was applied, until Change.Sent: they are among Group.Unsent, and
	// are saved with the group. For who applies its commits before it sends them, because nobody else commits: one Save
	// covers both, and after a crash they are sent again.
	Keep bool
	// Note is what the application wants to know of the commit after a restart, such as whom it is to be sent to: saved
	// with it, and sent to nobody. It has at most Limits.Message bytes, whatever else is given.
	Note []byte
	// WithoutTree leaves the tree out of welcomes: joiners get it otherwise.
	WithoutTree bool
	// Separate makes a welcome for each new member instead of one for all.
	Separate bool
	// GroupInfo are further extensions of the group info in welcomes.
	GroupInfo Extensions
}

// Identity is who a member is.
type Identity struct {
	Credential Credential
	Key        *SigningKey
}

// Commit makes a commit (RFC 9420, section 12.4.1). The group does not change before the change is applied.
func (g *Group) Commit(o CommitOptions) (*Change, error) {
	if err := g.usable(); err != nil {
		return nil, err
	}
	if o.Keep && len(g.unsent) >= maxUnsent {
		return nil, refuse(Busy, "", "%d commits of this member are kept: call Change.Sent when others have them", len(g.unsent))
	}
	if err := o.checkGiven(g.limits); err != nil {
		return nil, err
	}
	committer := Sender{Type: SenderMember, Leaf: g.now.own}
	byValue, err := g.byValue(committer, o.Proposals)
	if err != nil {
		return nil, err
	}
	if err := o.GroupInfo.check(); err != nil {
		return nil, within(err, "CommitOptions.GroupInfo")
	}
	c := choice{group: g, committer: committer, byValue: byValue}
	if !o.SkipPending {
		c.waiting = g.eligible(byValue)
	}
	l, err := c.list()
	if err != nil {
		return nil, err
	}
	return g.commit(l, o)
}

// checkGiven refuses what no message could hold, but for proposals, which byValue does.
func (o *CommitOptions) checkGiven(limits Limits) error {
	if err := limits.given().add("CommitOptions.Note", len(o.Note)).err; err != nil {
		return err
	}
	l := limits.given().add("CommitOptions.AAD", len(o.AAD)).add("CommitOptions.Identity", o.Identity.Credential.length())
	return l.add("CommitOptions.GroupInfo", o.GroupInfo.length()).err
}

// byValue are proposals as a commit of ours brings them by value.
func (g *Group) byValue(committer Sender, proposals []Proposal) ([]Committed, error) {
	all := g.limits.given()
	for _, p := range proposals {
		if err := all.add("proposal of a commit", 3+lengthOf(p)).err; err != nil {
			return nil, err
		}
	}
	var list []Committed
	for _, p := range proposals {
		p, err := g.cfg.sendable(p)
		if err != nil {
			return nil, err
		}
		list = append(list, Committed{Proposal: p, Sender: committer})
	}
	return list, nil
}

// commit makes a commit of the proposals in l, which has been found valid.
func (g *Group) commit(l *proposalList, o CommitOptions) (*Change, error) {
	now := g.now
	to := &epoch{suite: g.suite, tree: l.tree, own: now.own, keys: now.keys.clone(), signer: now.signer, context: groupContext{
		suite: g.suite.ID(), groupID: now.context.groupID, epoch: now.context.epoch + 1, confirmedHash: now.context.confirmedHash, extensions: l.extensions}}
	c := &Change{Sender: l.committer, Epoch: to.context.epoch, AAD: slices.Clone(o.AAD), group: g, base: now, next: to, end: l.reinit}
	if err := g.makeCommit(c, l, o); err != nil {
		return nil, err
	}
	if err := l.tree.checkLeavesTogether([]LeafIndex{now.own}, l.extensions); err != nil { // our own leaf may be another
		c.Discard()
		return nil, err
	}
	c.describe(now.tree, l.tree, l.all, l.added)
	c.made.aad, c.made.all, c.made.added = slices.Clone(c.AAD), l.all, l.added
	c.made.keep, c.made.note = o.Keep, slices.Clone(o.Note)
	c.show()
	g.unapplied = append(g.unapplied, c)
	g.changed(partSecret)
	return c, nil
}

// makeCommit makes the messages of a commit, and completes the epoch after it. On an error c is discarded.
func (g *Group) makeCommit(c *Change, l *proposalList, o CommitOptions) (err error) {
	defer func() {
		if err != nil {
			c.Discard()
		}
	}()
	now, to := g.now, c.next
	made := &commit{proposals: g.entries(l.all)}
	var f *freshPath
	var commitSecret, psk suite.Secret
	defer commitSecret.Wipe()
	defer psk.Wipe()
	commitSecret.Room(g.suite.HashSize())
	if o.Path || o.Identity.Key != nil || o.Identity.Credential.Type != 0 || l.needsPath() {
		if f, err = g.newPath(now.tree.leaf(now.own), to, l, made, o.Identity); err != nil {
			return err
		}
		defer f.wipe()
		commitSecret.Set(f.commit.Bytes())
	}
	to.keys.forget(l.tree)
	to.context.treeHash = l.tree.hash()
	if err := mixPSKs(g.suite, &psk, l.psks, g.psk); err != nil {
		return err
	}
	wire := WirePublicMessage
	if g.cfg.EncryptHandshake {
		wire = WirePrivateMessage
	}
	a, err := newAuthenticated(g.suite, g.cfg.random(), now.signer, wire, framedContent{groupID: now.context.groupID, epoch: now.context.epoch,
		sender: l.committer, aad: c.AAD, kind: ContentCommit, body: body{commit: made}}, now.raw)
	if err != nil {
		return err
	}
	n := advance(g.suite, now.interim, &now.secrets.init, to, a, &commitSecret, &psk)
	defer n.wipe()
	a.auth.confirmationTag = to.tag
	more, err := g.cfg.grease()
	if err != nil {
		return err
	}
	o.GroupInfo = append(more, o.GroupInfo...)
	if c.made.welcomes, err = welcomes(g.cfg.random(), n, l, f, o); err != nil {
		return err
	}
	for _, w := range c.made.welcomes {
		if err := checkMade(len(w), g.limits.Message); err != nil {
			return within(err, "welcome")
		}
	}
	c.made.sent, err = g.protect(a) // last: it may spend a key
	return err
}

// entries are the proposals as the commit holds them: pending ones by reference.
func (g *Group) entries(list []Committed) []proposalOrRef {
	entries := make([]proposalOrRef, len(list))
	for i, c := range list {
		entries[i].proposal = c.Proposal
		if !c.ByReference {
			continue
		}
		at := slices.IndexFunc(g.proposals, func(p pending) bool { return p.Proposal == c.Proposal })
		entries[i] = proposalOrRef{ref: g.proposals[at].ref}
	}
	return entries
}

// newPath brings new keys for the own leaf, which looks like old, and the nodes above it (sections 7.5, 12.4.1): into
// the tree, into the keys of the next epoch, and into the commit.
func (g *Group) newPath(old *LeafNode, to *epoch, l *proposalList, c *commit, id Identity) (*freshPath, error) {
	leaf := &LeafNode{SignatureKey: old.SignatureKey, Credential: old.Credential, Capabilities: old.Capabilities, Extensions: old.Extensions,
		Source: SourceCommit}
	if id.Key != nil {
		to.signer, leaf.SignatureKey = id.Key, slices.Clone(id.Key.Public())
	}
	if id.Credential.Type != 0 {
		leaf.Credential = id.Credential
	}
	if err := g.cfg.checkOwnLeaf(leaf, old); err != nil {
		return nil, err
	}
	return makePath(g.suite, g.cfg.random(), leaf, to, l, c)
}

// makePath is the same for a leaf that is complete but for its keys; of a joiner, too.
func makePath(s *suite.Suite, rand io.Reader, leaf *LeafNode, to *epoch, l *proposalList, c *commit) (*freshPath, error) {
	f, err := l.tree.refreshPath(rand, to.own, leaf)
	if err != nil {
		return nil, err
	}
	if err := f.complete(s, rand, leaf, to, l, c); err != nil {
		return nil, err
	}
	for n, k := range f.keys {
		to.keys.set(n, k)
	}
	return f, nil
}

// complete signs the leaf of the path, puts it into the tree, and the path into the commit. On an error f is dropped.
func (f *freshPath) complete(s *suite.Suite, rand io.Reader, leaf *LeafNode, to *epoch, l *proposalList, c *commit) (err error) {
	defer func() {
		if err != nil {
			f.drop()
		}
	}()
	if err := leaf.sign(s, rand, to.signer, to.context.groupID, to.own); err != nil {
		return err
	}
	l.tree.setLeaf(to.own, leaf)
	to.context.treeHash = l.tree.hash()
	nodes, err := l.tree.encryptPath(rand, f, to.context.append(nil), l.addedSet())
	c.path = &updatePath{leaf: leaf, nodes: nodes}
	return err
}

// protect makes the message of a content of this epoch.
func (g *Group) protect(a *authenticated) ([]byte, error) {
	if a.wire == WirePublicMessage {
		msg := protectPublic(g.suite, a, g.now.secrets.membership.Bytes(), g.now.raw).append(appendMessageHead(nil, a.wire))
		return msg, checkMade(len(msg), g.limits.Message)
	}
	p := &privateMessage{groupID: a.content.groupID, epoch: a.content.epoch, kind: a.content.kind, aad: a.content.aad}
	return g.now.messages.protect(g.suite, g.cfg.random(), nil, p, g.now.own, a.content.body.append(nil, a.content.kind), &a.auth, g.cfg.Padding,
		g.limits.Message)
}

// welcomes are for those who were added (section 12.4.3.1).
func welcomes(rand io.Reader, n *next, l *proposalList, f *freshPath, o CommitOptions) ([][]byte, error) {
	if len(l.added) == 0 {
		return nil, nil
	}
	s := n.epoch.suite
	info, err := n.epoch.newGroupInfo(rand, !o.WithoutTree, false, o.GroupInfo)
	if err != nil {
		return nil, err
	}
	var key messageKey
	defer key.wipe()
	welcomeKey(s, &n.welcome, &key)
	aead, err := s.AEAD(key.key[:s.KeySize()])
	if err != nil {
		return nil, err
	}
	sealed := aead.Seal(nil, key.nonce[:], info.append(nil), nil)

	size := s.EncryptRandomness()
	random := make([]byte, size*len(l.added))
	defer clear(random)
	if _, err := io.ReadFull(rand, random); err != nil {
		return nil, err
	}
	c := s.EncryptContext(welcomeLabel, sealed) // once: it is as long as the tree
	secrets := make([]welcomeSecrets, len(l.added))
	err = inParallel(len(l.added), 4, func(i int) error {
		ref, err := l.packages[i].Ref()
		if err != nil {
			return err
		}
		gs := groupSecrets{joiner: slices.Clone(n.joiner.Bytes()), psks: l.psks}
		if f != nil {
			if p := f.secretFor(l.added[i]); p != nil {
				gs.path = slices.Clone(p.Bytes())
			}
		}
		defer gs.wipe()
		text := gs.append(nil)
		defer clear(text)
		kem, ct, err := s.EncryptIn(bytes.NewReader(random[i*size:(i+1)*size]), l.packages[i].InitKey, &c, text)
		if err != nil {
			return refuseFor(Invalid, "12.4.3.1", err, "init_key of the client at leaf %d", l.added[i])
		}
		secrets[i] = welcomeSecrets{ref, hpkeCiphertext{kem, ct}}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if !o.Separate {
		w := welcome{suite: s.ID(), secrets: secrets, groupInfo: sealed}
		return [][]byte{w.append(appendMessageHead(nil, WireWelcome))}, nil
	}
	all := make([][]byte, len(secrets))
	for i := range secrets {
		w := welcome{suite: s.ID(), secrets: secrets[i : i+1], groupInfo: sealed}
		all[i] = w.append(appendMessageHead(nil, WireWelcome))
	}
	return all, nil
}

// Protect appends application data as a private message to dst (section 15). aad is authenticated and not encrypted. It
// takes a signature and two sealings, whatever the size of the group. While valid proposals wait, they must be
// committed first (section 12.4): what must not keep this member from sending, Config.Proposals refuses when it
// arrives.
func (g *Group) Protect(dst, data, aad []byte) ([]byte, error) {
	if err := g.usable(); err != nil {
		return dst, err
	}
	if len(g.proposals) > 0 && g.due() {
		return dst, refuse(CommitDue, "12.4", "%d proposals wait: commit before sending data", len(g.proposals))
	}
	if err := checkMade(len(data)+len(aad), g.limits.Message); err != nil { // before it is copied
		return dst, err
	}
	now := g.now
	p := privateMessage{groupID: now.context.groupID, epoch: now.context.epoch, kind: ContentApplication, aad: aad}
	room := spareScratch.Get().(*scratch)
	defer room.done()
	room.b = codec.AppendOpaque(room.b[:0], data)
	f := framedContent{groupID: p.groupID, epoch: p.epoch, sender: Sender{Type: SenderMember, Leaf: now.own}, aad: aad, kind: ContentApplication}
	var err error
	room.signature, err = g.suite.AppendSignature(room.signature[:0], g.cfg.random(), now.signer, framedContentLabel, room.tbs(&f, room.b, now.raw))
	if err != nil {
		return dst, err
	}
	msg, err := now.messages.protect(g.suite, g.cfg.random(), dst, &p, now.own, room.b, &authData{signature: room.signature}, g.cfg.Padding, g.limits.Message)
	if err != nil {
		return dst, err // without what was appended
	}
	return msg, nil
}
