package mls

import (
	"bytes"
	"crypto/cipher"
	"slices"
)

// Part is a piece of a group's state, sealed. A store keeps it under the group and its number, as a whole or not at
// all.
type Part struct {
	Number uint64 // no two parts of a group have the same
	Data   []byte // the caller's
}

// Saved is what has changed of a group since what is known to be stored. The caller writes Parts in their order,
// deletes
// the parts numbered Obsolete after that, and calls Done; or does the first two in one transaction. Stopped at any
// point, the store holds the state before or the one after. Nothing of it is stored by this package.
//
// When a write fails, Done is not called, and the next Save holds what this one did. A later Save covers an earlier one
// that is not done; both may be written.
type Saved struct {
	Parts    []Part   // none: nothing has changed, but there may be what Restore found left over, in Obsolete
	Obsolete []uint64 // of parts that are or may be in the store; unknown numbers are no error

	group *Group
	kind  partKind // the one that brings the others along
	whole bool     // the whole tree is in it
	then  stored   // what is stored when Parts are
	spent []spentUpTo
}

// spentUpTo says how much of a secret tree's log a Saved holds.
type spentUpTo struct {
	tree  *secretTree
	count uint64
}

// stored is what is known to be in the store.
type stored struct {
	publics    []partRef // those in use, the whole tree first; never changed in place
	tree       *tree     // that they give
	wholeSize  int       // bytes of the first of them
	changeSize int       // of the others

	secret     partRef
	secretSize int

	last     partRef // the newest: what a message part would stand on
	messages int     // parts
	bytes    int     // of them

	marks marks
}

// marks tell two states of a group apart, but for the keys of messages.
type marks struct {
	public    uint64 // grows when the public part is to be written
	secret    uint64 // grows when the secret part is
	proposals int    // that wait: they are only added while secret stays
}

// ledger is what a group knows of its parts.
type ledger struct {
	key    *StateKey // of run
	run    partRun
	aead   cipher.AEAD // nil: this Group has made no part yet
	of     *Group      // that aead is of: a Group that was copied begins a run of its own
	number uint64      // of the newest part that was made, or found by Restore
	marks  marks       // but for proposals
	given  []uint64    // all that may be in the store
	left   []uint64    // of those what Restore found and did not need: deleted by nobody before the power was gone
	undone int         // Saves since the last Done
	// replaced: another Group has its place in the store.
	replaced bool
	newest   *Saved // not done
	stored   stored
}

const (
	// After so many message parts that are together eight times as long as the secret part, it is written anew: so that
	// it costs little beside them, and keys that were used are gone from the store.
	minMessageParts = 64
	// After so many public parts the whole tree is written.
	maxPublicParts = 64
	maxUndone      = 1024
)

// Save gives what has changed since what is known to be stored, sealed under Config.StateKey; what to save before what
// is said in the package documentation. After a message it is short, whatever the size of the group.
func (g *Group) Save() (*Saved, error) { return g.save(false) }

// SaveAll gives all of the state, so that it replaces whatever is stored: for a new store or StateKey, and to have the
// keys of messages that were used gone from the store at once.
func (g *Group) SaveAll() (*Saved, error) { return g.save(true) }

func (g *Group) save(all bool) (*Saved, error) {
	l := &g.ledger
	if l.replaced {
		return nil, refuse(Misuse, "", "the group was replaced by one that was joined anew")
	}
	if l.undone >= maxUndone {
		return nil, refuse(Misuse, "", "%d saved states in a row are not done: call Saved.Done when one is written", l.undone)
	}
	changed, err := l.prepare(g)
	if err != nil {
		return nil, err
	}
	s := &Saved{group: g, whole: all || changed, then: l.stored}
	s.kind = g.unsaved(s.whole)
	if s.kind == partNone {
		s.Obsolete = slices.Clone(l.left)
		return s, nil
	}
	if n := l.newest; n != nil { // it may be written, and what it makes obsolete deleted, although it is not done
		s.kind, s.whole = min(s.kind, n.kind), s.whole || n.whole
	}
	s.then.marks = g.marks()
	trees := g.secretTrees()
	switch s.kind {
	case partPublic:
		s.public()
		s.secret()
	case partSecret:
		s.secret()
	case partMessage:
		s.message(trees)
		s.Obsolete = slices.Clone(l.left)
	}
	for _, t := range trees {
		s.spent = append(s.spent, spentUpTo{t, t.log.count})
	}
	l.undone++
	l.newest = s
	return s, nil
}

