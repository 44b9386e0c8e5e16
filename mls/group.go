package mls

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/seed31b3bfd0/slimgo/mls/internal/suite"
)

// Group is one member's side of a group. Its methods must not be called at the same time; different groups may be used
// at the same time. Slices it returns belong to the caller unless it says otherwise.
type Group struct {
	cfg    *Config
	suite  *suite.Suite
	limits Limits

	now        *epoch
	past       []*epochKeys // for late messages, oldest first
	resumption []resumption // of past epochs, oldest first
	proposals  []pending    // of this epoch, in order of arrival
	unapplied  []*Change    // commits of this member in this epoch that were neither applied nor discarded
	unsent     []*Change    // those that were applied, and kept until others have them, oldest first
	dueSince   time.Time    // from then on dueNow holds
	dueUntil   time.Time    // and until then; zero: it is not known
	dueNow     bool         // what due found
	reinit     *ReInit      // the last commit ended the group in favour of another
	removed    bool
	joinedBy   *usedPackage // is still in Config.KeyPackages
	ledger     ledger       // of what is saved

	underWay     []*Verified // messages that were unprotected and neither accepted nor discarded, in order of arrival
	underWaySize int         // bytes of those
}

// resumption is the resumption key of a past epoch (RFC 9420, section 8.6).
type resumption struct {
	epoch  uint64
	secret *suite.Secret
}

// pending is a proposal that waits for a commit.
type pending struct {
	Committed
	ref     []byte
	own     *ownUpdate // of our own update: what becomes ours when it is committed
	message []byte     // of our own in a private message: as it was sent
}

type ownUpdate struct {
	key    *suite.PrivateKey
	signer *SigningKey
}

// Create starts a group of one (section 11). An empty id is replaced by Nh random bytes.
func Create(cfg *Config, id []byte, extensions ...Extension) (*Group, error) {
	s, err := cfg.suite()
	if err != nil {
		return nil, err
	}
	if id, err = cfg.groupID(s, id); err != nil {
		return nil, err
	}
	return create(cfg, s, id, extensions)
}

// groupID is id, or a random one in place of an empty one.
func (c *Config) groupID(s *suite.Suite, id []byte) ([]byte, error) {
	if len(id) > 0 {
		return id, nil
	}
	id = make([]byte, s.HashSize())
	if _, err := io.ReadFull(c.random(), id); err != nil {
		return nil, fmt.Errorf("mls: randomness: %w", err)
	}
	return id, nil
}

// create is Create with this id, whatever it is.
func create(cfg *Config, s *suite.Suite, id []byte, extensions Extensions) (*Group, error) {
	given := cfg.Limits.filled().given().add("group id", len(id)).add("extensions of the new group", extensions.length())
	if err := given.err; err != nil {
		return nil, err // nobody would take its messages
	}
	if err := checkContextExtensions(extensions); err != nil {
		return nil, within(err, "extensions of the new group")
	}
	if err := checkContextPlaces(extensions); err != nil {
		return nil, within(err, "extensions of the new group")
	}
	leaf, key, err := cfg.newLeaf(s)
	if err != nil {
		return nil, err
	}
	if err := cfg.identify(leaf); err != nil {
		return nil, err
	}
	e := &epoch{suite: s, tree: newTree(s, leaf), keys: keyring{0: key}, signer: cfg.Key,
		context: groupContext{suite: s.ID(), groupID: append([]byte{}, id...), confirmedHash: []byte{}, extensions: extensions}}
	if err := e.begin(cfg); err != nil {
		e.drop()
		return nil, err
	}
	return newGroup(cfg, e), nil
}

// begin starts the first epoch of a group of one.
func (e *epoch) begin(cfg *Config) error {
	if err := e.tree.leaf(0).sign(e.suite, cfg.random(), cfg.Key, nil, 0); err != nil {
		return err
	}
	if err := e.tree.checkLeavesTogether([]LeafIndex{0}, e.context.extensions); err != nil {
		return within(err, "extensions of the new group")
	}
	e.context.treeHash = e.tree.hash()
	var secret suite.Secret
	defer secret.Wipe()
	if _, err := io.ReadFull(cfg.random(), secret.Room(e.suite.HashSize())); err != nil {
		return fmt.Errorf("mls: randomness: %w", err)
	}
	e.start(&secret)
	return nil
}

