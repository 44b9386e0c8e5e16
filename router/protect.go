package router

import (
	"cmp"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/seed31b3bfd0/slimgo/internal/auth"
	"github.com/seed31b3bfd0/slimgo/router/transport"
)

// Who has come by a listener with a Guard is known (Conn.who). When what the guard judges by changes, or the guard itself,
// all of them are judged again beside the loops, and those are ended that are no longer allowed. Rules: P-auth-7.
//
//	Changed ──▶ Guard.Turn ──▶ sweep: connections of the listener, a slice in each turn ──▶ Again ──▶ posted: Conn.end
//	                └── who is being judged at that moment is judged once more (transport.judgement)

// Auth is who may open connections by an endpoint.
type Auth struct {
	// Verifier judges each request; nil: anybody may. Whoever has made it closes it, after the listener or a change that has
	// put another one in its place.
	Verifier auth.Verifier
	// Mechanism is what it demands, a word for counters and the audit log.
	Mechanism string
}

// sweepers is how many connections are judged again at the same time.
const sweepers = 4

// Texts with which a connection ends that is no longer allowed. What has changed is for the audit log.
const (
	revokedText   = transport.Unauthenticated + "the credentials of this connection are not accepted any more"
	forbiddenText = "the policy of this endpoint does not allow this connection any more"
)

// protect has requests by l judged as x says from now on. kept: l is listened on already. It is called under listeners.mu.
func (n *Node) protect(l *listener, x *Auth, kept bool, r *Rules) {
	old := l.guard.Load()
	if old == nil && x.Verifier == nil || old != nil && old.Verifier() == x.Verifier {
		return
	}
	var g *auth.Guard
	if x.Verifier != nil {
		g = auth.NewGuard(x.Verifier, auth.GuardOptions{Listener: l.ln.Addr().String(), Mechanism: x.Mechanism,
			Timeout: min(cmp.Or(n.opt.judging, 4*time.Second), r.NegotiationTimeout), Audit: n.opt.Audit, Panicked: n.choreFailed})
	}
	l.guard.Store(g)
	if !kept {
		for _, gate := range l.gates { // nobody has come yet
			gate.SetGuard(g)
		}
	} else {
		for i, gate := range l.gates {
			n.loops[i].post(func() { gate.SetGuard(g) })
		}
	}
	if old != nil { // after the gates have another: what it is about to judge is judged by that
		old.Close()
	}
	if g != nil {
		n.listening.guarding.Go(func() { g.Watch(kept, func() bool { return n.sweep(l, g) }) })
	}
}

// unprotect ends the guards of some listeners.
func unprotect(ls []*listener) {
	for _, l := range ls {
		if g := l.guard.Load(); g != nil {
			g.Close()
		}
	}
}

// protectedConn is a connection that is to be judged again.
type protectedConn struct {
	conn *Conn
	who  *auth.Identity
}

// sweep judges all connections of l again. undecided: nothing can be said about some of them.
func (n *Node) sweep(l *listener, g *auth.Guard) (undecided bool) {
	all, err := n.connectionsOf(l)
	if err != nil || len(all) == 0 {
		return false
	}
	left, why := n.judgeAgain(g, all)
	if left > 0 && n.ending.Err() == nil {
		n.log.Warn("connections cannot be judged by what has changed: they go on, and are judged again", "target", targetService,
			"endpoint", l.ln.Addr().String(), "connections", left, "error", why)
	}
	return left > 0
}

// connectionsOf returns the connections that have come by l and have not ended.
func (n *Node) connectionsOf(l *listener) ([]protectedConn, error) {
	parts := make([][]protectedConn, len(n.loops))
	at := make([]int, len(n.loops))
	for i := range at {
		at[i] = -1
	}
	err := n.ask(n.ending, func(lp *loop) bool {
		i := lp.index
		if at[i] < 0 || at[i] > len(lp.live) { // see enlist
			at[i] = len(lp.live)
		}
		for end := max(0, at[i]-snapshotSlice); at[i] > end; {
			at[i]--
			if c := lp.live[at[i]]; c.state < ending && c.stream.Peer().Gate == l.gates[i] {
				parts[i] = append(parts[i], protectedConn{c, c.who()})
			}
		}
		return at[i] > 0
	})
	if err != nil {
		return nil, err
	}
	var all []protectedConn
	for _, p := range parts {
		all = append(all, p...)
	}
	return all, nil
}

// judgeAgain judges connections, and ends those that are no longer allowed. undecided is of how many nothing can be said,
// why the reason of one.
func (n *Node) judgeAgain(g *auth.Guard, all []protectedConn) (undecided int, why error) {
	next := make(chan protectedConn)
	var mu sync.Mutex
	var workers sync.WaitGroup
	for range min(sweepers, len(all)) {
		workers.Go(func() {
			for x := range next {
				err := g.Again(n.ending, x.who)
				var d *auth.Denied
				switch {
				case err == nil:
				case errors.As(err, &d) && (d.Status == http.StatusUnauthorized || d.Status == http.StatusForbidden):
					x.conn.postFor(func() { x.conn.revoke(d) })
				default:
					mu.Lock()
					undecided++
					why = err
					mu.Unlock()
				}
			}
		})
	}
	for _, x := range all {
		next <- x
	}
	close(next)
	workers.Wait()
	return undecided, why
}

// revoke ends a connection that is no longer allowed.
func (c *Conn) revoke(d *auth.Denied) {
	if c.state >= ending {
		return
	}
	status, text := statusUnauthenticated, revokedText
	if d.Status == http.StatusForbidden {
		status, text = statusPermissionDenied, forbiddenText
	}
	c.because("it is not allowed any more: " + d.Reason)
	c.note(ReasonRevoked, d)
	c.audit(&auth.Event{Act: auth.ActClose, Reason: d.Reason, Status: d.Status})
	c.end(status, text)
}

// audit completes an event with what is known of c, and notes it. On c's loop.
func (c *Conn) audit(e *auth.Event) {
	a := c.loop.node.opt.Audit
	if a == nil {
		return
	}
	p := c.stream.Peer()
	e.Time, e.Peer, e.Listener, e.Conn = time.Now(), p.Remote, p.Endpoint(), c.id
	if e.Kind == "" && c.negotiated { // else it is none yet
		e.Kind = c.kind.String()
	}
	if w := c.who(); w != nil {
		e.Mechanism, e.Subject, e.Issuer = w.Mechanism, w.Subject, w.Issuer
	}
	a.Note(e)
}

// whoAttrs are the fields of a record that say who somebody is; none if that is not known.
func whoAttrs(w *auth.Identity) []any {
	if w == nil {
		return nil
	}
	attrs := []any{slog.String("auth", w.Mechanism), slog.String("identity", cut(w.Subject))}
	if w.Issuer != "" {
		attrs = append(attrs, slog.String("identity_issuer", cut(w.Issuer)))
	}
	return attrs
}

// Guards returns what the guards of the listeners have done, in the order of the endpoints.
func (n *Node) Guards() (all []auth.Tally) {
	for _, l := range n.listening.list() {
		if g := l.guard.Load(); g != nil {
			all = append(all, g.Tally())
		}
	}
	return all
}
