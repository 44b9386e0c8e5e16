package mls

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"
)

// delivery is a delivery service: messages in the order that it gave them, and of the commits of an epoch the first.
type delivery struct {
	sent   []letter
	commit map[uint64]bool // epochs that a commit was taken of
	acked  int             // of what is there, as far as the member that crashes has acknowledged it
}

type letter struct {
	from int
	what string // what the sender means by it: said once
	msg  []byte
}

// said reports whether a message was taken, or refused because another commit came first.
func (d *delivery) said(what string) bool {
	return slices.ContainsFunc(d.sent, func(l letter) bool { return l.what == what })
}

// crashing is a group of three of whom the first loses power at some write, and begins again from what it has stored.
// It is written as an application would be: every step can be done again.
type crashing struct {
	t        testing.TB
	others   []*person
	at       []int // how far the others have read
	member   *person
	delivery delivery
	welcome  []byte
	inbox    map[string]string // what is stored to be handed over until it is acknowledged; nil: at most once
	handed   map[string][]string
}

func newCrashing(t testing.TB, cs CipherSuite, stop int, atLeastOnce bool) *crashing {
	t.Helper()
	encrypted := func(c *Config) { c.EncryptHandshake = true }
	c := newCrowd(t, cs, 2, encrypted)
	x := &crashing{t: t, others: c.members, at: make([]int, 2), member: newPerson(t, cs, "crashing", encrypted, kept), handed: map[string][]string{}}
	if atLeastOnce {
		x.inbox = map[string]string{}
	}
	x.welcome = c.commit(0, CommitOptions{Proposals: []Proposal{&Add{x.member.keyPackage()}}}).Welcomes[0]
	x.delivery.commit = map[uint64]bool{}
	x.member.shelf.stop = stop
	return x
}

// power is what happens when it is gone: all that was in memory is.
func (x *crashing) power() {
	x.t.Helper()
	x.member.shelf.stop, x.member.group = 0, nil
	g, err := Restore(x.member.cfg, x.member.shelf.all())
	if errors.Is(err, ErrNotSaved) {
		return
	}
	if err != nil {
		x.t.Fatalf("after %d writes: %v", x.member.shelf.writes, err)
	}
	x.member.group = g
	for id := range x.inbox {
		x.hand(id, x.inbox[id])
	}
	clear(x.inbox) // the application acknowledges all of it
}

// do does a step until it is done.
func (x *crashing) do(step func() error) {
	x.t.Helper()
	for range 3 {
		err := x.join()
		if err == nil {
			err = step()
		}
		switch {
		case err == nil:
			return
		case errors.Is(err, errPower):
			x.power()
		default:
			x.t.Fatalf("after %d writes: %v", x.member.shelf.writes, err)
		}
	}
	x.t.Fatal("a step does not end")
}

// join joins the group unless the member is in it.
func (x *crashing) join() error {
	if x.member.group != nil {
		return nil
	}
	g, err := Join(x.member.cfg, x.welcome, JoinOptions{})
	if err != nil {
		return err
	}
	if err := x.member.shelf.save(g); err != nil {
		return err
	}
	x.member.group = g
	return nil
}

// say makes a message, saves, and sends it.
func (x *crashing) say(what string, make func(*Group) ([]byte, error)) {
	x.t.Helper()
	x.do(func() error {
		if x.delivery.said(what) {
			return nil
		}
		msg, err := make(x.member.group)
		if err != nil {
			return err
		}
		if err := x.member.shelf.save(x.member.group); err != nil {
			return err
		}
		x.take(letter{2, what, msg})
		return nil
	})
}

// take is how the delivery service takes a message: a second commit of an epoch is refused.
func (x *crashing) take(l letter) {
	m := parse(x.t, l.msg)
	if m.Content == ContentCommit {
		if x.delivery.commit[m.Epoch] {
			return
		}
		x.delivery.commit[m.Epoch] = true
	}
	x.delivery.sent = append(x.delivery.sent, l)
}

