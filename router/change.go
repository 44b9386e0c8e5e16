package router

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/seed31b3bfd0/slimgo/internal/auth/rules"
	"github.com/seed31b3bfd0/slimgo/router/netloop"
)

// What of a node can change while it runs: where it listens, and Rules. A change is prepared, which opens what is new and
// can fail, and then committed, which cannot: a node is as it was, or as it shall be.
//
//	Prepare: endpoints parsed, new listeners opened ──▶ Commit: kept ones changed, new ones accept, removed ones drained
//	    └── an error: everything that was opened is closed ◀── Abandon

// Endpoint is something to listen on.
type Endpoint struct {
	Addr   string      // as in Options.Listen
	Limits Limits      // what it leaves out is as for all
	TLS    *tls.Config // as in Options.TLS; nil: none
	Auth   Auth        // as in Options.Auth
}

// Rules are what loops obey and can change while the node runs. Who has negotiated is not asked again, but for Authorization.
type Rules struct {
	SlowConsumer              Policy
	AllowUnsigned, EnforcePQC bool
	NegotiationTimeout        time.Duration // 0: 5 s
	// Authorization is as in Options. With another one than before all connections are judged again, beside the loops: what is
	// not allowed any more is taken back, and what is goes on undisturbed. Rules: P-rule-8.
	Authorization *rules.Set
}

// Setup is all of a node that can change.
type Setup struct {
	Endpoints []Endpoint
	Rules     Rules
	// Drain is how long those may take to end who have come by an endpoint that is removed; 0: 10 s.
	Drain time.Duration
}

const defaultDrain = 10 * time.Second

// setup is what a node begins with.
func (o *Options) setup() Setup {
	s := Setup{Rules: o.rules()}
	for i, addr := range o.Listen {
		e := Endpoint{Addr: addr, TLS: o.tls(i)}
		if i < len(o.Limits) {
			e.Limits = o.Limits[i]
		}
		if i < len(o.Auth) {
			e.Auth = o.Auth[i]
		}
		s.Endpoints = append(s.Endpoints, e)
	}
	return s
}

func (o *Options) rules() Rules {
	return Rules{o.SlowConsumer, o.AllowUnsigned, o.EnforcePQC, o.NegotiationTimeout, o.Authorization}
}

// setupTimeout is the time from the acceptance of a socket until its negotiation, TLS and HTTP/2 included.
func (r *Rules) setupTimeout() time.Duration { return r.NegotiationTimeout + 5*time.Second }

// check fills in defaults and refuses what cannot work.
func (s *Setup) check() error {
	orDefault(&s.Rules.NegotiationTimeout, DefaultNegotiation)
	orDefault(&s.Drain, defaultDrain)
	switch {
	case s.Rules.SlowConsumer > Disconnect:
		return fmt.Errorf("router: unknown slow-consumer policy %d", s.Rules.SlowConsumer)
	case s.Rules.NegotiationTimeout < 0 || s.Drain < 0:
		return errors.New("router: negative negotiation timeout, or time to drain")
	}
	return nil
}

// Change is a Setup that is prepared. Exactly one of Commit and Abandon is to be called.
type Change struct {
	node    *Node
	setup   Setup
	parsed  []endpoint
	places  []*listener // of the endpoints, in order
	kept    []int       // see Kept
	opened  []*listener // those among them that are new
	removed []*listener
}

// Prepare opens the listeners that s has and the node has not, without accepting anybody. Endpoints are the same if they
// are at the same address or path, whatever else of them differs. The error joins a *ListenError for each endpoint that
// cannot be listened on; nothing has changed then. One change is made at a time: it waits for the one before.
func (n *Node) Prepare(ctx context.Context, s Setup) (*Change, error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	n.changing.Lock()
	c := &Change{node: n, setup: s}
	if err := c.open(ctx); err != nil {
		c.Abandon()
		return nil, err
	}
	return c, nil
}

