package mls

import (
	"bytes"
	"crypto/subtle"

	"github.com/seed31b3bfd0/slimgo/mls/internal/codec"
	"github.com/seed31b3bfd0/slimgo/mls/internal/suite"
	"github.com/seed31b3bfd0/slimgo/mls/internal/treemath"
)

// JoinOptions are what a joiner knows besides its welcome.
type JoinOptions struct {
	// Tree is the tree as Group.Tree gives it, where the group info does not hold it.
	Tree []byte
	// Continues is the group that ended in favour of the new one by a reinit (RFC 9420, section 11.2), and Branches the
	// group that the new one branches from (section 11.3). At most one is given; nil of both: the new group is on its
	// own. The welcome must be of just that kind, and prove by a resumption key that it comes from a member of the
	// group that is given.
	Continues *Group
	Branches  *Group
	// InUse says whether this client is in a group of that name already; nil: no.
	InUse func(id []byte) bool
}

// from is the group that the new one comes from, and what its resumption key is used for; nil: none.
func (o *JoinOptions) from() (*Group, PSKUsage) {
	switch {
	case o.Continues != nil:
		return o.Continues, UsageReInit
	case o.Branches != nil:
		return o.Branches, UsageBranch
	}
	return nil, 0
}

// Join enters a group by a welcome that an Add of one of this client's key packages led to (section 12.4.3.1). The key
// package is deleted from the store, and its private init key wiped, when all has been verified; with a
// Config.StateKey not before the group is saved, at the first Saved.Done or by Restore: until then the welcome can be
// joined again. Who has parts of a group of that name in its store, because it rejoins, calls Group.Replace before Save.
func Join(cfg *Config, msg []byte, o JoinOptions) (*Group, error) {
	s, err := cfg.suite()
	if err != nil {
		return nil, err
	}
	if o.Continues != nil && o.Branches != nil {
		return nil, refuse(Misuse, "11", "JoinOptions.Continues and Branches are given both: a group has one origin")
	}
	limits := cfg.Limits.filled()
	if len(msg) > limits.Message || len(o.Tree) > limits.Message {
		return nil, refuse(Limit, "", "welcome or tree of more than %d bytes", limits.Message)
	}
	m, err := ParseMessage(bytes.Clone(msg))
	if err != nil {
		return nil, err
	}
	if m.welcome == nil {
		return nil, refuse(Malformed, "12.4.3.1", "message is %v, want a welcome", m.WireFormat)
	}
	if m.welcome.suite != s.ID() {
		return nil, refuse(Unsupported, "12.4.3.1", "welcome of %v, this client has %v", m.welcome.suite, s.ID())
	}
	private, ref, entry, err := cfg.addressee(s, m.welcome, limits)
	if err != nil {
		return nil, err
	}
	j := &joining{cfg: cfg, suite: s, options: o, private: private, limits: limits}
	defer j.wipe()
	if err := j.openSecrets(m.welcome, entry); err != nil {
		return nil, err
	}
	if err := j.openInfo(m.welcome); err != nil {
		return nil, err
	}
	e, err := j.enter() // before the tree is verified, which takes longer with every member
	if err != nil {
		return nil, err
	}
	g := newGroup(cfg, e)
	g.joinedBy = &usedPackage{ref, private}
	err = j.checkContext()
	if err == nil && cfg.StateKey == nil {
		err = g.dropKeyPackage()
	}
	if err != nil {
		e.drop()
		return nil, err
	}
	return g, nil
}

// addressee finds the entry of a welcome that is for a key package of this client. The store is asked once for each
// that can be, and for no more than a group may have members.
func (c *Config) addressee(s *suite.Suite, w *welcome, limits Limits) (*PrivateKeyPackage, []byte, *welcomeSecrets, error) {
	switch {
	case c.KeyPackages == nil:
		return nil, nil, nil, refuse(Misuse, "10", "Config.KeyPackages is nil: a welcome is for a key package in it")
	case len(w.secrets) > limits.Members:
		return nil, nil, nil, refuse(Limit, "12.4.3.1", "welcome for %d new members, a group may have %d", len(w.secrets), limits.Members)
	}
	asked := map[string]bool{}
	for i := range w.secrets {
		ref := w.secrets[i].newMember
		if len(ref) != s.HashSize() || asked[string(ref)] {
			continue
		}
		asked[string(ref)] = true
		p, err := c.KeyPackages.Get(w.secrets[i].newMember)
		if err != nil {
			return nil, nil, nil, err
		}
		if p == nil {
			continue
		}
		if p.Package.CipherSuite != w.suite {
			return nil, nil, nil, refuse(Invalid, "12.4.3.1", "welcome of %v for a key package of %v", w.suite, p.Package.CipherSuite)
		}
		return p, w.secrets[i].newMember, &w.secrets[i], nil
	}
	return nil, nil, nil, refuse(Missing, "12.4.3.1", "welcome is for none of this client's key packages: it is for others, or was joined before")
}