// commit commits and sends the commit, that of before a crash if there is one.
func (x *crashing) commit(what string, beaten bool) {
	x.t.Helper()
	x.do(func() error {
		if x.delivery.said(what) {
			return nil
		}
		g := x.member.group
		if out := g.Outstanding(); len(out) == 0 {
			if _, err := g.Commit(CommitOptions{}); err != nil {
				return err
			}
		}
		if err := x.member.shelf.save(g); err != nil {
			return err
		}
		if beaten {
			x.other(0, "their commit instead of "+what, func(g *Group) ([]byte, error) { return g.commitAndApply() })
		}
		x.take(letter{2, what, g.Outstanding()[0].Commit})
		return nil
	})
}

// commitAndApply is a commit of a member that the delivery service will take.
func (g *Group) commitAndApply() ([]byte, error) {
	c, err := g.Commit(CommitOptions{})
	if err != nil {
		return nil, err
	}
	return c.Commit, c.Apply()
}

// other lets one of the others say something, after it has read all.
func (x *crashing) other(i int, what string, make func(*Group) ([]byte, error)) {
	x.t.Helper()
	if x.delivery.said(what) {
		return
	}
	x.catchUp()
	x.take(letter{i, what, must[[]byte](x.t)(make(x.others[i].group))})
	x.at[i]++ // its own it does not read
	x.catchUp()
}

// catchUp lets the others read all.
func (x *crashing) catchUp() {
	x.t.Helper()
	for i, p := range x.others {
		for ; x.at[i] < len(x.delivery.sent); x.at[i]++ {
			l := x.delivery.sent[x.at[i]]
			if l.from == i {
				continue
			}
			r, err := p.group.Process(l.msg)
			if err != nil {
				x.t.Fatalf("%s, %q: %v", p.name, l.what, err)
			}
			if r.Change != nil {
				if err := r.Change.Apply(); err != nil {
					x.t.Fatal(err)
				}
			}
		}
	}
}

// receive reads what has come, and acknowledges each message when it is saved.
func (x *crashing) receive() {
	x.t.Helper()
	x.do(func() error {
		for x.delivery.acked < len(x.delivery.sent) {
			if err := x.receiveOne(x.delivery.sent[x.delivery.acked].msg); err != nil {
				return err
			}
			x.delivery.acked++
		}
		return nil
	})
}

func (x *crashing) receiveOne(msg []byte) error {
	g, shelf := x.member.group, &x.member.shelf
	r, err := g.Process(msg)
	switch KindOf(err) {
	case 0:
	case Replayed, PastEpoch: // it was saved before, and not acknowledged
		return nil
	case Own:
		for _, c := range g.Outstanding() {
			if bytes.Equal(c.Commit, msg) {
				if err := c.Apply(); err != nil {
					return err
				}
			}
		}
		return shelf.save(g)
	default:
		return err
	}
	if r.Change != nil {
		if err := r.Change.Apply(); err != nil {
			return err
		}
	}
	id := fmt.Sprintf("%d/%d/%d", r.Epoch, r.Sender.Leaf, r.Generation)
	if r.Content == ContentApplication && x.inbox != nil { // before the state, or with it
		if err := shelf.write(func() { x.inbox[id] = string(r.Application) }); err != nil {
			return err
		}
	}
	if err := shelf.save(g); err != nil {
		return err
	}
	if r.Content != ContentApplication {
		return nil
	}
	x.hand(id, string(r.Application))
	if x.inbox == nil {
		return nil
	}
	return shelf.write(func() { delete(x.inbox, id) })
}

func (x *crashing) hand(id, text string) { x.handed[id] = append(x.handed[id], text) }

func text(s string) func(*Group) ([]byte, error) {
	return func(g *Group) ([]byte, error) { return g.Protect(nil, []byte(s), nil) }
}

