package router

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/seed31b3bfd0/slimgo/internal/auth"
	"github.com/seed31b3bfd0/slimgo/router/netloop"
	"github.com/seed31b3bfd0/slimgo/router/table"
	"github.com/seed31b3bfd0/slimgo/router/transport"
	"github.com/seed31b3bfd0/slimgo/wire"
)

// The dialling role (P-dial): a link that the node opens, and opens again when it is lost.
//
//	         Connect            Answered, reply of the negotiation
//	waiting ─────────▶ opening ─────────────────────────────────▶ up
//	   ▲                  │                                        │
//	   └──── Backoff ─────┴────────────────────────────────────────┘        over: it is not to be tried again
//
// A goroutine for each link connects, waits and counts; the connection itself is one of a loop like any other, and
// reports its two events, up and over, to that goroutine.

// Link is a link that a node is to open. Immutable once it is given to Node.Dial.
type Link struct {
	// Endpoint is what is dialled, for logs and errors: without secrets.
	Endpoint string
	// Connect connects. It is called on a goroutine of its own, and heeds its context.
	Connect func(context.Context) (net.Conn, error)
	// TLS is asked for the configuration of each connection, with the name that the other end must have; nil: no TLS.
	TLS func() *tls.Config
	// ConnectTimeout bounds Connect; 0: 30 s. If it is set and Call is for a WebSocket, it bounds all until the answer
	// together, and HandshakeTimeout and Call.AnswerTimeout count for nothing (P-dial-7).
	ConnectTimeout time.Duration
	// HandshakeTimeout bounds the handshake of TLS; 0: 10 s.
	HandshakeTimeout time.Duration
	// Call is how the stream is opened.
	Call transport.Call
	// Auth is asked, within ConnectTimeout, what each connection shows that is opened; nil: it shows nothing. Without an answer
	// none is opened. Rules: P-auth-8.
	Auth auth.Source
	// ID is the link_id, the same over reconnects; "": a random UUID.
	ID string
	// Kind is what the node claims to be to the other end: edge, peer or remote.
	Kind table.Kind
	// AllowUnsigned accepts a link without header MAC (require_header_mac: false).
	AllowUnsigned bool
	// Backoff is the pause before the attempt that follows so many in a row that have failed, from 1 on; more false: it
	// is not made. nil: 2 s, without end.
	Backoff func(failed int) (pause time.Duration, more bool)
	// CloseTimeout is how long the link may take to end after Close; 0: 10 s.
	CloseTimeout time.Duration
	// After is a link in whose place this one comes: the first attempt waits for its end. nil: none.
	After *Dialer
	// MayBeSelf says that the endpoint may be one of this node's own, such as one of all replicas of a service: it is no fault then
	// that the link is refused.
	MayBeSelf bool
	// Changed, if not nil, hears of each new state, on the link's goroutine.
	Changed func(LinkState)
}

const (
	defaultBackoff        = 2 * time.Second
	defaultConnectTimeout = 30 * time.Second
	// settled is how long a link must have been up for its loss to be tried again at once: a node that accepts and then
	// closes would be dialled dozens of times a second.
	settled = time.Second
)

// LinkState says what a dialled link is doing.
type LinkState uint8

// The states of a dialled link.
const (
	LinkWaiting LinkState = iota // for its next attempt
	LinkOpening                  // connects or negotiates
	LinkUp
	LinkOver // it is not tried again
)

var linkStates = [...]string{"waiting", "opening", "up", "over"}

func (s LinkState) String() string {
	if int(s) < len(linkStates) {
		return linkStates[s]
	}
	return fmt.Sprintf("link state(%d)", uint8(s))
}

// Dialer keeps a Link up. Its methods are safe for all.
type Dialer struct {
	// Immutable.
	node   *Node
	link   Link
	whole  time.Duration // for all of an attempt until the answer; 0: each part has its own
	ctx    context.Context
	cancel context.CancelFunc
	done   chan struct{} // closed when its goroutine has ended

	status dialStatus // safe for all
	number uint64     // of the node's dialers, in the order in which they were made; guarded by dialers.mu

	news   linkNews // of the goroutine
	brief  bool     // when it was up last, it was lost at once; of the goroutine
	failed int      // attempts in a row; of the goroutine
}