func newGroup(cfg *Config, e *epoch) *Group {
	return &Group{cfg: cfg, suite: e.suite, limits: cfg.Limits.filled(), now: e}
}

// ID is the group's name, borrowed.
func (g *Group) ID() []byte { return g.now.context.groupID }

// CipherSuite is the group's.
func (g *Group) CipherSuite() CipherSuite { return g.suite.ID() }

// Epoch counts the commits so far.
func (g *Group) Epoch() uint64 { return g.now.context.epoch }

// Own is the leaf of this member.
func (g *Group) Own() LeafIndex { return g.now.own }

// Extensions are those of the group context, borrowed.
func (g *Group) Extensions() Extensions { return g.now.context.extensions }

// TreeHash is the hash of the tree, borrowed.
func (g *Group) TreeHash() []byte { return g.now.context.treeHash }

// Active reports whether the group can be used: this member is in it, and it has not been ended by a reinit.
func (g *Group) Active() bool { return !g.removed && g.reinit == nil }

// ReInit is the proposal that ended the group, borrowed; nil while it lives.
func (g *Group) ReInit() *ReInit { return g.reinit }

// Member is one entry of the roster.
type Member struct {
	Leaf LeafIndex
	Node *LeafNode // borrowed
}

// Members is the roster in the order of the leaves. It takes time with the size of the group.
func (g *Group) Members() []Member {
	return g.roster().Members()
}

// Member is the leaf node at i, borrowed; nil if nobody is there.
func (g *Group) Member(i LeafIndex) *LeafNode { return g.now.tree.leaf(i) }

// Find is the first member for whom f is true.
func (g *Group) Find(f func(LeafIndex, *LeafNode) bool) (at LeafIndex, ok bool) {
	return g.roster().Find(f)
}

// FindClient is the member that Config.Client names so.
func (g *Group) FindClient(name string) (at LeafIndex, ok bool) { return g.roster().FindClient(name) }

// Export is a secret of n bytes that all members of this epoch can compute and nobody else (section 8.5). label has at
// most Limits.Message bytes.
func (g *Group) Export(label string, context []byte, n int) ([]byte, error) {
	if err := g.usable(); err != nil {
		return nil, err
	}
	if n < 0 || n > 255*g.suite.HashSize() {
		return nil, refuse(Misuse, "8.5", "%d bytes asked of the exporter, it gives up to %d", n, 255*g.suite.HashSize())
	}
	if err := g.limits.given().add("label of an exported secret", len(label)).err; err != nil {
		return nil, err
	}
	return g.now.secrets.export(g.suite, label, context, n), nil
}

// EpochAuthenticator is what two members compare to see that they are in the same epoch (section 8.7). A group that was
// wiped, or that this member was removed from, has none: it would be equal to that of any other such group.
func (g *Group) EpochAuthenticator() ([]byte, error) {
	if g.removed {
		return nil, g.usable()
	}
	return slices.Clone(g.now.secrets.authentication.Bytes()), nil
}

// ResumptionPSK is the resumption key of an epoch, the current one or one that is still kept (section 8.6).
func (g *Group) ResumptionPSK(epoch uint64) ([]byte, error) {
	if epoch == g.Epoch() && g.now.secrets.resumption.Len() > 0 {
		return slices.Clone(g.now.secrets.resumption.Bytes()), nil
	}
	for _, r := range g.resumption {
		if r.epoch == epoch {
			return slices.Clone(r.secret.Bytes()), nil
		}
	}
	return nil, refuse(Missing, "8.6", "resumption key of epoch %d is not kept", epoch)
}

// GroupInfo describes the group for others, signed by this member (section 12.4.3): with the tree, and for external
// commits.
func (g *Group) GroupInfo(withTree, forExternal bool) ([]byte, error) {
	if err := g.usable(); err != nil {
		return nil, err
	}
	more, err := g.cfg.grease()
	if err != nil {
		return nil, err
	}
	info, err := g.now.newGroupInfo(g.cfg.random(), withTree, forExternal, more)
	if err != nil {
		return nil, err
	}
	return info.append(appendMessageHead(nil, WireGroupInfo)), nil
}

// Tree serialises the tree as the ratchet_tree extension has it, for joiners whose welcome has none (section 12.4.3.3).
func (g *Group) Tree() []byte { return g.now.tree.append(nil) }

