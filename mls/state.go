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
	Data   []byte // not to be changed: the next Saved may hold it too
}

// Saved is what of a group is not known to be stored. The caller writes Parts in their order, deletes the parts
// numbered Obsolete after that, and calls Done; or does the first two in one transaction. Stopped at any point, the
// store holds the state before or the one after. Nothing of it is stored by this package.
//
// Each Saved holds all that no Done has confirmed, so that Save need not wait for the store: the next one can be made,
// and written, while this one is on its way. A part that is on its way is among the next Parts again, byte for byte, if
// they stand on it; who writes in order can leave out what was written. When a write fails, Done is not called, and the
// next Save holds what this one did. Only the last of several that wait has to be written.
type Saved struct {
	Parts    []Part   // none: all is stored, but there may be what is to be deleted
	Obsolete []uint64 // of parts that are or may be in the store; unknown numbers are no error
	// KeyPackage is the reference of the key package that the group was joined by, until it is gone from
	// Config.KeyPackages; else nil. Done deletes it there, unless the caller has, in the transaction that writes Parts.
	KeyPackage []byte

	group   *Group
	newest  uint64   // number of the newest part that was made until then
	base    base     // of message parts, when Parts are stored
	deleted []uint64 // what of Obsolete was not known to be deleted
	spent   []spentUpTo
}

// spentUpTo says how much of a secret tree's log is in the parts up to a base.
type spentUpTo struct {
	tree  *secretTree
	count uint64
}

// chain is what the newest state was written as: public parts and a secret one, stored or on their way.
type chain struct {
	publics    []partRef // those in use, the whole tree first; never changed in place
	tree       *tree     // that they give
	wholeSize  int       // bytes of the first of them
	changeSize int       // of the others

	secret     partRef
	secretSize int

	marks marks
}

// base is what a message part stands on: the secret part, which is stored or among the same Parts, or a message part
// that is known to be stored. A message part holds all that happened after its base.
type base struct {
	ref       partRef
	of        uint64 // number of the secret part
	proposals int    // that waited
	sent      int    // of ledger.sent
}

// marks tell two states of a group apart, but for what message parts hold.
type marks struct {
	public uint64 // grows when the public part is to be written
	secret uint64 // grows when the secret part is
}

// moment tells all states of a group apart.
type moment struct {
	marks
	spent           uint64 // keys, of all secret trees that are here
	proposals, sent int
}

// message is a message part, which is given again while nothing else has happened.
type message struct {
	part Part
	on   partRef
	then base // of the next one, when part is stored
	at   moment
}

// ledger is what a group knows of its parts.
type ledger struct {
	key    *StateKey // of run
	run    partRun
	aead   cipher.AEAD // nil: this Group has made no part yet
	of     *Group      // that aead is of: a Group that was copied begins a run of its own
	number uint64      // of the newest part that was made, or found by Restore
	marks  marks
	chain  chain
	base   base
	// waiting are the parts of chain that are not known to be stored, in their order. Never changed in place.
	waiting []Part
	// messages are the message parts since the secret one, stored or on their way.
	messages     []uint64
	messageBytes int
	sent         []uint64 // epochs of commits that were kept until then, since the secret part
	newest       message  // the last of messages
	obsolete     []uint64 // not known to be deleted
	undone       int      // Saves since the last Done that made parts
	done         uint64   // newest part that is known to be stored
	replaced     bool     // another Group has its place in the store
}

const (
	// After so many message parts that are together eight times as long as the secret part, it is written anew: so that
	// it costs little beside them, and keys that were used are gone from the store.
	minMessageParts = 64
	// After so many public parts the whole tree is written.
	maxPublicParts = 64
	// So many Saves may make parts after the newest that is done: each leaves a number to be deleted.
	maxUndone = 1024
	// Half of what a vector can hold.
	maxPart = 1 << 29
)

// Save gives what is not known to be stored, sealed under Config.StateKey; what to save before what is said in the
// package documentation. After a message it is short, whatever the size of the group. It does not wait for Done of
// those before it, up to 1,024 of them. What was given before is given again, byte for byte, if nothing has happened
// since: a write that fails can be tried again without end.
func (g *Group) Save() (*Saved, error) { return g.save(false) }

