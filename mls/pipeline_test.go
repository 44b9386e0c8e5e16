package mls

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
)

// Who saves again before the store has confirmed the last Save, always, gets message parts all the same, and is never
// refused.
func TestSavesThatOverlap(t *testing.T) {
	for _, depth := range []int{1, 4} {
		t.Run(fmt.Sprintf("%d on their way", depth), func(t *testing.T) {
			c := newCrowd(t, 1, 2, kept)
			p := c.members[0]
			p.save()
			var queue []*Saved
			bytesOf := map[partKind]int{}
			const messages = 3 * maxUndone
			for range messages {
				p.group.spendOf(t, 1)
				s := must[*Saved](t)(p.group.Save())
				if queue = append(queue, s); len(queue) > depth {
					for _, part := range queue[0].Parts {
						h, _, _, err := readPartHead(part.Data)
						if err != nil {
							t.Fatal(err)
						}
						bytesOf[h.kind] += len(part.Data)
					}
					if err := p.shelf.put(queue[0]); err != nil {
						t.Fatal(err)
					}
					queue = queue[1:]
				}
			}
			for _, s := range queue {
				if err := p.shelf.put(s); err != nil {
					t.Fatal(err)
				}
			}
			if !bytes.Equal(p.restored().appendState(nil), p.group.appendState(nil)) {
				t.Error("what is restored is another group")
			}
			if n := bytesOf[partSecret] + bytesOf[partMessage]; bytesOf[partMessage] == 0 || n > 400*messages {
				t.Errorf("%d messages took %v bytes", messages, bytesOf)
			}
		})
	}
}

// overlapping is a member whose saves are written while it goes on: late, not at all, or out of their order.
type overlapping struct {
	t      *testing.T
	rng    *rand.Rand
	crowd  *crowd
	p      *person
	queue  []savedState
	store  map[uint64][]byte
	newest savedState   // of those that were written
	saved  []savedState // all; the first is none
}

type savedState struct {
	*Saved
	at    int    // in the order of Saves
	state []byte // of the group then
}

// step lets something happen in the group.
func (o *overlapping) step() {
	o.t.Helper()
	other := o.crowd.members[1].group
	switch n := o.rng.IntN(20); {
	case n < 7:
		must[*Received](o.t)(o.p.group.Process(must[[]byte](o.t)(other.Protect(nil, []byte("x"), nil))))
	case n < 13:
		must[[]byte](o.t)(o.p.group.Protect(nil, []byte("x"), nil))
	case n < 14:
		for range maxSpent + 1 {
			o.p.group.spendOf(o.t, 2)
			o.crowd.members[2].group.spendOf(o.t, 2)
		}
	case n < 15:
		if len(o.p.group.Outstanding()) == 0 {
			must[*Change](o.t)(o.p.group.Commit(CommitOptions{}))
		} else {
			o.p.group.Outstanding()[0].Discard()
		}
	case n < 16:
		must[[]byte](o.t)(other.Propose(&UnknownProposal{0xf00d, []byte{byte(len(o.saved))}}, nil))
	case n < 17:
		o.crowd.commit(0, CommitOptions{Keep: true, Note: []byte{byte(len(o.saved))}})
	case n < 18:
		if unsent := o.p.group.Unsent(); len(unsent) > 0 {
			unsent[o.rng.IntN(len(unsent))].Sent()
		}
	default:
		o.crowd.commit(1+o.rng.IntN(2), CommitOptions{})
	}
}

// save saves, and lets it wait to be written.
func (o *overlapping) save() {
	o.t.Helper()
	f := o.p.group.Save
	if o.rng.IntN(10) == 0 {
		f = o.p.group.SaveAll
	}
	s := savedState{must[*Saved](o.t)(f()), len(o.saved), o.p.group.appendState(nil)}
	o.queue, o.saved = append(o.queue, s), append(o.saved, s)
}

// write writes one of those that wait, mostly the first, and says so or not.
func (o *overlapping) write() {
	o.t.Helper()
	i := 0
	if o.rng.IntN(5) == 0 {
		i = o.rng.IntN(len(o.queue))
	}
	s := o.queue[i]
	o.queue = slices.Delete(o.queue, i, i+1)
	if o.rng.IntN(6) == 0 {
		return // the write failed
	}
	for _, part := range s.Parts {
		o.store[part.Number] = bytes.Clone(part.Data)
		if o.rng.IntN(4) == 0 {
			o.check(s)
		}
	}
	if s.at > o.newest.at {
		o.newest = s
	}
	for _, n := range s.Obsolete {
		delete(o.store, n)
	}
	o.check(s)
	if o.rng.IntN(8) > 0 {
		if err := s.Done(); err != nil {
			o.t.Fatal(err)
		}
	}
}

// check restores the group: it is the newest that was written, or one from there to the one that is being written,
// which holds the parts of others before it.
func (o *overlapping) check(being savedState) {
	o.t.Helper()
	g, err := Restore(o.p.cfg, slices.Collect(maps.Values(o.store)))
	if err != nil {
		if o.newest.at == 0 {
			return
		}
		o.t.Fatalf("save %d, after %d: %v", being.at, o.newest.at, err)
	}
	got := g.appendState(nil)
	between := o.saved[o.newest.at : max(o.newest.at, being.at)+1]
	if !slices.ContainsFunc(between, func(s savedState) bool { return bytes.Equal(got, s.state) }) {
		o.t.Fatalf("save %d, after %d: what is restored is another group", being.at, o.newest.at)
	}
}

// Saves that overlap are written in any order, late or not at all, and the store holds a state that was saved at any
// moment: the newest that was written. In the end nothing is left over.
func TestSavesInAnyOrder(t *testing.T) {
	t.Parallel()
	seeds := uint64(4)
	if long {
		seeds = 8
	}
	for seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			c := newCrowd(t, 1, 3, kept)
			o := &overlapping{t: t, rng: rand.New(rand.NewPCG(seed, 1)), crowd: c, p: c.members[0],
				store: map[uint64][]byte{}, saved: make([]savedState, 1)}
			for range 80 {
				o.step()
				o.save()
				for len(o.queue) > o.rng.IntN(6) {
					o.write()
				}
			}
			o.p.shelf.parts = o.store
			o.p.save()
			o.p.restart() // it finds what was written late and not said to be
			o.p.save()
			if l := &o.p.group.ledger; len(o.store) != len(l.chain.publics)+1+len(l.messages) {
				t.Errorf("%d parts are stored, in use are a secret, %d public and %d message parts", len(o.store),
					len(l.chain.publics), len(l.messages))
			}
			if !bytes.Equal(o.p.restored().appendState(nil), o.p.group.appendState(nil)) {
				t.Error("what is restored is another group")
			}
			c.agree()
		})
	}
}

// What is written late, after what made it obsolete, is deleted by the next Save.
func TestPartsThatAreWrittenLate(t *testing.T) {
	c := newCrowd(t, 1, 2, kept)
	g := c.members[0].group
	early := must[*Saved](t)(g.Save())
	all := must[*Saved](t)(g.SaveAll())
	for _, s := range []*Saved{all, early} {
		if err := s.Done(); err != nil {
			t.Fatal(err)
		}
	}
	late := must[*Saved](t)(g.Save())
	for _, p := range early.Parts {
		if !slices.Contains(late.Obsolete, p.Number) {
			t.Errorf("part %d is not to be deleted, but %v", p.Number, late.Obsolete)
		}
	}
	if len(early.Parts) == 0 || len(late.Parts) != 0 {
		t.Errorf("%d parts were late, and %d are left to write", len(early.Parts), len(late.Parts))
	}
}