// Done says that Parts are written: what comes next stands on them. The first Done of a group that was joined deletes
// its key package from Config.KeyPackages; on an error it may be called again. It does nothing when a later Save was
// made, which holds all that this one does. It counts as a method of the group: they must not overlap.
func (s *Saved) Done() error {
	g := s.group
	l := &g.ledger
	if l.newest == s {
		l.newest, l.undone, l.stored = nil, 0, s.then
		for _, u := range s.spent {
			u.tree.log.saved = u.count
		}
		if s.kind != partMessage {
			l.given = append(l.given[:0], s.then.secret.number)
			for _, p := range s.then.publics {
				l.given = append(l.given, p.number)
			}
		}
	}
	if len(s.Obsolete) > 0 { // whatever Save gave it, they are among them
		l.left = nil
	}
	if len(l.stored.publics) == 0 {
		return nil
	}
	return g.dropKeyPackage()
}

// prepare readies l for making parts. changed: no part in the store is of its key.
func (l *ledger) prepare(g *Group) (changed bool, err error) {
	key := g.cfg.StateKey
	if key == nil {
		return false, refuse(Misuse, "", "Config.StateKey is nil: a group is saved under one")
	}
	if l.aead != nil && l.key == key && l.of == g {
		return false, nil
	}
	changed = l.key != nil && l.key != key
	run, err := newRun(g.cfg.random())
	if err != nil {
		return false, err
	}
	aead, err := key.aead(run, g.ID())
	if err != nil {
		return false, err
	}
	if changed { // until something is stored under the new one
		l.stored = stored{}
	}
	l.key, l.run, l.aead, l.of = key, run, aead, g
	return changed, nil
}

// unsaved is the kind of part that has to be written, with those that it brings along.
func (g *Group) unsaved(all bool) partKind {
	now, s := g.marks(), &g.ledger.stored
	if all || len(s.publics) == 0 || now.public != s.marks.public {
		return partPublic
	}
	spent, lost := 0, false
	for _, t := range g.secretTrees() {
		spent += len(t.log.unsaved())
		lost = lost || t.log.lost()
	}
	switch {
	case lost, now.secret != s.marks.secret:
		return partSecret
	case spent == 0 && now.proposals == s.marks.proposals:
		return partNone
	case s.messages >= minMessageParts && s.bytes >= 8*s.secretSize:
		return partSecret
	}
	return partMessage
}

// marks are those of the group as it is.
func (g *Group) marks() marks {
	m := g.ledger.marks
	m.proposals = len(g.proposals)
	return m
}

// changed notes that a part of this kind is to be written.
func (g *Group) changed(k partKind) {
	if k == partPublic {
		g.ledger.marks.public++
	}
	g.ledger.marks.secret++
}

// secretTrees are those of this epoch and of past ones.
func (g *Group) secretTrees() []*secretTree {
	trees := append(make([]*secretTree, 0, 1+len(g.past)), g.now.messages.secrets)
	for _, k := range g.past {
		trees = append(trees, k.secrets)
	}
	return trees
}

// seal makes a part and takes it up.
func (s *Saved) seal(kind partKind, on partRef, room int, text func([]byte) []byte) (partRef, int) {
	l := &s.group.ledger
	l.number++
	part, ref := sealPart(l.aead, &partHead{kind, l.number, on, l.run, s.group.ID()}, room, text)
	s.Parts = append(s.Parts, part)
	l.given = append(l.given, part.Number)
	return ref, len(part.Data)
}

// public makes the public part: of the whole tree, or of what has changed since the last.
func (s *Saved) public() {
	t := &s.then
	s.whole = s.whole || len(t.publics) == 0 || len(t.publics) >= maxPublicParts || t.changeSize >= t.wholeSize
	if s.whole {
		*t = stored{marks: t.marks, tree: &tree{suite: s.group.suite}}
	}
	var on partRef
	if n := len(t.publics); n > 0 {
		on = t.publics[n-1]
	}
	from := t.tree
	ref, size := s.seal(partPublic, on, s.group.publicRoom(from), func(dst []byte) []byte { return s.group.appendPublic(dst, from) })
	t.publics, t.tree = append(slices.Clip(t.publics), ref), s.group.now.tree
	if len(t.publics) == 1 {
		t.wholeSize = size
	} else {
		t.changeSize += size
	}
}