// Dial opens a link in the background and keeps it up until Dialer.Close or Node.Shutdown. One that is over for another
// reason stays in Node.Links until Dialer.Close.
func (n *Node) Dial(l Link) (*Dialer, error) {
	switch {
	case l.Connect == nil:
		return nil, errors.New("router: a link needs Connect")
	case l.Kind != table.Edge && l.Kind != table.Peer && l.Kind != table.Remote:
		return nil, fmt.Errorf("router: link to %s: kind %v cannot be claimed", l.Endpoint, l.Kind)
	}
	if l.ID == "" {
		l.ID = newUUID()
	}
	if l.Backoff == nil {
		l.Backoff = func(int) (time.Duration, bool) { return defaultBackoff, true }
	}
	d := &Dialer{node: n, done: make(chan struct{})}
	if l.Call.WebSocket {
		d.whole = l.ConnectTimeout
	}
	orDefault(&l.ConnectTimeout, defaultConnectTimeout)
	orDefault(&l.CloseTimeout, defaultDrain)
	d.link = l
	d.ctx, d.cancel = context.WithCancel(context.Background())
	if !n.dialers.add(d) {
		d.cancel()
		return nil, net.ErrClosed
	}
	go d.run()
	return d, nil
}

// Status returns what the link is doing.
func (d *Dialer) Status() LinkStatus {
	s := d.status.read()
	s.Endpoint, s.ID, s.Kind = d.link.Endpoint, d.link.ID, d.link.Kind
	return s
}

// Close ends the link: what the other end has sent until now goes its way, and what is queued for it goes out, within
// Link.CloseTimeout. It does not wait for that. Rules: P-end-7.
func (d *Dialer) Close() {
	d.cancel()
	select {
	case <-d.done: // it was over
		d.node.dialers.remove(d)
	default:
	}
}

// Done is closed when the link is over, after Close or because it is not tried again.
func (d *Dialer) Done() <-chan struct{} { return d.done }

func (d *Dialer) becomes(s LinkState) {
	d.status.becomes(s, time.Now())
	if d.link.Changed != nil {
		d.link.Changed(s)
	}
}

func (d *Dialer) run() {
	defer func() { // Close that comes before done sees to it that ctx has ended
		if d.ctx.Err() != nil {
			d.node.dialers.remove(d)
		}
	}()
	defer close(d.done)
	defer d.becomes(LinkOver)
	if before := d.link.After; before != nil {
		select {
		case <-before.done:
		case <-d.ctx.Done():
			return
		}
	}
	for again := true; again; {
		panicked := true
		d.node.guarded(func() {
			again = d.turn()
			panicked = false
		})
		if panicked {
			again = d.pause()
		}
	}
}

// turn is one attempt, and the life of the link if it succeeds. It reports whether there is to be another.
func (d *Dialer) turn() bool {
	d.becomes(LinkOpening)
	d.status.count(&d.status.attempts)
	began := time.Now()
	shown, err := d.authorize()
	if err != nil {
		d.status.count(&d.status.unarmed)
		return d.retry(err)
	}
	c, err := d.connect()
	if err != nil {
		return d.retry(err)
	}
	call := d.call(began, shown)
	o := &outgoing{dialer: d, up: make(chan *Conn, 1), over: make(chan outcome, 1)}
	j := netloop.Joining{Timeout: d.link.HandshakeTimeout,
		Handler: func(nl *netloop.Loop) netloop.Handler { return d.node.loops[nl.Index()].callOn(o, call) }}
	if d.whole > 0 {
		j.Timeout = d.left(began)
	}
	if d.link.TLS != nil {
		j.TLS = d.link.TLS()
	}
	err = d.node.engine.Join(d.ctx, c, j)
	if err != nil {
		return d.retry(err)
	}
	return d.follow(o)
}

// left is what is left of the time for an attempt that began then: never 0, which would mean a default.
func (d *Dialer) left(began time.Time) time.Duration {
	return max(d.whole-time.Since(began), time.Nanosecond)
}

// call is how the stream is opened in an attempt that began then, and shows that; "": nothing.
func (d *Dialer) call(began time.Time, shown string) *transport.Call {
	if d.whole == 0 && shown == "" {
		return &d.link.Call
	}
	c := d.link.Call
	if d.whole > 0 {
		c.AnswerTimeout = d.left(began)
	}
	if shown != "" {
		c.Fields = slices.DeleteFunc(slices.Clone(c.Fields), func(f transport.Field) bool { return f.Name == "authorization" })
		c.Fields = append(c.Fields, transport.Field{Name: "authorization", Value: shown, Sensitive: true})
	}
	return &c
}

// authorize asks what a connection is to show.
func (d *Dialer) authorize() (string, error) {
	if d.link.Auth == nil {
		return "", nil
	}
	ctx, cancel := context.WithTimeout(d.ctx, d.link.ConnectTimeout)
	defer cancel()
	shown, err := d.link.Auth.Authorization(ctx)
	switch {
	case err != nil:
		return "", fmt.Errorf("no credentials for the link: %w", err)
	case len(shown) > auth.MaxAuthorization:
		return "", fmt.Errorf("no credentials for the link: they have %d bytes, and %d at most can be shown", len(shown), auth.MaxAuthorization)
	case strings.ContainsFunc(shown, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }):
		return "", errors.New("no credentials for the link: they contain a line break, or another control character, which no header may")
	}
	return shown, nil
}