// SaveAll gives all of the state, so that it replaces whatever is stored: for a new store or StateKey, and to have the
// keys of messages that were used gone from the store at once. It is what helps when Save says Busy and no Saved is
// left that could be written.
func (g *Group) SaveAll() (*Saved, error) { return g.save(true) }

func (g *Group) save(all bool) (*Saved, error) {
	l := &g.ledger
	if l.replaced {
		return nil, refuse(Misuse, "", "the group was replaced by one that was joined anew")
	}
	changed, err := l.prepare(g)
	if err != nil {
		return nil, err
	}
	kind, again := g.unsaved(all || changed), false
	if kind == partMessage {
		again = l.newest.at == g.moment() && l.newest.on == l.base.ref
	}
	if kind != partNone && !again {
		if l.undone >= maxUndone && !all {
			return nil, refuse(Busy, "",
				"%d saved states in a row are not done: write the last of them and call its Done, or SaveAll", l.undone)
		}
		if err := l.write(g, kind, all || changed || g.removed); err != nil {
			return nil, err
		}
		l.undone++
	}
	s := &Saved{group: g, Parts: slices.Clone(l.waiting), base: l.base}
	if kind == partMessage {
		s.Parts, s.base = append(s.Parts, l.newest.part), l.newest.then
	}
	s.newest, s.deleted = l.number, l.obsolete
	s.Obsolete = slices.Clone(l.obsolete)
	if g.joinedBy != nil {
		s.KeyPackage = slices.Clone(g.joinedBy.ref)
	}
	if len(s.Parts) == 0 {
		return s, nil
	}
	for _, t := range g.secretTrees() {
		s.spent = append(s.spent, spentUpTo{t, t.log.count})
	}
	return s, nil
}

// write makes the parts of a kind, and those that it brings along. On an error l is as before, but for the number: it
// is a nonce.
func (l *ledger) write(g *Group, kind partKind, whole bool) (err error) {
	before := *l
	switch kind {
	case partPublic:
		if err = l.public(g, whole); err == nil {
			err = l.secret(g)
		}
	case partSecret:
		err = l.secret(g)
	case partMessage:
		err = l.message(g)
	}
	if err != nil {
		before.number = l.number
		*l = before
	}
	return err
}

// Done says that Parts are written and Obsolete ones deleted: what comes next stands on them. It may be called late,
// after later Saves were made or done, and not at all. The first Done of a group that was joined deletes its key
// package from Config.KeyPackages; on an error it may be called again. It counts as a method of the group: they must
// not overlap.
func (s *Saved) Done() error {
	g := s.group
	l := &g.ledger
	l.deleted(s.deleted)
	switch {
	case len(s.Parts) == 0: // all was stored before
		return g.dropKeyPackage()
	case s.newest < l.done: // written late, after one that made some of it obsolete
		l.late(s.Parts)
		return g.dropKeyPackage()
	}
	l.done, l.undone = s.newest, 0 // all that is waiting and not newer was among Parts
	l.waiting = slices.DeleteFunc(slices.Clone(l.waiting), func(p Part) bool { return p.Number <= s.newest })
	if s.base.of == l.base.of && s.base.ref.number > l.base.ref.number {
		l.base = s.base
		for _, u := range s.spent {
			u.tree.log.saved = max(u.tree.log.saved, u.count)
		}
	}
	return g.dropKeyPackage()
}

// deleted notes that parts are gone from the store.
func (l *ledger) deleted(numbers []uint64) {
	if len(numbers) == 0 {
		return
	}
	gone := make(map[uint64]bool, len(numbers))
	for _, n := range numbers {
		gone[n] = true
	}
	l.obsolete = slices.DeleteFunc(slices.Clone(l.obsolete), func(n uint64) bool { return gone[n] })
}

// late notes that parts were written which newer ones, stored before, had made obsolete.
func (l *ledger) late(parts []Part) {
	for _, p := range parts {
		if !l.uses(p.Number) && !slices.Contains(l.obsolete, p.Number) {
			l.obsolete = append(slices.Clip(l.obsolete), p.Number)
		}
	}
}

// uses reports whether a part is one of the newest state, or left over beside its message parts, with which it goes.
func (l *ledger) uses(n uint64) bool {
	return n == l.chain.secret.number || slices.Contains(l.messages, n) ||
		slices.ContainsFunc(l.chain.publics, func(p partRef) bool { return p.number == n })
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
	run, err := newRun(g.cfg.random())
	if err != nil {
		return false, err
	}
	aead, err := key.aead(run, g.ID())
	if err != nil {
		return false, err
	}
	changed = l.key != nil && l.key != key
	l.key, l.run, l.aead, l.of = key, run, aead, g
	return changed, nil
}

