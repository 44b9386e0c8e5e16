package router

import (
	"github.com/seed31b3bfd0/slimgo/router/mesh"
	"github.com/seed31b3bfd0/slimgo/wire"
)

const (
	newsBatch   = 64      // messages taken from the mesh at once
	newsTurn    = 256     // messages for all peers of a loop before sockets have their turn
	newsBacklog = 1 << 19 // memory, in bytes, of the node's own messages that may wait for a peer before more are made
)

// news are the peers of one loop for whom the mesh has something, in turn. Owned by the loop.
type news struct {
	peers  []*Conn
	posted bool // tellNews will run
}

// hasNews puts c among those who are to be told something. It is there once at most: the mesh calls for it again only
// when all was taken, and c.untold says that it waits for room instead.
func (c *Conn) hasNews() {
	c.untold = false
	l := c.loop
	l.news.peers = append(l.news.peers, c)
	l.postNews()
}

func (l *loop) postNews() {
	if !l.news.posted {
		l.news.posted = true
		l.post(l.tellNews)
	}
}

// tellNews tells peers in turn what the mesh has for them, for one turn of the loop.
func (l *loop) tellNews() {
	w := &l.news
	w.posted = false
	for left := newsTurn; left > 0 && len(w.peers) > 0; {
		c := w.peers[0]
		w.peers[0] = nil
		w.peers = w.peers[1:]
		told, more := c.tell()
		left -= max(told, newsBatch/8) // to look costs, too
		if more {
			w.peers = append(w.peers, c)
		}
	}
	if len(w.peers) > 0 {
		l.postNews()
	} else {
		w.peers = nil
	}
}

// tell sends a peer a batch of what the mesh has for it, and reports whether it is to be called again.
func (c *Conn) tell() (told int, more bool) {
	defer c.guard()
	if c.state != active {
		return 0, false
	}
	if c.q.control > newsBacklog {
		c.untold = true // until there is room again
		return 0, false
	}
	var batch [newsBatch]mesh.Tell
	m := c.loop.node.peers.mesh.Load()
	ts, more := m.Next(c, batch[:0])
	for i := range ts {
		c.sendTell(&ts[i])
	}
	if !more {
		m.Synced(c, c.age())
	}
	return len(ts), more
}

// sendTell sends one Subscribe or Unsubscribe of the node's own (P-peer-2).
func (c *Conn) sendTell(t *mesh.Tell) {
	l := c.loop
	c.logTold(t)
	h := wire.PublishHeader{Source: t.Name, Dest: t.Name, Fanout: 1, TTL: t.TTL, Version: l.node.opt.Version}
	if t.Withdraw {
		l.small = wire.AppendUnsubscribe(l.small[:0], &h, t.ID)
	} else {
		l.small = wire.AppendSubscribe(l.small[:0], &h, t.ID)
	}
	c.sendOwn(l.small, false)
}
