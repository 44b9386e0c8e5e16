package mls

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"
)

// A commit that is kept, and applied before it is sent, is saved once with its welcomes, and there after a restart
// until it has been sent.
func TestUnsentCommits(t *testing.T) {
	t.Parallel()
	c := newCrowd(t, 1, 2, kept)
	a, b, joiner := c.members[0], c.members[1], newPerson(t, 1, "joiner")
	a.save()
	o := CommitOptions{Proposals: []Proposal{&Add{joiner.keyPackage()}}, AAD: []byte("aad"), Keep: true, Note: []byte("to joiner")}
	ch := must[*Change](t)(a.group.Commit(o))
	if len(a.group.Unsent()) != 0 {
		t.Error("a commit is to be sent that was not applied")
	}
	want := *ch
	if err := ch.Apply(); err != nil {
		t.Fatal(err)
	}
	a.save()
	a.group = a.restored()
	unsent := a.group.Unsent()
	if len(unsent) != 1 || len(a.group.Outstanding()) != 0 {
		t.Fatalf("%d commits are to be sent, %d outstanding", len(unsent), len(a.group.Outstanding()))
	}
	got := unsent[0]
	if got.Epoch != want.Epoch || got.Sender != want.Sender || !bytes.Equal(got.Commit, want.Commit) ||
		len(got.Welcomes) != 1 || !bytes.Equal(got.Welcomes[0], want.Welcomes[0]) || string(got.Note) != "to joiner" || string(got.AAD) != "aad" {
		t.Errorf("%+v is to be sent", got)
	}
	wantRefusal(t, got.Apply(), Misuse, "14: the change was applied or discarded before")
	got.Discard()
	if err := must[*Received](t)(b.group.Process(got.Commit)).Change.Apply(); err != nil {
		t.Fatal(err)
	}
	joiner.group = must[*Group](t)(Join(joiner.cfg, got.Welcomes[0], JoinOptions{}))
	c.members = append(c.members, joiner)
	c.agree()

	// A crash before the next Save: it is sent once more. After it, not; and that takes a message part.
	a.save()
	got.Sent()
	if n := len(a.restored().Unsent()); n != 1 {
		t.Errorf("%d commits are to be sent after a crash", n)
	}
	got.Sent() // of no effect
	if n := a.save(); n == 0 || n > 200 {
		t.Errorf("that a commit was sent takes %d bytes", n)
	}
	if n := len(a.restored().Unsent()); n != 0 {
		t.Errorf("%d commits are to be sent that were", n)
	}

	// Those that never happen are not kept, nor those that need not be.
	must[*Change](t)(a.group.Commit(CommitOptions{Keep: true})).Discard()
	must[*Change](t)(a.group.Commit(CommitOptions{Keep: true}))
	c.commit(1, CommitOptions{})
	c.commit(0, CommitOptions{})
	c.commit(0, CommitOptions{Keep: true})
	must[*Change](t)(a.group.Commit(CommitOptions{Keep: true}))
	a.restart()
	if n := len(a.group.Unsent()); n != 1 {
		t.Errorf("%d commits are to be sent, want 1", n)
	}
	if late := a.group.Outstanding()[0]; late.Apply() != nil || len(a.group.Unsent()) != 2 {
		t.Errorf("%d commits are to be sent, want the one from before the restart too", len(a.group.Unsent()))
	}
	for len(a.group.Unsent()) < maxUnsent {
		if err := must[*Change](t)(a.group.Commit(CommitOptions{Keep: true})).Apply(); err != nil {
			t.Fatal(err)
		}
	}
	_, err := a.group.Commit(CommitOptions{Keep: true})
	wantRefusal(t, err, Busy, ": commits of this member are kept")
	a.group.Unsent()[0].Sent()
	must[*Change](t)(a.group.Commit(CommitOptions{Keep: true}))
	a.group.Wipe()
	if len(a.group.Unsent()) != 0 {
		t.Error("a wiped group has commits to be sent")
	}
}