// connect is Link.Connect within its time.
func (d *Dialer) connect() (net.Conn, error) {
	ctx, cancel := context.WithTimeout(d.ctx, d.link.ConnectTimeout)
	defer cancel()
	c, err := d.link.Connect(ctx)
	if err != nil && ctx.Err() != nil && d.ctx.Err() == nil {
		err = fmt.Errorf("no connection within %v: %w", d.link.ConnectTimeout, err)
	}
	return c, err
}

// follow waits for the end of a connection that is being opened.
func (d *Dialer) follow(o *outgoing) bool {
	var up *Conn
	var since time.Time
	stop := d.ctx.Done()
	var ends <-chan struct{}
	var late <-chan time.Time
	for {
		select {
		case up = <-o.up:
			since = time.Now()
			level := slog.LevelInfo
			if d.brief { // it has been told of, and lost at once
				level = slog.LevelDebug
			}
			d.say(level, "client connected", "conn_id", up.id) // upstream's text: scripts wait for it
			d.becomes(LinkUp)
		case e := <-o.over:
			if up == nil {
				select { // both may have come
				case up = <-o.up:
					since = time.Now()
				default:
				}
			}
			if d.ctx.Err() != nil {
				return false
			}
			if e.final(up) {
				d.status.failed(e.why, time.Now())
				if up != nil && e.status != statusPermissionDenied {
					d.say(slog.LevelWarn, "remote link is lost: it is opened again if it is ordered anew", "why", e.why)
					return false
				}
				if d.link.MayBeSelf && d.status.read().Node == d.node.opt.NodeID {
					d.say(slog.LevelInfo, "link is over: it leads to this node itself")
					return false
				}
				d.say(slog.LevelError, "link is over: the other end does not want it", "why", e.why)
				return false
			}
			if up == nil {
				return d.retry(errors.New(e.why))
			}
			d.status.lost(e.why, time.Now())
			if d.brief = time.Since(since) < cmp.Or(d.node.dialers.settled, settled); d.brief {
				return d.retry(errors.New("the link was up, and lost at once: " + e.why))
			}
			d.failed, d.news = 0, linkNews{}
			d.say(slog.LevelWarn, "link is lost: it is opened again", "why", e.why)
			return true
		case <-stop:
			if d.node.dialers.closing() { // the connection ends with the node's others
				return false
			}
			stop, ends = nil, d.node.ending.Done()
			t := time.NewTimer(d.link.CloseTimeout)
			defer t.Stop()
			late = t.C
			ctx, cancel := context.WithTimeout(d.node.ending, d.link.CloseTimeout)
			_ = d.node.settle(ctx) // what comes of it late is counted
			cancel()
			o.hangUp()
		case <-ends: // so it does now
			return false
		case <-late:
			o.abort()
		}
	}
}

// retry notes that an attempt has failed, and waits for the next. false: there is none.
func (d *Dialer) retry(err error) bool {
	if d.ctx.Err() != nil {
		return false
	}
	text := err.Error()
	d.status.failed(text, time.Now())
	if untold, ok := d.news.tells(text, time.Now()); ok {
		attrs := []any{"error", text}
		if untold > 0 {
			attrs = append(attrs, "not_logged", untold)
		}
		if e := (*netloop.HandshakeError)(nil); errors.As(err, &e) && e.Cert != nil {
			attrs = append(attrs, certificateAttrs(e.Cert)...)
		}
		d.say(slog.LevelWarn, "link cannot be opened: it is tried again", attrs...)
	}
	return d.pause()
}

// pause waits for the next attempt. false: there is none.
func (d *Dialer) pause() bool {
	d.failed++
	pause, more := d.link.Backoff(d.failed)
	if !more {
		d.say(slog.LevelError, "link is given up", "attempts", d.failed)
		return false
	}
	d.becomes(LinkWaiting)
	t := time.NewTimer(pause)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-d.ctx.Done():
		return false
	}
}

func (d *Dialer) say(l slog.Level, text string, attrs ...any) {
	d.node.log.Log(context.Background(), l, text, append([]any{"target", targetService, "endpoint", d.link.Endpoint,
		"link_id", d.link.ID, "kind", d.link.Kind.String()}, attrs...)...)
}

// wireKind is how a kind is said in a negotiation.
func wireKind(k table.Kind) wire.LinkKind {
	switch k {
	case table.Edge:
		return wire.LinkEdge
	case table.Peer:
		return wire.LinkPeer
	}
	return wire.LinkRemote
}