// joining is a welcome on its way to a group.
type joining struct {
	cfg     *Config
	suite   *suite.Suite
	options JoinOptions
	private *PrivateKeyPackage
	limits  Limits

	secrets *groupSecrets
	joiner  suite.Secret
	psk     suite.Secret
	info    *groupInfo
	tree    *tree
}

func (j *joining) wipe() {
	j.joiner.Wipe()
	j.psk.Wipe()
	if j.secrets != nil {
		j.secrets.wipe()
	}
}

// openSecrets decrypts what is for this client, and finds the pre-shared keys it names.
func (j *joining) openSecrets(w *welcome, e *welcomeSecrets) error {
	text, err := j.suite.DecryptWithLabel(j.private.init, welcomeLabel, w.groupInfo, e.secrets.kemOutput, e.secrets.ciphertext)
	if err != nil {
		return refuseFor(BadSignature, "12.4.3.1", err, "group secrets of a welcome")
	}
	r := codec.NewReader(text)
	j.secrets = readGroupSecrets(r)
	if err := r.Finish(); err != nil {
		clear(text)
		j.secrets = nil
		return malformed(err, "group secrets of a welcome")
	}
	if len(j.secrets.joiner) != j.suite.HashSize() || j.secrets.path != nil && len(j.secrets.path) != j.suite.HashSize() {
		return refuse(Malformed, "12.4.3.1", "secrets of a welcome are not of %d bytes", j.suite.HashSize())
	}
	j.joiner.Set(j.secrets.joiner)
	if err := checkPSKNames(j.suite, j.secrets.psks); err != nil {
		return err
	}
	if err := j.checkOrigin(); err != nil {
		return err
	}
	return mixPSKs(j.suite, &j.psk, j.secrets.psks, j.findPSK)
}

// checkPSKNames: nonces are whole, and no key is named twice (section 12.4.3.1).
func checkPSKNames(s *suite.Suite, ids []PSKID) error {
	seen := map[string]bool{}
	for i := range ids {
		if len(ids[i].Nonce) != s.HashSize() {
			return refuse(Invalid, "8.4", "psk_nonce of %d bytes in a welcome, want %d", len(ids[i].Nonce), s.HashSize())
		}
		id := string(ids[i].append(nil))
		if seen[id] {
			return refuse(Invalid, "12.4.3.1", "welcome names a pre-shared key twice")
		}
		seen[id] = true
	}
	return nil
}

// checkOrigin: the welcome names the resumption key that proves that the group comes from the one in the options, for
// that use, and no other of its kind.
func (j *joining) checkOrigin() error {
	from, usage := j.options.from()
	var origins []*PSKID
	for i := range j.secrets.psks {
		if p := &j.secrets.psks[i]; p.Type == PSKResumption && p.Usage != UsageApplication {
			origins = append(origins, p)
		}
	}
	switch {
	case len(origins) > 1:
		return refuse(Invalid, "12.4.3.1", "welcome comes from %d groups, at most one is possible", len(origins))
	case from == nil && len(origins) > 0:
		return refuse(Missing, "12.4.3.1", "welcome comes from another group by %v: give it in JoinOptions", origins[0].Usage)
	case from == nil:
		return nil
	case len(origins) == 0:
		return refuse(Invalid, "12.4.3.1", "welcome does not prove that it comes from the group in JoinOptions: it names no key for %v", usage)
	}
	switch p := origins[0]; {
	case p.Usage != usage:
		return refuse(Invalid, "12.4.3.1", "welcome names a resumption key for %v, want %v", p.Usage, usage)
	case !bytes.Equal(p.GroupID, from.ID()):
		return refuse(Invalid, "12.4.3.1", "welcome comes from group %x, the one in JoinOptions is %x", clip(p.GroupID), clip(from.ID()))
	case usage == UsageReInit && p.Epoch != from.Epoch():
		return refuse(Invalid, "11.2", "welcome continues epoch %d of a group that ended in %d", p.Epoch, from.Epoch())
	}
	return nil
}

func (j *joining) findPSK(id *PSKID) ([]byte, error) {
	if from, _ := j.options.from(); from != nil && id.Type == PSKResumption && bytes.Equal(id.GroupID, from.ID()) {
		return from.ResumptionPSK(id.Epoch)
	}
	return j.cfg.psk(id)
}