// moderating is a group whose first member alone commits, and loses power at some write.
type moderating struct {
	t       *testing.T
	m       *person
	others  []*person
	waiting map[string]*person // who has been invited, by the note of the commit
	saves   int
}

// do lets the moderator do a step until it is done: after a crash it begins again with what it has stored.
func (x *moderating) do(step func(*Group) error) {
	x.t.Helper()
	for range 3 {
		err := step(x.m.group)
		if err == nil {
			return
		}
		if !errors.Is(err, errPower) {
			x.t.Fatal(err)
		}
		x.m.shelf.stop = 0
		x.m.group = x.m.restored()
		x.send()
	}
	x.t.Fatal("a step does not end")
}

// commit is all of it: made, applied, saved once, and sent.
func (x *moderating) commit(note string, p func(*Group) []Proposal) {
	x.t.Helper()
	x.do(func(g *Group) error {
		list := p(g)
		if list == nil {
			return nil // it has happened, before the crash
		}
		c, err := g.Commit(CommitOptions{Proposals: list, Keep: true, Note: []byte(note)})
		if err == nil {
			err = c.Apply()
		}
		x.saves++
		if err == nil {
			err = x.m.shelf.save(g)
		}
		if err == nil {
			x.send()
		}
		return err
	})
}

// send sends all commits that are kept; those who had one before acknowledge it.
func (x *moderating) send() {
	x.t.Helper()
	for _, c := range x.m.group.Unsent() {
		x.others = slices.DeleteFunc(x.others, func(p *person) bool {
			r, err := p.group.Process(c.Commit)
			if errors.Is(err, PastEpoch) {
				return false
			}
			if err == nil {
				err = r.Change.Apply()
			}
			if err != nil {
				x.t.Fatalf("%s: %v", p.name, err)
			}
			return r.Change.SelfRemoved
		})
		if p := x.waiting[string(c.Note)]; p != nil {
			p.group = must[*Group](x.t)(Join(p.cfg, c.Welcomes[0], JoinOptions{}))
			delete(x.waiting, string(c.Note))
			x.others = append(x.others, p)
		}
		c.Sent()
	}
}

func (x *moderating) run() {
	x.t.Helper()
	for i := range 4 {
		name := fmt.Sprint("p", i)
		p := newPerson(x.t, 1, name)
		x.waiting[name] = p
		k := p.keyPackage()
		x.commit(name, func(g *Group) []Proposal {
			if _, there := g.Find(func(_ LeafIndex, l *LeafNode) bool { return string(l.Credential.Identity) == name }); there {
				return nil
			}
			return []Proposal{&Add{k}}
		})
	}
	x.commit("", func(g *Group) []Proposal {
		if g.Member(2) == nil {
			return nil
		}
		return []Proposal{&Remove{2}}
	})
	x.do(func(g *Group) error { return x.m.shelf.save(g) })
}

// A moderator that applies its commits before it sends them, and saves once for each, loses power at any write: nobody
// misses a commit or a welcome, and all agree.
func TestModeratorCrashesAtEveryWrite(t *testing.T) {
	t.Parallel()
	run := func(stop int) *moderating {
		x := &moderating{t: t, m: newPerson(t, 1, "m", kept), waiting: map[string]*person{}}
		x.m.group = must[*Group](t)(Create(x.m.cfg, nil))
		if err := x.m.shelf.save(x.m.group); err != nil {
			t.Fatal(err)
		}
		x.m.shelf.writes, x.m.shelf.stop = 0, stop
		x.run()
		if c := (&crowd{t: t, members: append([]*person{x.m}, x.others...)}); len(c.members) != 4 {
			t.Errorf("write %d: %d members", stop, len(c.members))
		} else {
			c.agree()
		}
		if n := len(x.m.restored().Unsent()); n != 0 {
			t.Errorf("write %d: %d commits are to be sent", stop, n)
		}
		return x
	}
	whole := run(0)
	if whole.saves != 5 {
		t.Errorf("%d saves of 5 commits", whole.saves)
	}
	for stop := 1; stop <= whole.m.shelf.writes; stop++ {
		run(stop)
	}
	t.Logf("%d writes", whole.m.shelf.writes)
}
