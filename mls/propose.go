package mls

import (
	"io"
	"slices"
)

// Propose makes a proposal of this member for others to commit (RFC 9420, section 12.1); it waits here as well. An
// Update is made with ProposeUpdate.
func (g *Group) Propose(p Proposal, aad []byte) ([]byte, error) {
	if _, ok := p.(*Update); ok {
		return nil, refuse(Misuse, "12.1.2", "an update needs new keys: use ProposeUpdate")
	}
	return g.propose(p, aad, nil)
}

// ProposeUpdate makes an update of this member's leaf with a fresh encryption key, and another identity as far as id is
// not zero.
func (g *Group) ProposeUpdate(id Identity, aad []byte) ([]byte, error) {
	if err := g.usable(); err != nil {
		return nil, err
	}
	if err := g.limits.given().add("Identity", id.Credential.length()).add("AAD of a proposal", len(aad)).err; err != nil {
		return nil, err
	}
	key, err := g.suite.GenerateKeyPair(g.cfg.random())
	if err != nil {
		return nil, err
	}
	old := g.now.tree.leaf(g.now.own)
	leaf := &LeafNode{EncryptionKey: key.Public(), SignatureKey: old.SignatureKey, Credential: old.Credential, Capabilities: old.Capabilities,
		Extensions: old.Extensions, Source: SourceUpdate}
	msg, err := g.proposeUpdate(leaf, &ownUpdate{key: key, signer: id.Key}, id, aad)
	if err != nil {
		key.Wipe()
	}
	return msg, err
}

// proposeUpdate signs and proposes leaf, whose private keys are own.
func (g *Group) proposeUpdate(leaf *LeafNode, own *ownUpdate, id Identity, aad []byte) ([]byte, error) {
	signer := g.now.signer
	if id.Key != nil {
		signer, leaf.SignatureKey = id.Key, slices.Clone(id.Key.Public())
	}
	if id.Credential.Type != 0 {
		leaf.Credential = id.Credential
	}
	if err := g.cfg.checkOwnLeaf(leaf, g.now.tree.leaf(g.now.own)); err != nil {
		return nil, err
	}
	if err := leaf.sign(g.suite, g.cfg.random(), signer, g.ID(), g.now.own); err != nil {
		return nil, err
	}
	return g.propose(&Update{leaf}, aad, own)
}

func (g *Group) propose(p Proposal, aad []byte, own *ownUpdate) ([]byte, error) {
	if err := g.usable(); err != nil {
		return nil, err
	}
	if err := g.limits.given().add("proposal", lengthOf(p)).add("AAD of a proposal", len(aad)).err; err != nil {
		return nil, err
	}
	wire := WirePublicMessage
	if g.cfg.EncryptHandshake {
		wire = WirePrivateMessage
	}
	p, err := g.cfg.sendable(p)
	if err != nil {
		return nil, err
	}
	a, err := newAuthenticated(g.suite, g.cfg.random(), g.now.signer, wire, framedContent{groupID: g.ID(), epoch: g.Epoch(),
		sender: Sender{Type: SenderMember, Leaf: g.now.own}, aad: slices.Clone(aad), kind: ContentProposal, body: body{proposal: p}}, g.now.raw)
	if err != nil {
		return nil, err
	}
	waiting, err := g.admit(a, own)
	if err != nil {
		return nil, err
	}
	before := len(g.proposals)
	g.keep(waiting)
	msg, err := g.protect(a)
	if err != nil {
		g.setPending(g.proposals[:before]) // nobody will hear of it
		return nil, err
	}
	if wire == WirePrivateMessage && len(g.proposals) > before {
		g.proposals[before].message = slices.Clone(msg)
	}
	return msg, nil
}

