package router

import (
	"math"
	"sync/atomic"
	"time"

	"github.com/seed31b3bfd0/slimgo/router/transport"
)

// A receiver that takes little more than the floor is not stalled, but everybody who gets the same messages waits for
// it, and whoever else their senders send to. For that it has a time. Rules: P-press-5.

const (
	// healthy times the floor's rate is what a receiver has to take to keep others waiting without limit.
	healthy = 4
	// regain is by how much slower a receiver gets its time back while nobody waits for it than it uses it up: one that
	// holds its group up again and again does so for a twentieth of the time.
	regain = 20
)

// others says whether a sender that waits for one receiver has others that could take more.
type others uint8

const (
	othersUnknown others = iota // it sent nothing since the last look: as before
	othersQueue                 // what it sent had to be queued
	othersWait                  // another receiver took something at once
)

// holding is for how long others have waited for a receiver, less the time in which it would have taken at a healthy
// rate what it took.
type holding struct {
	short  transport.Shortfall // against the healthy rate
	others others              // the last that was known
}

// healthyRate is the healthy rate over a floor's, bytes a second.
func healthyRate(rate int) int { return healthy * min(rate, math.MaxInt/healthy) }

// start begins a watch after idle, a time in which nobody waited for the receiver. rate is the floor's.
func (h *holding) start(idle time.Duration, rate int) {
	h.others = othersUnknown
	h.short.Relax(idle/regain, healthyRate(rate))
}

// look lets dt pass, in which the receiver took n bytes, and reports whether others have waited for as long as limit.
// rate is the floor's.
func (h *holding) look(dt time.Duration, n uint64, o others, rate int, limit time.Duration) bool {
	if o != othersUnknown {
		h.others = o
	}
	rate = healthyRate(rate)
	h.short.Pay(n)
	if h.others == othersWait {
		h.short.Demand(dt, rate)
	} else {
		h.short.Relax(dt, rate)
	}
	return float64(h.short) >= float64(rate)*limit.Seconds()
}

// service is what receivers that a sender waits for ask of the sender: does it serve others meanwhile? Safe for all
// loops.
type service struct {
	asked  atomic.Bool   // the next message that a receiver takes at once is to be noted
	served atomic.Uint32 // how often that was the case
}

// note is called when a receiver has taken a message at once, if asked says that someone wants to know.
func (s *service) note() {
	s.asked.Store(false)
	s.served.Add(1)
}

// inquiry is the receiver's side: one of the senders that wait stands for all from look to look.
type inquiry struct {
	newest  *Conn  // sender of the latest message that its sender waits for
	witness *Conn  // newest at the last look
	served  uint32 // by witness, at the last look
	waits   bool   // witness waits for another message since then
}

// charged notes that c waits for one more message.
func (i *inquiry) charged(c *Conn) {
	i.newest = c
	i.waits = i.waits || c == i.witness
}

// ask returns what the sender that was asked at the last look did since then, and asks one anew.
func (i *inquiry) ask() (o others) {
	if i.witness != nil {
		switch {
		case i.witness.service.served.Load() != i.served:
			o = othersWait
		case i.waits:
			o = othersQueue
		}
	}
	i.witness, i.waits = i.newest, false
	if i.witness != nil {
		i.served = i.witness.service.served.Load()
		i.witness.service.asked.Store(true)
	}
	return o
}
