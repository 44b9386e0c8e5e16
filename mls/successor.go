package mls

import (
	"bytes"
)

// Continue makes the group that a reinit asked for, with the clients of these key packages (RFC 9420, section 11.2).
// What it returns is the new group in epoch 0 and its first commit, whose welcomes let them in: apply it.
func (g *Group) Continue(cfg *Config, packages []*KeyPackage) (*Group, *Change, error) {
	if g.reinit == nil || g.removed {
		return nil, nil, refuse(Misuse, "11.2", "the group was not ended by a reinit")
	}
	if g.reinit.Version != MLS10 {
		return nil, nil, refuse(Unsupported, "11.2", "the new group is of protocol version %d", g.reinit.Version)
	}
	if cfg.CipherSuite != g.reinit.CipherSuite {
		return nil, nil, refuse(Misuse, "11.2", "the new group is of %v, the configuration of %v", g.reinit.CipherSuite, cfg.CipherSuite)
	}
	return g.successor(cfg, UsageReInit, g.reinit.GroupID, g.reinit.Extensions, packages)
}

// Branch makes a group of some members of this one, with the same parameters (section 11.3). An empty id is replaced by
// Nh random bytes.
func (g *Group) Branch(cfg *Config, id []byte, packages []*KeyPackage) (*Group, *Change, error) {
	if err := g.usable(); err != nil {
		return nil, nil, err
	}
	if cfg.CipherSuite != g.CipherSuite() {
		return nil, nil, refuse(Misuse, "11.3", "a branch is of %v as its group, the configuration of %v", g.CipherSuite(), cfg.CipherSuite)
	}
	id, err := cfg.groupID(g.suite, id)
	if err != nil {
		return nil, nil, err
	}
	return g.successor(cfg, UsageBranch, id, g.Extensions(), packages)
}

func (g *Group) successor(cfg *Config, usage PSKUsage, id []byte, e Extensions, packages []*KeyPackage) (*Group, *Change, error) {
	s, err := cfg.suite()
	if err != nil {
		return nil, nil, err
	}
	n, err := create(cfg, s, id, e)
	if err != nil {
		return nil, nil, err
	}
	c, err := g.fill(n, cfg, usage, packages)
	if err != nil {
		n.Wipe()
		return nil, nil, err
	}
	return n, c, nil
}

// fill makes the commit that brings the clients of these packages into n, which comes from g.
func (g *Group) fill(n *Group, cfg *Config, usage PSKUsage, packages []*KeyPackage) (*Change, error) {
	psk, err := n.withNonce(PSKID{Type: PSKResumption, Usage: usage, GroupID: g.ID(), Epoch: g.Epoch()})
	if err != nil {
		return nil, err
	}
	proposals := []Proposal{psk}
	for _, k := range packages {
		proposals = append(proposals, &Add{k})
	}
	byValue, err := n.byValue(Sender{Type: SenderMember}, proposals)
	if err != nil {
		return nil, err
	}
	key, err := g.ResumptionPSK(g.Epoch())
	if err != nil {
		return nil, err
	}
	defer clear(key)
	knowing := *cfg
	knowing.PSK = func(id *PSKID) ([]byte, error) {
		if id.Type == PSKResumption && bytes.Equal(id.GroupID, g.ID()) && id.Epoch == g.Epoch() {
			return key, nil
		}
		return cfg.psk(id)
	}
	n.cfg = &knowing
	defer func() { n.cfg = cfg }()
	l := &proposalList{suite: n.suite, mode: initial, committer: Sender{Type: SenderMember}, all: byValue, ours: true}
	if err := l.valid(n); err != nil {
		return nil, err
	}
	c, err := n.commit(l, CommitOptions{})
	if err != nil {
		return nil, err
	}
	if err := g.checkSuccessor(usage, &c.next.context, c.next.tree, cfg); err != nil {
		c.Discard()
		return nil, err
	}
	return c, nil
}

// checkSuccessor: a group with this context and tree is what the reinit of g asked for, or a branch of it (section
// 12.4.3.1).
func (g *Group) checkSuccessor(usage PSKUsage, c *groupContext, t *tree, cfg *Config) error {
	if usage == UsageBranch {
		if c.suite != g.CipherSuite() {
			return refuse(Invalid, "11.3", "branch of %v, the group is of %v", c.suite, g.CipherSuite())
		}
		return allIn(t, g.now.tree, cfg, "a member of the branch is no member of the group")
	}
	switch {
	case g.reinit == nil:
		return refuse(Invalid, "11.2", "group %x was not ended by a reinit", clip(g.ID()))
	case g.reinit.Version != MLS10 || !bytes.Equal(c.groupID, g.reinit.GroupID) || c.suite != g.reinit.CipherSuite ||
		!bytes.Equal(c.extensions.append(nil), g.reinit.Extensions.append(nil)):
		return refuse(Invalid, "11.2", "new group is not what the reinit asked for")
	}
	return allIn(g.now.tree, t, cfg, "a member of the old group is no member of the new one")
}

// allIn: every client of t is in of.
func allIn(t, of *tree, cfg *Config, what string) error {
	there := map[string]bool{}
	var err error
	of.members(func(_ LeafIndex, l *LeafNode) bool {
		var name string
		name, err = cfg.clientOf(l)
		there[name] = true
		return err == nil
	})
	if err != nil {
		return err
	}
	t.members(func(i LeafIndex, l *LeafNode) bool {
		var name string
		if name, err = cfg.clientOf(l); err == nil && !there[name] {
			err = refuse(Invalid, "12.4.3.1", "%s: leaf %d", what, i)
		}
		return err == nil
	})
	return err
}