// unsaved is the kind of part that has to be made, with those that it brings along.
func (g *Group) unsaved(all bool) partKind {
	l := &g.ledger
	if all || len(l.chain.publics) == 0 || l.marks.public != l.chain.marks.public {
		return partPublic
	}
	spent, lost := 0, false
	for _, t := range g.secretTrees() {
		spent += len(t.log.unsaved())
		lost = lost || t.log.lost()
	}
	switch {
	case lost, l.marks.secret != l.chain.marks.secret:
		return partSecret
	case spent == 0 && len(g.proposals) == l.base.proposals && len(l.sent) == l.base.sent:
		return partNone
	case len(l.messages) >= minMessageParts && l.messageBytes >= 8*l.chain.secretSize:
		return partSecret
	}
	return partMessage
}

// changed notes that a part of this kind is to be written.
func (g *Group) changed(k partKind) {
	if k == partPublic {
		g.ledger.marks.public++
	}
	g.ledger.marks.secret++
}

// moment is the one that the group is in.
func (g *Group) moment() moment {
	m := moment{marks: g.ledger.marks, proposals: len(g.proposals), sent: len(g.ledger.sent)}
	for _, t := range g.secretTrees() {
		m.spent += t.log.count
	}
	return m
}

// secretTrees are those of this epoch and of past ones.
func (g *Group) secretTrees() []*secretTree {
	trees := append(make([]*secretTree, 0, 1+len(g.past)), g.now.messages.secrets)
	for _, k := range g.past {
		trees = append(trees, k.secrets)
	}
	return trees
}

// checkPart: a part of about room bytes can be encoded.
func checkPart(room int) error {
	if room > maxPart {
		return refuse(Limit, "",
			"state of %d bytes, a part of it has at most %d: call Sent or Discard of commits that are done with", room, maxPart)
	}
	return nil
}

// seal makes a part of at most room bytes.
func (l *ledger) seal(g *Group, kind partKind, on partRef, room int, text func([]byte) []byte) (Part, partRef, error) {
	if err := checkPart(room); err != nil {
		return Part{}, partRef{}, err
	}
	l.number++
	part, ref := sealPart(l.aead, &partHead{kind, l.number, on, l.run, g.ID()}, room, text)
	return part, ref, nil
}

// drop notes that parts are obsolete. They may have been written, although they are not known to be.
func (l *ledger) drop(numbers ...uint64) {
	l.obsolete = append(slices.Clip(l.obsolete), numbers...)
	l.waiting = slices.DeleteFunc(slices.Clone(l.waiting), func(p Part) bool { return slices.Contains(numbers, p.Number) })
}

// public makes the public part: of the whole tree, or of what has changed since the last.
func (l *ledger) public(g *Group, whole bool) error {
	c := &l.chain
	if whole || len(c.publics) == 0 || len(c.publics) >= maxPublicParts || c.changeSize >= c.wholeSize {
		for _, p := range c.publics {
			l.drop(p.number)
		}
		c.publics, c.tree, c.wholeSize, c.changeSize = nil, &tree{suite: g.suite}, 0, 0
	}
	var on partRef
	if n := len(c.publics); n > 0 {
		on = c.publics[n-1]
	}
	part, ref, err := l.seal(g, partPublic, on, g.publicRoom(c.tree),
		func(dst []byte) []byte { return g.appendPublic(dst, c.tree) })
	if err != nil {
		return err
	}
	l.waiting = append(slices.Clip(l.waiting), part)
	c.publics, c.tree = append(slices.Clip(c.publics), ref), g.now.tree
	if len(c.publics) == 1 {
		c.wholeSize = len(part.Data)
	} else {
		c.changeSize += len(part.Data)
	}
	return nil
}

