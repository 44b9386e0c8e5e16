package mls

import (
	"bytes"
	"errors"
	"maps"
	"slices"
	"testing"
)

var stateKey = newStateKey("state key")

func newStateKey(seed string) *StateKey { return stateKeyOf(seed, "tests") }

func stateKeyOf(seed, member string) *StateKey {
	b := make([]byte, StateKeySize)
	_, _ = stream(seed).Read(b)
	k, err := NewStateKey(b, member)
	if err != nil {
		panic(err)
	}
	return k
}

// kept configures a client whose groups are saved.
func kept(c *Config) { c.StateKey = stateKey }

var errPower = errors.New("the power is gone")

// shelf is a store of one group that can stop at any write. What it holds survives.
type shelf struct {
	parts  map[uint64][]byte
	writes int // so far
	stop   int // before this one, counted from 1; 0: never
}

// write does one write, or none any more.
func (s *shelf) write(f func()) error {
	if s.writes++; s.stop > 0 && s.writes >= s.stop {
		return errPower
	}
	f()
	return nil
}

// put writes what was saved, and says so.
func (s *shelf) put(saved *Saved) error {
	if s.parts == nil {
		s.parts = map[uint64][]byte{}
	}
	for _, p := range saved.Parts {
		if err := s.write(func() { s.parts[p.Number] = bytes.Clone(p.Data) }); err != nil {
			return err
		}
	}
	for _, n := range saved.Obsolete {
		if err := s.write(func() { delete(s.parts, n) }); err != nil {
			return err
		}
	}
	return saved.Done()
}

func (s *shelf) save(g *Group) error {
	saved, err := g.Save()
	if err != nil {
		return err
	}
	return s.put(saved)
}

func (s *shelf) all() [][]byte { return slices.Collect(maps.Values(s.parts)) }

// text is all that can be read in the store with the key.
func (s *shelf) text(t testing.TB) []byte {
	t.Helper()
	var all []byte
	for _, p := range must[[]openedPart](t)(openParts(stateKey, s.all())) {
		all = append(all, p.text...)
	}
	return all
}

// restart replaces a member's group by one from what it saved.
func (p *person) restart() {
	p.t.Helper()
	p.cfg.StateKey = stateKey
	p.group.cfg.StateKey = stateKey
	if err := p.shelf.save(p.group); err != nil {
		p.t.Fatal(err)
	}
	p.group = p.restored()
}

// restored is a group of what is in the store.
func (p *person) restored() *Group {
	p.t.Helper()
	return must[*Group](p.t)(Restore(p.cfg, p.shelf.all()))
}

// appendState appends all that is saved of a group, in clear.
func (g *Group) appendState(dst []byte) []byte {
	none, changes := &tree{suite: g.suite}, g.packChanges()
	public, secret := g.appendPublic(nil, none), g.appendSecret(nil, changes)
	if len(public) > g.publicRoom(none) || len(secret) > g.secretRoom(changes) {
		panic("parts outgrow the room that is made for them, and leave secrets behind")
	}
	return append(append(dst, public...), secret...)
}