// Pending are the proposals that wait for a commit.
func (g *Group) Pending() []Committed {
	list := make([]Committed, len(g.proposals))
	for i, p := range g.proposals {
		list[i] = p.Committed
	}
	return list
}

// DropPending forgets all proposals that wait for a commit. Commits of others that refer to them can then not be
// processed.
func (g *Group) DropPending() { g.dropPending() }

// dropPending wipes the keys of updates of ours: a change that holds one has a copy.
func (g *Group) dropPending() {
	for _, p := range g.proposals {
		if p.own != nil {
			p.own.key.Wipe()
		}
	}
	if len(g.proposals) > 0 {
		g.changed(partSecret)
	}
	g.setPending(nil)
}

// dropUnapplied wipes what our other commits prepared, whose turn is over.
func (g *Group) dropUnapplied() {
	for _, c := range g.unapplied {
		c.wipe()
	}
	g.unapplied = nil
}

// Wipe deletes all secrets, and forgets the other members. The group is of no use after it.
func (g *Group) Wipe() {
	g.removed = true
	g.changed(partPublic)
	g.dropUnapplied()
	g.unsent = nil
	g.dropUnderWay()
	g.forget(0, 0)
	g.now.wipe()
	g.now.messages.wipe()
	g.dropPending()
	g.now.tree = g.now.tree.only(g.now.own)
	g.now.messages.tree = g.now.tree
}

// usable refuses calls that need a group that lives.
func (g *Group) usable() error {
	switch {
	case g.removed:
		return refuse(Removed, "12.4.2", "this member is no longer in the group")
	case g.reinit != nil:
		return refuse(Ended, "11.2", "the group was ended by a reinit")
	}
	return nil
}

// enter replaces the epoch and keeps of the old one what late messages and resumption need.
func (g *Group) enter(e *epoch) {
	g.changed(partPublic)
	old := g.now
	kept := new(suite.Secret)
	kept.Set(old.secrets.resumption.Bytes())
	g.resumption = append(g.resumption, resumption{old.context.epoch, kept})
	old.messages.secrets.retire(old.own)
	g.past = append(g.past, old.messages)
	old.wipe()
	g.now = e
	g.dropUnapplied() // they lead out of the old epoch
	g.dropPending()
	g.forget(g.cfg.pastEpochs(), g.cfg.pskEpochs())
	g.forgetClaims()
}

// forget wipes all but the newest of what is kept of past epochs.
func (g *Group) forget(epochs, psks int) {
	for len(g.past) > epochs {
		g.past[0].wipe()
		g.past = slices.Delete(g.past, 0, 1)
	}
	for len(g.resumption) > psks {
		g.resumption[0].secret.Wipe()
		g.resumption = slices.Delete(g.resumption, 0, 1)
	}
}

// psk finds a pre-shared key: a copy, to be wiped.
func (g *Group) psk(id *PSKID) ([]byte, error) {
	// Keys for a reinit or branch are of the group before this one, which may have had the same name.
	if id.Type == PSKResumption && id.Usage == UsageApplication && bytes.Equal(id.GroupID, g.ID()) {
		return g.ResumptionPSK(id.Epoch)
	}
	return g.cfg.psk(id)
}

func (c *Config) psk(id *PSKID) ([]byte, error) {
	if c.PSK == nil {
		return nil, refuse(Missing, "8.4", "a pre-shared key is needed, and Config.PSK is nil")
	}
	b, err := c.PSK(id)
	if err != nil {
		return nil, refuseFor(Missing, "8.4", err, "pre-shared key %x%x is not here", clip(id.ID), clip(id.GroupID))
	}
	if len(b) == 0 { // not the empty key, which everybody has
		return nil, refuse(Missing, "8.4", "pre-shared key %x%x is not here: Config.PSK returned nothing", clip(id.ID), clip(id.GroupID))
	}
	return slices.Clone(b), nil
}

// mixPSKs sets out to the psk_secret of ids. find gives copies.
func mixPSKs(s *suite.Suite, out *suite.Secret, ids []PSKID, find func(*PSKID) ([]byte, error)) error {
	keys := make([][]byte, len(ids))
	defer func() {
		for _, k := range keys {
			clear(k)
		}
	}()
	for i := range ids {
		k, err := find(&ids[i])
		if err != nil {
			return err
		}
		keys[i] = k
	}
	pskSecret(s, out, ids, keys)
	return nil
}
