package router

import (
	"fmt"
	"testing"

	"github.com/seed31b3bfd0/slimgo/wire"
)

// Many peers that come at once share each turn of their loop, so that its other sockets have theirs.
func TestPeersOfALoopShareItsTurns(t *testing.T) {
	const peers, names = 8, 1000
	r := newRig(t, 1, relaying)
	a := r.dial(0)
	for i := range names {
		a.request(appName(i), 0)
	}
	var ps []*peer
	for i := range peers {
		p := r.dialAs(0, wire.LinkPeer, fmt.Sprint("n", i))
		p.paused = true
		ps = append(ps, p)
	}
	r.settle()
	for i := range names { // all change, for all
		a.stage(unsubscription(a, appName(i)))
	}
	a.feedOnly()
	l := r.loops[0]
	sum := func() (total, least int) {
		least = names
		for _, p := range ps {
			p.paused = false
			for p.read() {
			}
			p.paused = true
			total += len(p.got)
			least = min(least, len(p.got))
		}
		return total, least
	}
	before, _ := sum()
	for turns := 0; l.Woken(); turns++ {
		l.RunTurn()
		total, least := sum()
		if total-before > newsTurn+newsBatch {
			t.Fatalf("turn %d told %d messages, want %d at most", turns, total-before, newsTurn)
		}
		if before = total; turns == 20 && least == 0 {
			t.Error("after twenty turns one peer has heard nothing")
		}
	}
	if want := peers * 2 * names; before != want {
		t.Errorf("%d messages came, want %d", before, want)
	}
}

func unsubscription(p *peer, n wire.NameText) []byte {
	h := header(n, n, 1, "")
	p.sign(h)
	return wire.AppendUnsubscribe(nil, h, 0)
}

// feedOnly gives the node what is staged, and lets no loop run.
func (p *peer) feedOnly() {
	out := append([]byte(nil), p.cli.Control()...)
	p.cli.ControlDone()
	out = append(out, p.out...)
	p.out = p.out[:0]
	p.cli.Cut()
	p.feed(out)
}

// A peer whose queue is never empty hears news as its own messages leave, not when all messages of others have left.
func TestABusyPeerHearsNews(t *testing.T) {
	const names = 3000
	r := newRig(t, 1, Options{RelayPeerPublishes: true, SlowConsumer: Block})
	a, b, p := r.dial(0), r.dial(0), r.dialAs(0, wire.LinkPeer, "n1")
	p.subscribe(appName(0), 5)
	p.hoard = true // gives window back when told to
	h := header(appName(1), appName(0), 1, "")
	fill := func() {
		p.exchange()
		b.exchange()
		b.flood(h, 5000, 1000)
	}
	fill()
	fill()
	c := p.c
	if c.q.n == 0 {
		t.Fatal("nothing waits for the peer")
	}
	for i := range names {
		a.request(appName(10+i), 0)
	}
	if !c.untold {
		t.Fatalf("all news fit: %d bytes wait", c.q.control)
	}
	for given := 0; c.untold || len(c.loop.news.peers) > 0; given++ {
		if given > 1000 {
			t.Fatalf("news wait although %d bytes of them are all that is queued", c.q.control)
		}
		p.relent(64 << 10)
		fill()
		if c.q.n == 0 {
			t.Fatal("the queue was empty but for news")
		}
	}
}
