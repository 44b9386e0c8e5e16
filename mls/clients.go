package mls

// A client is who a member is, whatever credential it has now. RFC 9420 leaves to the application what makes two
// credentials one client's (section 5.3.1), and rests three rules on it: a leaf is replaced by one of the same client
// (sections 12.1.2, 12.2), no client is in a group twice (section 12.2), and a group that follows another is of the
// same clients (sections 11.2, 11.3). Config.Client names them.

// client names the client that a credential is of; without Config.Client it is the credential.
func (c *Config) client(of Credential) (string, error) {
	if c.Client == nil {
		return string(of.append(nil)), nil
	}
	name, err := c.Client(of)
	if err == nil && name == "" {
		err = errNoClient
	}
	if err != nil {
		return "", refuseFor(Refused, "5.3.1", err, "credential of %v says no client", of.Type)
	}
	return name, nil
}

var errNoClient = refuse(Refused, "", "Config.Client returned nothing")

// identify notes whose leaf l is, if there is a Config.Client.
func (c *Config) identify(l *LeafNode) error {
	if c.Client == nil || l.client != "" {
		return nil
	}
	var err error
	l.client, err = c.client(l.Credential)
	return err
}

// clientOf is the client whose leaf l is.
func (c *Config) clientOf(l *LeafNode) (string, error) {
	if c.Client != nil && l.client != "" {
		return l.client, nil
	}
	return c.client(l.Credential)
}

// Client is the client whose leaf it is, as Config.Client named it when the leaf came into the group; empty without
// that, of leaf nodes that are in none, and of nil.
func (l *LeafNode) Client() string {
	if l == nil {
		return ""
	}
	return l.client
}

// checkSameClient: a leaf that replaces another is of the same client. Without Config.Client members may get any
// credential that Config.Credentials believes, but who comes from outside takes out none with another credential than
// its own.
func (c *Config) checkSameClient(l, old *LeafNode, outside bool) error {
	if c.Client == nil && (!outside || l.Credential.Equal(old.Credential)) {
		return nil
	}
	name, err := c.clientOf(l)
	if err != nil {
		return err
	}
	was, err := c.clientOf(old)
	if err != nil {
		return err
	}
	switch {
	case name == was:
		return nil
	case outside:
		return refuse(Invalid, "12.4.3.2", "external commit removes another client than the one that joins")
	}
	return refuse(Invalid, "12.1.2", "leaf of client %q is replaced by one of client %q", clip([]byte(was)),
		clip([]byte(name)))
}

// checkOwnLeaf is what others will say of a leaf that replaces ours.
func (c *Config) checkOwnLeaf(l, old *LeafNode) error {
	if err := c.identify(l); err != nil {
		return err
	}
	return within(c.checkSameClient(l, old, false), "Identity")
}

// checkClients: nobody who comes by the list, applied, is of a client that stays or comes as well. joiner is the leaf
// of an external commit, nil of others.
func (l *proposalList) checkClients(cfg *Config, joiner *LeafNode) error {
	if cfg.Client == nil || len(l.added) == 0 && joiner == nil {
		return nil
	}
	come := make(map[string]LeafIndex, len(l.added)+1)
	for _, i := range l.added {
		leaf := l.tree.leaf(i)
		if err := cfg.identify(leaf); err != nil {
			return err
		}
		if j, ok := come[leaf.client]; ok {
			return sameClient(j, i, leaf.client)
		}
		come[leaf.client] = i
	}
	if joiner != nil {
		if err := cfg.identify(joiner); err != nil {
			return err
		}
		come[joiner.client] = noLeaf
	}
	var err error
	l.tree.members(func(i LeafIndex, m *LeafNode) bool {
		if j, ok := come[m.client]; ok && i != j {
			err = sameClient(i, j, m.client)
		}
		return err == nil
	})
	return err
}

// checkMembers: no two members are of one client. It identifies all.
func (c *Config) checkMembers(t *tree) error {
	if c.Client == nil {
		return nil
	}
	seen := map[string]LeafIndex{}
	var err error
	t.members(func(i LeafIndex, l *LeafNode) bool {
		if err = within(c.identify(l), "leaf %d", i); err != nil {
			return false
		}
		if j, ok := seen[l.client]; ok {
			err = sameClient(j, i, l.client)
		}
		seen[l.client] = i
		return err == nil
	})
	return err
}