// secret makes the secret part. All parts but it and the public ones are obsolete then.
func (s *Saved) secret() {
	t, l := &s.then, &s.group.ledger
	changes := s.group.packChanges()
	t.secret, t.secretSize = s.seal(partSecret, t.publics[len(t.publics)-1], s.group.secretRoom(changes),
		func(dst []byte) []byte { return s.group.appendSecret(dst, changes) })
	t.last, t.messages, t.bytes = t.secret, 0, 0
	for _, n := range l.given {
		if n != t.secret.number && !slices.ContainsFunc(t.publics, func(p partRef) bool { return p.number == n }) {
			s.Obsolete = append(s.Obsolete, n)
		}
	}
}

// Replace says that g takes the place of old in the store: the same group, joined anew. The first Save of g makes the
// parts of old obsolete, and old is saved no more. It is called before g is saved: otherwise the parts of both have the
// same numbers.
func (g *Group) Replace(old *Group) error {
	l, o := &g.ledger, &old.ledger
	switch {
	case g == old || !bytes.Equal(g.ID(), old.ID()):
		return refuse(Misuse, "", "group %x cannot replace group %x: want the same, joined anew", clip(g.ID()), clip(old.ID()))
	case l.number > 0:
		return refuse(Misuse, "", "a group that was saved replaces another: call Replace before Save")
	}
	l.number, l.given = o.number, slices.Clone(o.given)
	o.replaced = true
	return nil
}

// Restore makes a group of its parts, which may stand in any order; parts that are obsolete may be among them. cfg is
// as
// it was for the group; its key is used only for what is made anew. Parts that are damaged, of another group or
// StateKey, or of two histories of one group are refused, and so is a state of which a part is missing: of all of them
// that is ErrNotSaved. That the
// newest parts are missing, all of them from one on, cannot be told: who puts back an old copy of a store uses keys
// again that were used.
//
// What of the group was joined by, its key package, is deleted from Config.KeyPackages if it is still there.
func Restore(cfg *Config, parts [][]byte) (*Group, error) {
	s, err := cfg.suite()
	if err != nil {
		return nil, err
	}
	if cfg.StateKey == nil {
		return nil, refuse(Misuse, "", "Config.StateKey is nil: it is what the parts of a group are sealed under")
	}
	opened, err := openParts(cfg.StateKey, parts)
	defer func() {
		for _, p := range opened {
			if p.kind != partPublic { // what is kept of others was copied
				clear(p.text)
			}
		}
	}()
	if err != nil {
		return nil, err
	}
	h, err := findSnapshot(opened)
	if err != nil {
		return nil, err
	}
	g := &Group{cfg: cfg, suite: s, limits: cfg.Limits.filled()}
	if err := g.read(h); err != nil {
		return nil, err
	}
	g.ledger.restored(h, opened, cfg.StateKey, g)
	_ = g.dropKeyPackage() // the next Done tries again
	return g, nil
}

// restored notes what is stored. The next part begins a run.
func (l *ledger) restored(h snapshot, all []openedPart, key *StateKey, g *Group) {
	l.key, l.number = key, all[len(all)-1].number
	for _, p := range all {
		l.given = append(l.given, p.number)
	}
	used := map[partRef]bool{h.secret.ref: true}
	for _, p := range slices.Concat(h.publics, h.messages) {
		used[p.ref] = true
	}
	for i := range all {
		if !used[all[i].ref] {
			l.left = append(l.left, all[i].number)
		}
	}
	t := &l.stored
	t.tree, t.secret, t.secretSize, t.last = g.now.tree, h.secret.ref, h.secret.size, h.secret.ref
	for i, p := range h.publics {
		t.publics = append(t.publics, p.ref)
		if i == 0 {
			t.wholeSize = p.size
		} else {
			t.changeSize += p.size
		}
	}
	for _, p := range h.messages {
		t.last = p.ref
		t.messages++
		t.bytes += p.size
	}
	t.marks = g.marks()
	for _, tree := range g.secretTrees() {
		tree.log = spentLog{}
	}
}

// usedPackage is the key package by which a group was joined, until the group is stored.
type usedPackage struct {
	ref     []byte
	private *PrivateKeyPackage // nil after a restart
}

// dropKeyPackage deletes the key package that the group was joined by.
func (g *Group) dropKeyPackage() error {
	u := g.joinedBy
	if u == nil || g.cfg.KeyPackages == nil {
		return nil
	}
	if err := g.cfg.KeyPackages.Delete(u.ref); err != nil {
		return err
	}
	if u.private != nil {
		u.private.init.Wipe()
		u.private.leaf.Wipe() // the group has a copy
	}
	g.joinedBy = nil
	return nil
}
