package router

import (
	"strings"
	"time"

	"github.com/seed31b3bfd0/slimgo/wire"
)

// What operators are told beside the counters: who was turned away of late, and which messages reached nobody. A loop
// keeps a few of each, whatever peers do, and nobody is asked about the rest: the counters have it.
const (
	troubleKept = 64 // of either kind, for each loop
	// troubleASecond bounds what is noted of either kind, for each loop: who causes more costs the loop no more.
	troubleASecond = 32
	// watchedFor is how many seconds after a look of an operator messages that die are noted with their names.
	watchedFor = 60
	textKept   = 256 // bytes of a text that peers have a part in
)

// Refusal is a peer, a request or a message that was turned away. Those that follow of the same peer, listener and
// reason are counted; Conn, Remote and Text are of the latest.
type Refusal struct {
	First, Last   time.Time
	Conn          uint64 // 0: it was none yet
	Remote, Agent string // Agent is what the peer says
	Endpoint      string // by which it came; "": this node had dialled it
	Reason        Reason
	Text          string // "": the reason says all. Peers have a part in it
	Count         uint64 // that were noted: of a connection one for each reason
}

// Death is a message that reached nobody. Those of the same connection, name and reason that follow are counted.
type Death struct {
	First, Last  time.Time
	Conn         uint64 // the sender's
	Remote       string
	Reason       Reason
	Name, Source string // as the message has them
	Count        uint64 // that were noted: a few a second

	name wire.Name
}

// trouble is what a loop remembers of that. Owned by it; the zero value is ready.
type trouble struct {
	refusals refusals
	deaths   latest[Death]
	watched  int // seconds for which deaths are noted
	died     int // deaths in this second
}

// tick begins a second.
func (t *trouble) tick() {
	t.died = 0
	t.watched = max(0, t.watched-1)
}

// refused notes that c, or something of it, was turned away.
func (c *Conn) refused(r Reason, err error) {
	p := c.stream.Peer()
	c.loop.trouble.refusals.add(time.Now(), &Refusal{Conn: c.id, Remote: p.Remote, Agent: p.Agent, Endpoint: p.Endpoint(), Reason: r}, err)
}

// died notes a publish of c with header h that reached nobody. It is called while an operator looks.
func (c *Conn) died(r Reason, h []byte, hd *wire.Header) {
	t := &c.loop.trouble
	if t.died++; t.died > troubleASecond {
		return
	}
	now := time.Now()
	for i := range t.deaths.all {
		if d := &t.deaths.all[i]; d.Conn == c.id && d.Reason == r && d.name == hd.Dest.Name {
			d.Last = now
			d.Count++
			return
		}
	}
	t.deaths.add(Death{First: now, Last: now, Conn: c.id, Remote: c.stream.Peer().Remote, Reason: r, Count: 1,
		name: hd.Dest.Name,
		Name: kept(refText(h, &hd.Dest)), Source: kept(refText(h, &hd.Source))})
}

// kept is a text of its own, cut.
func kept(s string) string { return strings.Clone(cut(s)) }

// cut is the beginning of a text, in valid UTF-8: a cut may go through a character, some texts of peers are none, and what is told to
// a control plane with another one cannot be sent.
func cut(s string) string {
	if len(s) > textKept {
		s = s[:textKept] + "…"
	}
	return strings.ToValidUTF8(s, "?")
}

// latest are the last troubleKept of what was added, in no order.
type latest[T any] struct {
	all  []T
	next int // to be replaced, once all is full
}

func (l *latest[T]) add(v T) {
	if len(l.all) < troubleKept {
		l.all = append(l.all, v)
		return
	}
	l.all[l.next] = v
	l.next = (l.next + 1) % troubleKept
}