// secret makes the secret part. All parts but it and the public ones are obsolete then.
func (l *ledger) secret(g *Group) error {
	c := &l.chain
	room := 0 // before any of it is packed
	for _, o := range g.unapplied {
		room += o.room()
	}
	if err := checkPart(room); err != nil {
		return err
	}
	changes := g.packChanges()
	part, ref, err := l.seal(g, partSecret, c.publics[len(c.publics)-1], g.secretRoom(changes),
		func(dst []byte) []byte { return g.appendSecret(dst, changes) })
	if err != nil {
		return err
	}
	if c.secret.number > 0 {
		l.drop(c.secret.number)
	}
	l.drop(l.messages...)
	l.waiting = append(slices.Clip(l.waiting), part)
	c.secret, c.secretSize, c.marks = ref, len(part.Data), l.marks
	l.messages, l.messageBytes, l.sent, l.newest = nil, 0, nil, message{}
	l.base = base{ref, ref.number, len(g.proposals), 0}
	for _, t := range g.secretTrees() {
		t.log.saved = t.log.count
	}
	return nil
}

// Replace says that g takes the place that other parts have in the store, those of the same group, which it was joined
// anew: its own get numbers after theirs, and its first Save makes them obsolete. They are those of old, which is saved
// no more; and those numbered stored, where there is no Group of them, because Restore refuses them. Either may be
// missing. It is called before g is saved: otherwise the parts of both have the same numbers.
//
// Restore refuses a store in which any part does not open. So parts that do not are deleted in the transaction that
// writes the first Save of g.
func (g *Group) Replace(old *Group, stored ...uint64) error {
	l := &g.ledger
	switch {
	case old != nil && (g == old || !bytes.Equal(g.ID(), old.ID())):
		return refuse(Misuse, "", "group %x cannot replace group %x: want the same, joined anew", clip(g.ID()),
			clip(old.ID()))
	case l.number > 0:
		return refuse(Misuse, "", "a group that was saved replaces another: call Replace before Save")
	}
	number, obsolete := uint64(0), slices.Clone(stored)
	if len(stored) > 0 {
		number = slices.Max(stored)
	}
	if number > maxReplaced {
		return refuse(Misuse, "", "part %d is to be replaced: no part has that number", number)
	}
	if old != nil {
		o := &old.ledger
		number, obsolete = max(number, o.number), slices.Concat(obsolete, o.obsolete, o.messages)
		for _, p := range o.chain.publics {
			obsolete = append(obsolete, p.number)
		}
		if o.chain.secret.number > 0 {
			obsolete = append(obsolete, o.chain.secret.number)
		}
		o.replaced = true
	}
	slices.Sort(obsolete)
	l.number, l.obsolete = number, slices.Compact(obsolete)
	return nil
}

// maxReplaced leaves numbers for all parts that come.
const maxReplaced = 1 << 62

// Restore makes a group of its parts, which may stand in any order; parts that are obsolete may be among them. cfg is
// as it was for the group, or that of the same client with another identity: who the member is in the group, the parts
// say (Group.Identity). Parts that are damaged, of another group or StateKey, or of two histories of one group are
// refused, and so is a state of which a part is missing. Without parts, or with those of a first Save that was not
// written to its end, the error is ErrNotSaved. That the newest parts are missing, all of them from one on, cannot be
// told: who puts back an old copy of a store uses keys again that were used.
//
// The key package that the group was joined by is deleted from Config.KeyPackages if it is still there. A group that
// this member was removed from can be restored, too: it is not Active, knows no other members, and its parts can be
// deleted as well.
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
	if err := cfg.checkState(g); err != nil {
		return nil, err
	}
	g.describeUnapplied()
	g.ledger.restored(h, opened, cfg.StateKey, g)
	_ = g.dropKeyPackage() // the next Done tries again
	return g, nil
}

// restored notes what is stored. The next part begins a run.
func (l *ledger) restored(h snapshot, all []openedPart, key *StateKey, g *Group) {
	l.key, l.number = key, all[len(all)-1].number
	l.done = l.number
	c := &l.chain
	c.tree, c.secret, c.secretSize, c.marks = g.now.tree, h.secret.ref, h.secret.size, l.marks
	for i, p := range h.publics {
		c.publics = append(c.publics, p.ref)
		if i == 0 {
			c.wholeSize = p.size
		} else {
			c.changeSize += p.size
		}
	}
	l.base = base{c.secret, c.secret.number, len(g.proposals), 0}
	for _, p := range h.messages {
		l.base.ref = p.ref
		l.messages = append(l.messages, p.number)
		l.messageBytes += p.size
	}
	for i := range all {
		if !l.uses(all[i].number) {
			l.obsolete = append(l.obsolete, all[i].number)
		}
	}
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