func sameClient(i, j LeafIndex, name string) error {
	if j == noLeaf {
		return refuse(Invalid, "12.2", "client %q, which joins, is at leaf %d already", clip([]byte(name)), i)
	}
	return refuse(Invalid, "12.2", "leaves %d and %d are both of client %q", min(i, j), max(i, j), clip([]byte(name)))
}

// judgeMembers asks about all members of a group that this client joins, but for its own leaf, own.
func (c *Config) judgeMembers(g *groupContext, t *tree, own *LeafNode) error {
	var refused error
	t.members(func(i LeafIndex, l *LeafNode) bool {
		if own != nil && l.Equal(own) {
			return true
		}
		p := Presented{Place: PlaceMember, Stage: StageJoin, Roster: rosterOf(g, t), Leaf: i, Credential: l.Credential,
			SignatureKey: l.SignatureKey, Node: l}
		refused = within(c.judge(&p), "leaf %d", i)
		return refused == nil
	})
	if refused != nil {
		return refused
	}
	return c.checkMembers(t)
}

// checkState: the group of a store is one of this client. A state is sealed for a member; whose StateKey names two of
// them is found out here, if there is a Config.Client.
func (c *Config) checkState(g *Group) error {
	if c.Client == nil {
		return nil
	}
	trees := []*tree{g.now.tree}
	for _, k := range g.past {
		trees = append(trees, k.tree)
	}
	for _, o := range g.unapplied {
		trees = append(trees, o.next.tree)
	}
	var err error
	for _, t := range trees {
		t.members(func(i LeafIndex, l *LeafNode) bool {
			err = within(c.identify(l), "leaf %d", i)
			return err == nil
		})
		if err != nil {
			return err
		}
	}
	want, err := c.client(c.Credential)
	if err != nil {
		return within(err, "Config.Credential")
	}
	if got := g.now.tree.leaf(g.now.own).client; got != want {
		return refuse(WrongGroup, "", "state is that of client %q, this is %q", clip([]byte(got)), clip([]byte(want)))
	}
	return nil
}

// WithIdentity is a copy of c for a client that has another credential or key now, as far as id is not zero: for key
// packages and groups that are made with it. Groups keep the Config that they were made with, and who they are in it.
func (c *Config) WithIdentity(id Identity) *Config {
	n := *c
	if id.Credential.Type != 0 {
		n.Credential = id.Credential
	}
	if id.Key != nil {
		n.Key = id.Key
	}
	return &n
}

// Identity is who this member is in the group now: what Create or its key package had, or what a commit has replaced it
// by since, also after a restart. A group that was wiped has no key.
func (g *Group) Identity() Identity {
	return Identity{g.now.tree.leaf(g.now.own).copied().Credential, g.now.signer}
}

// Roster is who is in a group, for callbacks. It is borrowed, and what it gives too, until they return.
type Roster struct {
	GroupID []byte
	Epoch   uint64

	tree *tree
}

// roster is that of a group before the next commit.
func (g *Group) roster() Roster { return rosterOf(&g.now.context, g.now.tree) }

func rosterOf(c *groupContext, t *tree) Roster { return Roster{c.groupID, c.epoch, t} }

// Members are all members in the order of their leaves. It takes time with the size of the group.
func (r Roster) Members() []Member {
	var m []Member
	r.tree.members(func(i LeafIndex, l *LeafNode) bool { m = append(m, Member{i, l}); return true })
	return m
}

// Member is the leaf node at i; nil if nobody is there.
func (r Roster) Member(i LeafIndex) *LeafNode { return r.tree.leaf(i) }

// Find is the first member for whom f is true.
func (r Roster) Find(f func(LeafIndex, *LeafNode) bool) (at LeafIndex, ok bool) {
	r.tree.members(func(i LeafIndex, l *LeafNode) bool {
		if f(i, l) {
			at, ok = i, true
		}
		return !ok
	})
	return at, ok
}

// FindClient is the member that Config.Client names so.
func (r Roster) FindClient(name string) (at LeafIndex, ok bool) {
	return r.Find(func(_ LeafIndex, l *LeafNode) bool { return l.client == name && name != "" })
}
