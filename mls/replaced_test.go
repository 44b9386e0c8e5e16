package mls

import (
	"maps"
	"slices"
	"testing"
)

// A group that is joined anew takes the place of the old one in the store, whenever the power is gone.
func TestReplacedGroups(t *testing.T) {
	c := newCrowd(t, 1, 3)
	p := newPerson(t, 1, "again", kept)
	c.add(0, p)
	old := p.group
	for range 3 {
		must[[]byte](t)(old.Protect(nil, nil, nil))
		p.save()
	}
	k := p.keyPackage()
	ch := must[*Change](t)(c.members[0].group.Commit(CommitOptions{Proposals: []Proposal{&Remove{old.Own()}, &Add{k}}}))
	p.group = must[*Group](t)(Join(p.cfg, ch.Welcomes[0], JoinOptions{}))
	if err := p.group.Replace(old); err != nil {
		t.Fatal(err)
	}
	_, err := old.Save()
	wantRefusal(t, err, Misuse, ": the group was replaced")
	saved := must[*Saved](t)(p.group.Save())
	for i := range len(saved.Parts) + 1 {
		s := shelf{parts: maps.Clone(p.shelf.parts), stop: i + 1}
		_ = s.put(saved)
		want := old.Epoch()
		if i == len(saved.Parts) {
			want = p.group.Epoch()
		}
		if g := must[*Group](t)(Restore(p.cfg, s.all())); g.Epoch() != want {
			t.Errorf("after %d writes the group is in epoch %d, want %d", i, g.Epoch(), want)
		}
	}
	if err := p.shelf.put(saved); err != nil {
		t.Fatal(err)
	}
	if len(p.shelf.parts) != 2 || p.restored().Epoch() != p.group.Epoch() {
		t.Errorf("%d parts are stored", len(p.shelf.parts))
	}
	wantRefusal(t, p.group.Replace(p.restored()), Misuse, ": call Replace before Save")
	other := must[*Group](t)(Create(p.cfg, []byte("another")))
	wantRefusal(t, other.Replace(p.group), Misuse, ": cannot replace group")
}

// The parts that a group replaces are known by their numbers alone where no Group is made of them. What does not open
// goes in the transaction that brings the new ones.
func TestReplacedParts(t *testing.T) {
	for name, damage := range map[string]func(*person){
		"a part is lost":             func(p *person) { delete(p.shelf.parts, 2) },
		"they are damaged":           func(p *person) { p.shelf.parts[2][100] ^= 1 },
		"they are of another key":    func(p *person) { p.cfg.StateKey = newStateKey("another") },
		"they are of another member": func(p *person) { p.cfg.StateKey = stateKeyOf("state key", "another") },
	} {
		t.Run(name, func(t *testing.T) {
			c := newCrowd(t, 1, 3)
			p := newPerson(t, 1, "again", kept)
			c.add(0, p)
			for range 3 {
				p.save()
				must[[]byte](t)(p.group.Protect(nil, nil, nil))
			}
			k, old := p.keyPackage(), p.group.Own()
			damage(p)
			if _, err := Restore(p.cfg, p.shelf.all()); err == nil {
				t.Fatal("it is restored all the same")
			}
			ch := must[*Change](t)(c.members[0].group.Commit(CommitOptions{Proposals: []Proposal{&Remove{old}, &Add{k}}}))
			p.group = must[*Group](t)(Join(p.cfg, ch.Welcomes[0], JoinOptions{}))
			numbers := slices.Collect(maps.Keys(p.shelf.parts))
			if err := p.group.Replace(nil, numbers...); err != nil {
				t.Fatal(err)
			}
			s := must[*Saved](t)(p.group.Save())
			for _, part := range s.Parts {
				if slices.Contains(numbers, part.Number) {
					t.Errorf("part %d is written over", part.Number)
				}
			}
			if err := p.shelf.put(s); err != nil {
				t.Fatal(err)
			}
			if n := len(p.shelf.parts); n != 2 || p.restored().Epoch() != p.group.Epoch() {
				t.Errorf("%d parts are stored", n)
			}
		})
	}
	g := must[*Group](t)(Create(newPerson(t, 1, "x", kept).cfg, nil))
	wantRefusal(t, g.Replace(nil, 1<<63), Misuse, ": no part has that number")
}
