package router

import (
	"fmt"
	"log/slog"
	"slices"

	"github.com/seed31b3bfd0/slimgo/internal/auth"
	"github.com/seed31b3bfd0/slimgo/internal/auth/rules"
	"github.com/seed31b3bfd0/slimgo/router/hop"
	"github.com/seed31b3bfd0/slimgo/router/table"
	"github.com/seed31b3bfd0/slimgo/wire"
)

// Which names a connection may use (P-rule), if the node has Rules.Authorization:
//
//	Link ──▶ rights found beside the loops ──▶ its kind allowed? ──▶ Conn.permit
//	Subscribe ──▶ allowed? ──▶ table                   no: an acknowledgement that says so
//	publish ──▶ header known to be allowed? ──▶ on     no: decisions of the connection ──▶ Rights ──▶ dropped, counted
//	new rules ──▶ all of it again (permitreview.go)

// permit is what a connection may do. Owned by its loop.
type permit struct {
	rights    *rules.Rights
	stamp     uint32 // of loop.stamp: what was found out under another one is judged again
	decisions decisions

	source  wire.Name // if sourced: the latest that is allowed; most connections have one
	sourced bool
}

// denial is why something is not allowed; its text is told to who has asked.
type denial struct{ text string }

func (e *denial) Error() string { return e.text }

// identity is whom rules mean by c; nil: somebody who has shown nothing.
func (c *Conn) identity() *auth.Identity {
	if c.dialed != nil {
		return &auth.Identity{Mechanism: rules.Dialed, Subject: c.dialed.dialer.link.Endpoint}
	}
	return c.who()
}

// judged reports whether c has to keep to a set of rules. Apps in the process have not, nor links that the node has opened,
// unless the set says otherwise.
func (c *Conn) judged(s *rules.Set) bool {
	return s != nil && c.kind != table.Local && (c.dialed == nil || s.JudgesDialed())
}

// arm gives c the rights that the rules of now give it, nil for all rights.
func (c *Conn) arm(r *rules.Rights) {
	if r == nil {
		c.permit = nil
		return
	}
	c.permit = &permit{rights: r, stamp: c.loop.stamp}
}

// ranking is what a claim waits for: the rights of who makes it.
type ranking struct {
	set    *rules.Set // nil: none was asked
	rights *rules.Rights
}

// rank reports whether the claim of c has its rights, and otherwise has them found beside the loops, which decides about the
// claim after that.
func (c *Conn) rank(p *pending) (done bool) {
	l := c.loop
	set := l.rules.Authorization
	if p.ranking.set == set {
		return true
	}
	p.ranking = ranking{set: set}
	if set == nil {
		return true
	}
	if c.state != claimed {
		p.answer = slices.Clone(p.answer) // which was the loop's
		c.state = claimed
	}
	c.pending = p
	who := c.who()
	l.node.chores.add(func() bool {
		rights := set.For(who)
		c.postFor(func() {
			if c.pending == p && c.state == claimed {
				c.pending = nil
				p.ranking.rights = rights
				c.decide(p, nil)
			}
		})
		return false
	})
	return false
}

// permitKind judges whether c may be of the kind that it claims, and gives it its rights.
func (c *Conn) permitKind(p *pending) error {
	r := p.ranking.rights
	ok := r.MayClaim(p.claim.kind)
	if !ok {
		return &refusal{fmt.Sprintf("not allowed to be a connection of kind %v", p.claim.kind)}
	}
	if r != nil {
		c.decided(true, &auth.Event{Act: auth.ActClaim, Kind: p.claim.kind.String()})
	}
	c.arm(r)
	return nil
}