// sendable is a proposal of ours as it is kept: a key package is copied, since others may hold it, and must be valid
// now (section 7.3).
func (c *Config) sendable(p Proposal) (Proposal, error) {
	if !whole(p) {
		return nil, refuse(Misuse, "12.1", "proposal %T is nil, or what it needs is", p)
	}
	if u, ok := p.(*UnknownProposal); ok && u.ProposalType.isDefault() {
		return nil, refuse(Misuse, "12.1", "UnknownProposal of %v, which would be read as something else: use the type that there is for it", u.ProposalType)
	}
	add, ok := p.(*Add)
	if !ok {
		return p, nil
	}
	if err := checkLeafLifetime(add.KeyPackage.Leaf, c.Now(), c.ClockSlack); err != nil {
		return nil, err
	}
	return &Add{add.KeyPackage.clone()}, nil
}

// whole reports whether what p points at is there.
func whole(p Proposal) bool {
	switch p := p.(type) {
	case nil:
		return false
	case *Add:
		return p != nil && p.KeyPackage != nil && p.KeyPackage.Leaf != nil
	case *Update:
		return p != nil && p.Leaf != nil
	case *Remove:
		return p != nil
	case *PreSharedKey:
		return p != nil
	case *ReInit:
		return p != nil
	case *ExternalInit:
		return p != nil
	case *GroupContextExtensions:
		return p != nil
	case *UnknownProposal:
		return p != nil
	}
	return false
}

// NewPSK is a proposal to mix in an external pre-shared key, with a fresh nonce (section 8.4).
func (g *Group) NewPSK(id []byte) (*PreSharedKey, error) {
	return g.withNonce(PSKID{Type: PSKExternal, ID: id})
}

// NewResumptionPSK is a proposal to mix in the resumption key of an epoch of a group that all members have (section
// 8.6).
func (g *Group) NewResumptionPSK(group []byte, epoch uint64) (*PreSharedKey, error) {
	return g.withNonce(PSKID{Type: PSKResumption, Usage: UsageApplication, GroupID: group, Epoch: epoch})
}

func (g *Group) withNonce(id PSKID) (*PreSharedKey, error) {
	id.Nonce = make([]byte, g.suite.HashSize())
	if _, err := io.ReadFull(g.cfg.random(), id.Nonce); err != nil {
		return nil, err
	}
	return &PreSharedKey{id}, nil
}

// ProposeFromOutside makes a proposal of one who stands in the external_senders of a group, at index (section 12.1.8).
func ProposeFromOutside(cfg *Config, group []byte, epoch uint64, index uint32, p Proposal) ([]byte, error) {
	return proposeOutside(cfg, group, epoch, Sender{Type: SenderExternal, Index: index}, p)
}

// ProposeSelf makes a proposal of a client to add itself (section 12.1.8).
func ProposeSelf(cfg *Config, group []byte, epoch uint64, k *KeyPackage) ([]byte, error) {
	return proposeOutside(cfg, group, epoch, Sender{Type: SenderNewMemberProposal}, &Add{k})
}

func proposeOutside(cfg *Config, group []byte, epoch uint64, from Sender, p Proposal) ([]byte, error) {
	s, err := cfg.suite()
	if err != nil {
		return nil, err
	}
	limits := cfg.Limits.filled()
	if err := limits.given().add("group id", len(group)).add("proposal", lengthOf(p)).err; err != nil {
		return nil, err
	}
	if p, err = cfg.sendable(p); err != nil {
		return nil, err
	}
	if err := checkProposer(from, p); err != nil {
		return nil, err
	}
	a, err := newAuthenticated(s, cfg.random(), cfg.Key, WirePublicMessage, framedContent{groupID: group, epoch: epoch, sender: from,
		kind: ContentProposal, body: body{proposal: p}}, nil)
	if err != nil {
		return nil, err
	}
	msg := protectPublic(s, a, nil, nil).append(appendMessageHead(nil, WirePublicMessage))
	if err := checkMade(len(msg), limits.Message); err != nil {
		return nil, err
	}
	return msg, nil
}
