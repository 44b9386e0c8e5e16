package router

import "time"

// peerAckDelay is what an acknowledgement to a peer waits: an upstream node begins to listen for it only some time
// after it has sent, loses what is faster, and then makes its application wait 5 s (P-def-4).
const peerAckDelay = 20 * time.Millisecond

// lateTurn is how many acknowledgements of one peer are sent before others have their turn.
const lateTurn = 256

// lateAcks are acknowledgements to one peer that are not due yet, in order. The zero value is empty.
type lateAcks struct {
	acks []lateAck // acks[:sent] have left
	sent int
}

type lateAck struct {
	id   uint64
	err  error
	last bool // of an Unsubscribe
	due  time.Time
}

// push reports whether it is the only one.
func (l *lateAcks) push(a lateAck) (only bool) {
	l.acks = append(l.acks, a)
	return len(l.acks)-l.sent == 1
}

// pop takes the first one if it is due.
func (l *lateAcks) pop(now time.Time) (a lateAck, ok bool) {
	if l.sent == len(l.acks) || l.acks[l.sent].due.After(now) {
		return a, false
	}
	a, l.acks[l.sent] = l.acks[l.sent], lateAck{}
	if l.sent++; l.sent == len(l.acks) {
		*l = lateAcks{}
	} else if l.sent >= 4*lateTurn && l.sent > len(l.acks)/2 {
		l.acks = append([]lateAck(nil), l.acks[l.sent:]...)
		l.sent = 0
	}
	return a, true
}

// wait is how long the first one has to wait; false if there is none.
func (l *lateAcks) wait(now time.Time) (time.Duration, bool) {
	if l.sent == len(l.acks) {
		return 0, false
	}
	return l.acks[l.sent].due.Sub(now), true
}

// acknowledgePeer is acknowledge, a little later.
func (c *Conn) acknowledgePeer(id uint64, err error, last bool) {
	d := c.loop.node.peers.ackDelay
	if d == 0 {
		c.acknowledge(id, err, last)
		return
	}
	if c.late == nil {
		c.late = new(lateAcks)
	}
	if c.late.push(lateAck{id, err, last, time.Now().Add(d)}) {
		c.armLate(d)
	}
}

func (c *Conn) armLate(d time.Duration) {
	time.AfterFunc(d, func() { c.postFor(c.sendLate) })
}

// sendLate sends the acknowledgements that are due, or a turn's worth of them.
func (c *Conn) sendLate() {
	now := time.Now()
	for range lateTurn {
		a, ok := c.late.pop(now)
		if !ok {
			break
		}
		if c.state == active {
			c.acknowledge(a.id, a.err, a.last)
		}
	}
	if d, ok := c.late.wait(now); ok {
		c.armLate(d)
	}
}