// run is a history with all that is saved.
func (x *crashing) run() {
	x.say("mine 1", text("mine 1"))
	x.say("mine 2", text("mine 2"))
	x.other(0, "theirs 1", text("theirs 1"))
	x.other(1, "theirs 2", text("theirs 2"))
	x.receive()
	x.other(0, "an update", func(g *Group) ([]byte, error) { return g.ProposeUpdate(Identity{}, nil) })
	x.receive()
	x.say("my update", func(g *Group) ([]byte, error) { return g.ProposeUpdate(Identity{}, nil) })
	x.other(1, "their commit", func(g *Group) ([]byte, error) { return g.commitAndApply() })
	x.receive()
	x.say("mine 3", text("mine 3"))
	x.commit("my commit", false)
	x.other(0, "theirs 3", func(g *Group) ([]byte, error) { return g.Protect(nil, []byte("theirs 3"), nil) })
	x.receive()
	x.commit("my commit that comes second", true)
	x.receive()
	x.say("mine 4", text("mine 4"))
	x.commit("my second commit", false)
	x.receive()
	x.other(0, "theirs 4", text("theirs 4"))
	x.receive()
	x.say("mine 5", text("mine 5"))
	x.catchUp()
}

// check checks what must hold whenever the power was gone.
func (x *crashing) check(stop int) {
	x.t.Helper()
	c := &crowd{t: x.t, members: []*person{x.member, x.others[0], x.others[1]}}
	c.agree()
	if got, err := x.member.cfg.KeyPackages.Get(x.used()); got != nil || err != nil {
		x.t.Errorf("write %d: the key package is left", stop)
	}
	restored := x.member.restored()
	if n := len(restored.Outstanding()); n != 0 {
		x.t.Errorf("write %d: %d commits are outstanding", stop, n)
	}
	for i := range 4 {
		want := fmt.Sprintf("theirs %d", i+1)
		times := 0
		for id, texts := range x.handed {
			for _, got := range texts {
				if got != texts[0] {
					x.t.Errorf("write %d: %s is %q and %q", stop, id, texts[0], got)
				}
				if got == want {
					times++
				}
			}
		}
		if x.inbox == nil && times > 1 || x.inbox != nil && times < 1 || stop == 0 && times != 1 {
			x.t.Errorf("write %d: %q was handed over %d times", stop, want, times)
		}
	}
	if len(x.handed) > 4 || len(x.inbox) > 0 {
		x.t.Errorf("write %d: handed over %q, in the inbox %q", stop, x.handed, x.inbox)
	}
}

// used is the reference of the key package that the member was added by.
func (x *crashing) used() []byte { return parse(x.t, x.welcome).welcome.secrets[0].newMember }

// checkSent checks that no key was used for two messages that were sent: generations of a sender are sent once. The
// others have read all messages, so each was of a key that was not used before; commits, whose keys stay until their
// epoch is over, are looked at here.
func (x *crashing) checkSent(stop int) {
	x.t.Helper()
	seen := map[string]string{}
	for _, l := range x.delivery.sent {
		p := parse(x.t, l.msg).private
		k := must[*epochKeys](x.t)(x.others[1].group.keysOf(p.epoch))
		d, err := k.openSenderData(x.others[1].group.suite, p, new(scratch))
		if err != nil {
			x.t.Fatal(err)
		}
		id := fmt.Sprintf("%d/%d/%v/%d", p.epoch, d.leaf, p.kind == ContentApplication, d.generation)
		if seen[id] != "" {
			x.t.Errorf("write %d: %q and %q have the same key", stop, seen[id], l.what)
		}
		seen[id] = l.what
	}
	if len(seen) < 15 {
		x.t.Errorf("write %d: only %d messages were sent", stop, len(seen))
	}
}

// A member loses power at every write of a history. It agrees with the others then, has sent nothing under a key that
// was used, and has handed over what it received as often as it chose.
func TestCrashAtEveryWrite(t *testing.T) {
	for name, atLeastOnce := range map[string]bool{"at most once": false, "at least once": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			whole := newCrashing(t, 1, 0, atLeastOnce)
			for _, p := range whole.others {
				p.cfg.PastEpochs = 10
			}
			whole.run()
			whole.check(0)
			whole.checkSent(0)
			writes := whole.member.shelf.writes
			t.Logf("%d writes", writes)
			if writes < 40 {
				t.Errorf("only %d writes", writes)
			}
			every := 6
			if long && !slower {
				every = 1
			}
			for stop := 1; stop <= writes; stop += every {
				x := newCrashing(t, 1, stop, atLeastOnce)
				for _, p := range x.others {
					p.cfg.PastEpochs = 10
				}
				x.run()
				x.check(stop)
				x.checkSent(stop)
			}
		})
	}
}