// open finds the listeners of all endpoints, or opens them.
func (c *Change) open(ctx context.Context) error {
	addrs, err := c.parse()
	if err != nil {
		return err
	}
	n := c.node
	before := n.listening.list()
	old := slices.Clone(before)
	var faults []error
	for i := range c.parsed {
		e := &c.parsed[i]
		if at := slices.IndexFunc(old, func(l *listener) bool { return l.place == e.place() }); at >= 0 {
			c.places, c.kept = append(c.places, old[at]), append(c.kept, slices.Index(before, old[at]))
			old = slices.Delete(old, at, at+1)
			continue
		}
		ln, err := netloop.Open(ctx, addrs, i)
		if le := (*ListenError)(nil); errors.As(err, &le) {
			le.Addr, le.Own = c.setup.Endpoints[i].Addr, overlaps(addrs[i], slices.Concat(c.opened, n.listening.list()))
		}
		if err != nil {
			faults = append(faults, err)
			continue
		}
		l := n.newListener(ln, e.place())
		c.places, c.opened, c.kept = append(c.places, l), append(c.opened, l), append(c.kept, -1)
	}
	c.removed = old
	return joined(faults)
}

// parse takes all endpoints apart, and returns their addresses for netloop.
func (c *Change) parse() (addrs []string, err error) {
	c.parsed, err = parseEndpoints(c.setup.Endpoints)
	for i := range c.parsed {
		addrs = append(addrs, c.parsed[i].listen)
	}
	return addrs, err
}

// joined is errors.Join but for a single error, which stays as it is.
func joined(errs []error) error {
	if len(errs) == 1 {
		return errs[0]
	}
	return errors.Join(errs...)
}

// Kept says for each endpoint which one of those before has the same listener, by its index; -1: it has a new one.
func (c *Change) Kept() []int { return c.kept }

// Abandon closes what Prepare has opened.
func (c *Change) Abandon() {
	defer c.node.changing.Unlock()
	c.closeOpened()
}

func (c *Change) closeOpened() {
	for _, l := range c.opened {
		l.ln.Close()
	}
}

// Commit makes the change. Listeners that stay are not interrupted, and who has come by them goes on as before. Those who
// have come by a removed one are told that it ends, and end after what is on its way (P-end-7); Commit does not wait for
// that. If the node is shutting down, nothing changes.
func (c *Change) Commit() {
	n := c.node
	defer n.changing.Unlock()
	n.peerLog.look()
	if !n.listening.become(c) {
		c.closeOpened()
		return
	}
	if r := c.setup.Rules; r != n.rules {
		again := r.Authorization != n.rules.Authorization
		n.rules = r
		for _, l := range n.loops {
			l.post(func() { l.obey(r) })
		}
		if again {
			n.review(r.Authorization)
		}
	}
}

// obey has the loop follow r from now on.
func (l *loop) obey(r Rules) {
	old := l.rules.SlowConsumer
	if r.Authorization != l.rules.Authorization {
		l.stamp++
	}
	l.rules = r
	l.group.SetSetupTimeout(r.setupTimeout())
	if old != r.SlowConsumer {
		l.applyPolicy(len(l.live))
	}
}

// applyPolicy brings the receivers before at under a new policy, a slice in each turn: those for whom senders wait are to
// be looked at, or, where nobody waits any more, have what senders wait for die.
func (l *loop) applyPolicy(at int) {
	at = min(at, len(l.live)) // see enlist
	end := max(0, at-snapshotSlice)
	for _, c := range slices.Backward(l.live[end:at]) {
		l.applyPolicyTo(c)
	}
	if end > 0 {
		l.post(func() { l.applyPolicy(end) })
	}
}

func (l *loop) applyPolicyTo(c *Conn) {
	defer c.guard()
	switch {
	case c.state == gone || c.q.charged == 0:
	case l.rules.SlowConsumer == Drop && !c.q.stalled:
		c.endWaiting(ReasonFull)
	default:
		c.await()
	}
}

// overlaps reports whether one of some listeners may be why addr is in use: it has the same port.
func overlaps(addr string, all []*listener) bool {
	_, port, err := net.SplitHostPort(addr)
	if err != nil || strings.HasPrefix(addr, "unix://") {
		return false
	}
	return slices.ContainsFunc(all, func(l *listener) bool {
		_, p, err := net.SplitHostPort(l.ln.Addr().String())
		return err == nil && p == port
	})
}
