package transport

import (
	"github.com/seed31b3bfd0/slimgo/pool"
	"github.com/seed31b3bfd0/slimgo/wire/h2"
)

// Memory for messages that have not arrived whole is bounded for all sockets of the node (Options.Unfinished). Who asks
// for some when there is none left may be honest and new: the socket that holds most loses a stream. Rules: P-lim-9.

// count brings up to date what the group knows of the socket's memory.
func (k *socket) count() {
	if n := k.h2.UnfinishedBytes() + k.waiting; n != k.unfinished {
		k.setUnfinished(n)
	}
}

// lend returns memory of n bytes for a message that does not lie in one read, with have in it, which was in old until
// now; nil: there is none.
func (k *carrier) lend(n int, have []byte, old *pool.Buf) *pool.Buf {
	mine := k.unfinished + n
	if old != nil {
		mine -= cap(old.B) // which it takes the place of
	}
	if k.starved = k.group.unfinished.Over(n) > 0 && !k.group.makesRoom(n, mine); k.starved {
		return nil
	}
	b := k.net.Loop().Stock().Get(n)
	b.B = append(b.B, have...)
	return b
}

func (k *carrier) setUnfinished(n int) {
	g := k.group
	g.unfinished.Add(n - k.unfinished)
	g.unfinished.Rank(&k.holder, n)
	k.unfinished = n
}

// forget takes what the socket kept off the group's sum.
func (k *carrier) forget() { k.setUnfinished(0) }

// overshoot is the part of Options.Unfinished by which sockets may exceed it while another loop makes room.
const overshoot = 8

// makesRoom reports whether k may take n bytes more, which make it a holder of mine. While there are too few, whoever
// holds more loses a stream; if that is on another loop, k may exceed the limit by a little until that has happened.
func (g *Group) makesRoom(n, mine int) bool {
	for g.unfinished.Over(n) > 0 {
		h, elsewhere := g.unfinished.Larger(mine)
		switch {
		case elsewhere:
			return g.unfinished.Over(n) <= g.opt.Unfinished.Limit()/overshoot
		case h == nil:
			return false
		}
		g.shed(h.Owner.(member))
	}
	return true
}

// relieve makes room because another loop has asked for it.
func (g *Group) relieve() {
	g.unfinished.Asked()
	for {
		h, _ := g.unfinished.Larger(0)
		if h == nil {
			return
		}
		if g.shed(h.Owner.(member)); g.unfinished.Over(0) <= 0 {
			return
		}
	}
}

// shed takes memory away from m, which is not being read.
func (g *Group) shed(m member) {
	k := m.shared()
	before := k.unfinished
	g.serve(m, member.shed)
	if k.unfinished >= before { // it is closed at the end of the batch
		k.forget()
	}
}

// shed implements member: it ends the stream whose message was begun first, or the socket if its memory is no
// message's.
func (k *socket) shed() {
	hs, _ := k.h2.OldestMessage()
	if hs == nil {
		k.refuse(FaultUnfinished, nil)
		k.h2.GoAwayNow(h2.EnhanceYourCalm, "no memory for what is not complete", false)
		k.net.Flush()
		k.net.Close()
		return
	}
	k.endMessage(hs, FaultMemory)
	k.count()
}

// endMessage ends the stream hs, whose message is not complete.
func (k *socket) endMessage(hs *h2.Stream, f Fault) {
	if s, ok := hs.User.(*stream); ok {
		s.receiver.Broken(f)
		s.dropGather()
	}
	if again, _ := k.h2.OldestMessage(); again == hs { // nobody has ended it
		k.h2.Reset(hs, h2.EnhanceYourCalm)
	}
	k.net.MarkDirty()
}