// openInfo decrypts the group info, finds the tree, and verifies who signed.
func (j *joining) openInfo(w *welcome) error {
	var secret suite.Secret
	defer secret.Wipe()
	deriveWelcome(j.suite, &secret, &j.joiner, &j.psk)
	var key messageKey
	defer key.wipe()
	welcomeKey(j.suite, &secret, &key)
	aead, err := j.suite.AEAD(key.key[:j.suite.KeySize()])
	if err != nil {
		return err
	}
	text, err := aead.Open(nil, key.nonce[:], w.groupInfo, nil)
	if err != nil {
		return refuse(BadSignature, "12.4.3.1", "group info of a welcome does not open")
	}
	r := codec.NewReader(text)
	j.info = readGroupInfo(r)
	if err := r.Finish(); err != nil {
		return malformed(err, "group info of a welcome")
	}
	j.tree, err = findTree(j.suite, j.info, j.options.Tree, j.limits)
	if err != nil {
		return err
	}
	return j.info.checkSignature(j.suite, j.tree.leaf(j.info.signer))
}

// findTree reads the tree of a group info, or the one that came otherwise.
func findTree(s *suite.Suite, info *groupInfo, given []byte, l Limits) (*tree, error) {
	b, ok := info.extensions.Find(ExtensionRatchetTree)
	if !ok {
		if b = bytes.Clone(given); len(b) == 0 {
			return nil, refuse(Missing, "12.4.3.3", "group info holds no tree: give it in the options")
		}
	}
	return readTree(s, b, l)
}

// checkContext is what section 12.4.3.1 says of the group, and what sections 11.2 and 11.3 say of one that continues
// another.
func (j *joining) checkContext() error {
	c := &j.info.context
	if c.suite != j.suite.ID() {
		return refuse(Invalid, "12.4.3.1", "group of %v, the key package is of %v", c.suite, j.suite.ID())
	}
	if j.options.InUse != nil && j.options.InUse(c.groupID) {
		return refuse(Invalid, "12.4.3.1", "this client is in a group %x already", clip(c.groupID))
	}
	if err := checkContextExtensions(c.extensions); err != nil {
		return err
	}
	if err := j.tree.checkReceived(c, j.cfg.rules(false)); err != nil {
		return err
	}
	if err := j.cfg.judgeSenders(StageJoin, rosterOf(c, j.tree), c.extensions, nil); err != nil {
		return err
	}
	if from, usage := j.options.from(); from != nil {
		if c.epoch != 1 {
			return refuse(Invalid, "12.4.3.1", "group that comes from another is in epoch %d, want 1", c.epoch)
		}
		if err := from.checkSuccessor(usage, c, j.tree, j.cfg); err != nil {
			return err
		}
	}
	return j.cfg.judgeMembers(c, j.tree, j.private.Package.Leaf)
}

// enter finds the own leaf, derives the keys above it and the epoch's secrets, and verifies the confirmation tag.
func (j *joining) enter() (*epoch, error) {
	e := &epoch{suite: j.suite, context: j.info.context, tree: j.tree, signer: j.private.signer, keys: keyring{}}
	if err := j.fill(e); err != nil {
		e.drop()
		return nil, err
	}
	return e, nil
}

// fill is enter for an epoch that holds no secrets yet.
func (j *joining) fill(e *epoch) error {
	found := false
	j.tree.members(func(i LeafIndex, l *LeafNode) bool {
		if found = l.Equal(j.private.Package.Leaf); found {
			e.own = i
		}
		return !found
	})
	if !found {
		return refuse(Invalid, "12.4.3.1", "no leaf of the tree is that of the key package")
	}
	e.keys[e.own.Node()] = j.private.leaf.Clone()
	if j.secrets.path != nil {
		if err := j.climb(e); err != nil {
			return err
		}
	}
	var secrets joined
	defer secrets.wipe()
	secrets.derive(j.suite, &j.joiner, &j.psk, e.context.append(nil))
	e.start(&secrets.epoch)
	if subtle.ConstantTimeCompare(e.tag, j.info.confirmationTag) != 1 {
		return refuse(BadSignature, "12.4.3.1", "confirmation tag of the group info is wrong")
	}
	return nil
}

// climb derives the keys from the lowest node that covers both the committer and this member, up to the root.
func (j *joining) climb(e *epoch) error {
	if j.info.signer == e.own {
		return refuse(Invalid, "12.4.3.1", "group info is signed by the new member itself")
	}
	common := treemath.CommonAncestor(e.own.Node(), j.info.signer.Node())
	if j.tree.nodes[common].parent == nil {
		return refuse(Invalid, "12.4.3.1", "path secret of a welcome is that of node %d, which is blank", common)
	}
	var steps []step
	for n := range treemath.DirectPath(e.own.Node(), j.tree.size()) {
		if n.Contains(common) && j.tree.nodes[n].parent != nil {
			steps = append(steps, step{node: n})
		}
	}
	var unused suite.Secret
	defer unused.Wipe()
	keys, err := j.tree.climb(j.secrets.path, steps, &unused)
	if err != nil {
		return err
	}
	for n, k := range keys {
		e.keys[n] = k
	}
	return nil
}
