package mls

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// A clock that jumps at every look, by hours and by years, back and forth, delays who comes and harms nobody: what is refused
// leaves the group as it was, what one member takes all take, and when the clock is right again all goes on.
func TestClocksThatJump(t *testing.T) {
	t.Parallel()
	const year = 365 * 24 * time.Hour
	jumps := []time.Duration{0, 0, time.Hour, -time.Hour, 26 * time.Hour, -26 * time.Hour, year, -year, 30 * year, -30 * year, 250 * year, -250 * year}
	seeds := uint64(3)
	if long {
		seeds = 8
	}
	for seed := range seeds {
		rng, wrong := rand.New(rand.NewPCG(seed, 0)), false
		clock := func(c *Config) {
			kept(c)
			c.EncryptHandshake = seed%2 == 0
			c.Now = func() time.Time {
				if !wrong {
					return testTime
				}
				return testTime.Add(jumps[rng.IntN(len(jumps))])
			}
		}
		c := newCrowd(t, 1, 3, clock)
		came, refused, said := 0, 0, 0
		// try does what may be refused for the time alone.
		try := func(g *Group, f func() error) bool {
			t.Helper()
			before := g.appendState(nil)
			err := f()
			if err == nil {
				return true
			}
			refused++
			if kind := KindOf(err); kind != Invalid && kind != Misuse {
				t.Fatalf("seed %d: %v (%v)", seed, err, kind)
			}
			if !bytes.Equal(before, g.appendState(nil)) {
				t.Fatalf("seed %d: %v, and the group has changed", seed, err)
			}
			return false
		}
		for step := range 60 {
			wrong = true
			i := rng.IntN(len(c.members))
			g := c.members[i].group
			switch rng.IntN(4) {
			case 0: // a proposal that waits, and whose time may be over when it is committed
				var k *KeyPackage
				p := newPerson(t, 1, fmt.Sprint("waiting ", step), clock)
				if !try(g, func() (err error) { k, err = p.cfg.NewKeyPackage(); return err }) {
					break
				}
				var msg []byte
				if try(g, func() (err error) { msg, err = g.Propose(&Add{k}, nil); return err }) {
					for _, o := range c.members {
						if o.group != g {
							try(o.group, func() error { _, err := o.group.Process(msg); return err })
						}
					}
				}
			case 1:
				msg := must[[]byte](t)(g.ProposeUpdate(Identity{}, nil))
				c.tell(i, msg)
			default: // somebody comes, with all that waits
				p := newPerson(t, 1, fmt.Sprint("m", 3+step), clock)
				var k *KeyPackage
				if !try(g, func() (err error) { k, err = p.cfg.NewKeyPackage(); return err }) {
					break
				}
				var ch *Change
				if !try(g, func() (err error) { ch, err = g.Commit(CommitOptions{Proposals: []Proposal{&Add{k}}}); return err }) {
					break
				}
				for _, o := range c.members { // who follows does not ask what time it is
					if o.group != g {
						if err := must[*Received](t)(o.group.Process(ch.Commit)).Change.Apply(); err != nil {
							t.Fatal(err)
						}
					}
				}
				if err := ch.Apply(); err != nil {
					t.Fatal(err)
				}
				joined, err := Join(p.cfg, ch.Welcomes[len(ch.Welcomes)-1], JoinOptions{})
				if err != nil {
					t.Fatalf("seed %d: %v", seed, err)
				}
				p.group = joined
				came++
				c.members = append(c.members, p)
			}
			wrong = true
			if msg, err := g.Protect(nil, []byte("text"), nil); err == nil && g.Active() { // else proposals wait
				for _, o := range c.members {
					if o.group != g {
						must[*Received](t)(o.group.Process(msg))
						said++
					}
				}
			} else if KindOf(err) != CommitDue {
				t.Fatalf("seed %d: %v", seed, err)
			}
			for _, o := range c.members {
				o.save()
				o.group = o.restored()
			}
			if len(c.members) > 6 { // somebody leaves
				wrong = false
				for _, o := range c.members {
					o.group.DropPending()
				}
				c.commit(0, CommitOptions{Proposals: []Proposal{&Remove{c.members[len(c.members)-1].group.Own()}}})
			}
		}
		wrong = false
		for _, o := range c.members {
			o.group.DropPending()
		}
		c.commit(0, CommitOptions{})
		c.agree()
		if came == 0 || refused == 0 || said == 0 {
			t.Errorf("seed %d: %d came, %d times something was refused, and %d messages were read", seed, came, refused, said)
		}
	}
}