// permitSubscribe judges a Subscribe to dest, whose strings lie in the header h.
func (c *Conn) permitSubscribe(h []byte, dest *wire.NameRef) error {
	p := c.permit
	if p == nil {
		return nil
	}
	ok, fresh := p.may(rules.Subscribe, &dest.Name)
	if ok && !fresh {
		return nil
	}
	name := kept(refText(h, dest))
	e := &auth.Event{Act: auth.ActSubscribe, Name: name}
	if ok {
		c.decided(true, e)
		return nil
	}
	e.Reason = p.rights.Why(rules.Subscribe)
	err := &denial{"not allowed to subscribe to " + name}
	if c.logged.first(ReasonDenied) {
		c.refused(ReasonDenied, err)
		c.say(slog.LevelWarn, logTopic(ReasonDenied), "subscription refused", "reason", ReasonDenied.String(), "name", name,
			"why", e.Reason)
	}
	c.loop.n.refuse(ReasonDenied)
	c.decided(false, e)
	return err
}

// permits reports whether a publish with the names of k may go on. A header whose names were allowed is known to be.
func (p *permit) permits(k *hop.Known) bool { return k.Memo == p.stamp }

// permitPublish judges the names of k, and drops the message if they are not allowed.
func (c *Conn) permitPublish(k *hop.Known) bool {
	p := c.permit
	to, from, fresh := p.mayPublish(&k.Dest.Name, &k.Source.Name)
	if to && from {
		k.Memo = p.stamp
		if fresh {
			c.auditPublish(k, true, "")
		}
		return true
	}
	if c.logged.first(ReasonDenied) {
		why := c.whyNot(to)
		err := &denial{fmt.Sprintf("publish from %s to %s: %s", kept(refText(k.Raw(), &k.Source)), kept(refText(k.Raw(), &k.Dest)), why)}
		c.refused(ReasonDenied, err)
		c.say(slog.LevelWarn, logTopic(ReasonDenied), "message dropped", "reason", ReasonDenied.String(),
			"name", kept(refText(k.Raw(), &k.Dest)), "source", kept(refText(k.Raw(), &k.Source)), "why", why)
	}
	c.drop(ReasonDenied)
	c.logDeath(ReasonDenied, k.Raw(), &k.Header.Header)
	c.auditPublish(k, false, c.whyNot(to))
	return false
}

// whyNot says why a publish is not allowed; to: its destination is.
func (c *Conn) whyNot(to bool) string {
	if to {
		return "its source is " + c.permit.rights.Why(rules.From)
	}
	return "its destination is " + c.permit.rights.Why(rules.Publish)
}

func (c *Conn) auditPublish(k *hop.Known, ok bool, why string) {
	if c.loop.audits.of(ok).full() || c.loop.node.opt.Audit == nil {
		c.decided(ok, nil)
		return
	}
	c.decided(ok, &auth.Event{Act: auth.ActPublish, Name: kept(refText(k.Raw(), &k.Dest)), Source: kept(refText(k.Raw(), &k.Source)), Reason: why})
}

// auditsASecond bounds, for each loop, how many decisions of each kind are written down in a second: who asks for more
// costs no more. Of the others the number is.
const auditsASecond = 32

// audits are the decisions of a loop that were written down, or not. Owned by it.
type audits struct{ denied, allowed auditCount }

type auditCount struct {
	done int    // in this second
	left uint64 // not written down since the last that was
}

func (a *audits) of(ok bool) *auditCount {
	if ok {
		return &a.allowed
	}
	return &a.denied
}

func (a *audits) tick() { a.denied.done, a.allowed.done = 0, 0 }

// full reports whether no more are written down in this second.
func (a *auditCount) full() bool { return a.done >= auditsASecond }

// decided writes a decision about c down, or counts it: e says what was decided, nil that there is no room for it.
func (c *Conn) decided(ok bool, e *auth.Event) {
	l := c.loop
	if l.node.opt.Audit == nil {
		return
	}
	a := l.audits.of(ok)
	if e == nil || a.full() {
		a.left++
		return
	}
	a.done++
	if left := a.left; left > 0 {
		a.left = 0
		if e.Reason != "" {
			e.Reason += "; "
		}
		e.Reason += fmt.Sprintf("%d more like this, of any connection, were not written down", left)
	}
	e.Allowed, e.Mechanism = ok, rules.Anonymous
	if who := c.identity(); who != nil {
		e.Mechanism, e.Subject, e.Issuer = who.Mechanism, who.Subject, who.Issuer
	}
	c.audit(e)
}
