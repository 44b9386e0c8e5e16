package router

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/seed31b3bfd0/slimgo/router/mesh"
	"github.com/seed31b3bfd0/slimgo/router/table"
	"github.com/seed31b3bfd0/slimgo/router/transport"
	"github.com/seed31b3bfd0/slimgo/wire"
	"github.com/seed31b3bfd0/slimgo/wire/link"
)

// peerLog is how a node logs what its peers do: as much as the log shows, and no more than logLimit lets through.
// Safe for all.
type peerLog struct {
	log   *slog.Logger // immutable
	level atomic.Int64 // the lowest slog.Level that is shown
	limit logLimit
}

// look finds out what the log shows, which may have changed.
func (p *peerLog) look() {
	level := slog.LevelError + 1
	for _, l := range []slog.Level{slog.LevelError, slog.LevelWarn, slog.LevelInfo, slog.LevelDebug} {
		if p.log.Enabled(context.Background(), l) {
			level = l
		}
	}
	p.level.Store(int64(level))
}

func (p *peerLog) shows(l slog.Level) bool { return int64(l) >= p.level.Load() }

// takes reports whether a record of this level and topic is to be made. What nobody would see does not count.
func (p *peerLog) takes(l slog.Level, t logTopic) bool { return p.shows(l) && p.limit.allows(t) }

// debug reports whether there is anybody to tell details. The message path asks it where a message dies, and nowhere
// else.
func (p *peerLog) debug() bool { return p.shows(slog.LevelDebug) }

// strangerTold is the bit of transport.Peer.First for peers that never became a connection: one record is enough for a
// probe.
const strangerTold = 63

// attrs are the fields every record about a connection has.
func (c *Conn) attrs(more ...any) []any {
	return append([]any{slog.String("target", targetProcessing), slog.Uint64("conn_id", c.id),
		slog.String("remote", c.stream.Peer().Remote)}, more...)
}

// say logs something about c.
func (c *Conn) say(l slog.Level, t logTopic, text string, attrs ...any) {
	if p := &c.loop.node.peerLog; p.takes(l, t) {
		p.log.Log(context.Background(), l, text, c.attrs(attrs...)...)
	}
}

// logOpened tells of a connection that is negotiated.
func (c *Conn) logOpened(r *link.Result) {
	p := c.stream.Peer()
	attrs := []any{"kind", c.kind.String(), "link_id", r.LinkID, "remote_version", r.RemoteVersion,
		"signed", r.Key != nil && c.kind != table.Peer}
	if !p.Dialed { // who is dialled says nothing of that
		attrs = append(attrs, "agent", p.Agent)
	}
	attrs = append(attrs, "took", c.age().Round(time.Microsecond))
	if p.TLS != "" {
		attrs = append(attrs, "tls", p.TLS)
	}
	if p.Subject != "" {
		attrs = append(attrs, "subject", p.Subject)
	}
	c.say(slog.LevelInfo, topicOpened, "connection opened", append(attrs, whoAttrs(c.who())...)...)
}

// because remembers why c ends; the first reason is the one.
func (c *Conn) because(why string) {
	if c.why == "" {
		c.why = why
	}
}

// logClosed tells of the end of a connection that was negotiated, with what it has done.
func (c *Conn) logClosed() {
	if !c.negotiated {
		return
	}
	c.because(c.stream.Peer().End)
	c.say(slog.LevelInfo, topicClosed, "connection closed", "kind", c.kind.String(), "why", c.why,
		"lasted", c.age().Round(time.Millisecond), "names", c.names,
		"received", c.received, "received_bytes", c.receivedBytes, "delivered", c.delivered, "sent_bytes", c.stream.Progress().Given)
}

// note counts a refusal and says it once per connection and reason. What keeps a link from opening that this node dials is
// told with the link.
func (c *Conn) note(r Reason, err error) {
	if c.dialed != nil && !c.negotiated {
		return
	}
	c.loop.n.refuse(r)
	if !c.logged.first(r) {
		return
	}
	c.refused(r, err)
	p := c.stream.Peer()
	p.First(strangerTold)
	attrs := []any{"reason", r.String()}
	if p.Endpoint() != "" {
		attrs = append(attrs, "endpoint", p.Endpoint())
	}
	c.say(slog.LevelWarn, logTopic(r), "message or request refused", withError(attrs, err)...)
}

// logDrop tells of the first message of c that died for a reason which is c's fault or that of a receiver.
func (c *Conn) logDrop(r Reason) {
	c.refused(r, nil)
	if r == ReasonMAC || r == ReasonUnsigned {
		c.say(slog.LevelError, logTopic(r), "SLIM header integrity verification failed", "conn_index", c.id, "error", r.String())
		return
	}
	c.say(slog.LevelWarn, logTopic(r), "message dropped", "reason", r.String())
}

// logDeath tells, at debug, of a publish of c with header h that died, with its names.
func (c *Conn) logDeath(r Reason, h []byte, hd *wire.Header) {
	if c.loop.trouble.watched > 0 {
		c.died(r, h, hd)
	}
	if p := &c.loop.node.peerLog; p.debug() && p.limit.allows(topicMessage) {
		p.log.Debug("message dropped", c.attrs("reason", r.String(), "name", refText(h, &hd.Dest), "source", refText(h, &hd.Source),
			"fanout", hd.Fanout)...)
	}
}

// logSubscription tells, at debug, of a name that comes or goes. id is the subscription's; waits says that peers are
// told before it is acknowledged.
func (c *Conn) logSubscription(text string, h []byte, dest *wire.NameRef, id uint64, waits bool, err error) {
	p := &c.loop.node.peerLog
	if !p.debug() || !p.limit.allows(topicSubscription) {
		return
	}
	attrs := []any{"name", refText(h, dest), "subscription_id", id, "kind", c.kind.String()}
	if waits {
		attrs = append(attrs, "waits_for_peers", true)
	}
	if err != nil {
		text = "refused: " + text
	}
	attrs = withError(attrs, err)
	p.log.Debug(text, c.attrs(attrs...)...)
}

// logTold tells, at debug, what a peer is told of a name.
func (c *Conn) logTold(t *mesh.Tell) {
	p := &c.loop.node.peerLog
	if !p.debug() || !p.limit.allows(topicPeer) {
		return
	}
	text := "peer told of a name"
	if t.Withdraw {
		text = "peer told that a name is gone"
	}
	p.log.Debug(text, c.attrs("name", t.Name.String(), "subscription_id", t.ID, "ttl", t.TTL)...)
}

// logGate says that a peer link stands by, or does not any more.
func (c *Conn) logGate(open bool, through string) {
	p := &c.loop.node.peerLog
	switch {
	case !p.limit.allows(topicLoop):
	case open:
		p.log.Info("peer link is open: it closes no loop", c.attrs("node", c.about.node)...)
	default:
		p.log.Info("peer link stands by: it would close a loop of peers", c.attrs("node", c.about.node, "loop_through", cut(through))...)
	}
}

// logDouble says that another link is open to a node of the same id, which is another node then. Rules: P-loop-7.
func (c *Conn) logDouble(other *Conn) {
	if p := &c.loop.node.peerLog; c.state == active && p.limit.allows(topicLoop) {
		p.log.Warn("two nodes say the same node_id: messages for names that both hold reach one of them only; give each its own",
			c.attrs("node", c.about.node, "other_conn_id", other.id, "other_remote", other.stream.Peer().Remote)...)
	}
}

// refText is a name for logs: its strings only if they are those of the name.
func refText(h []byte, n *wire.NameRef) string {
	if n.HasStr && wire.HashesMatch(h, n) || !n.HasName {
		return n.Text(h)
	}
	return n.Name.String()
}

// Refused implements transport.Acceptor: it counts, and says so once per peer and reason. Of strangers, such as
// scanners and health checks, there is one record: at debug, or at info if they seem to be clients with a wrong endpoint.
// What keeps a link from opening that this node dials is told with the link.
func (l *loop) Refused(p *transport.Peer, f transport.Fault, err error, attrs ...any) {
	if p.Dialed && !p.Established {
		return
	}
	r := reasonOf(f)
	l.n.refuse(r)
	attrs = append([]any{"reason", r.String()}, withError(attrs, err)...)
	first := uint(r)
	if !p.Established {
		first = strangerTold
	}
	if !p.First(first) {
		return
	}
	l.trouble.refusals.add(time.Now(), &Refusal{Remote: p.Remote, Agent: p.Agent, Endpoint: p.Endpoint(), Reason: r}, err)
	if p.Established {
		l.sayOf(p, slog.LevelWarn, logTopic(r), "request or connection refused", attrs...)
	} else {
		l.sayOfStranger(p, "socket refused before it was a connection", attrs)
	}
}

// Late implements transport.Acceptor.
func (l *loop) Late(n int) {
	l.n.received += uint64(n)
	l.n.dropped[ReasonEnded] += uint64(n)
	l.n.reasons = true
}

// Ended implements transport.Acceptor.
func (l *loop) Ended(p *transport.Peer, _ error) {
	if !p.Established && p.First(strangerTold) {
		l.sayOfStranger(p, "socket closed before it was a connection", []any{"why", p.End})
	}
}

// sayOfStranger is sayOf at debug, or at info if there is advice.
func (l *loop) sayOfStranger(p *transport.Peer, text string, attrs []any) {
	if p.Advice == "" {
		l.sayOf(p, slog.LevelDebug, topicProbe, text, attrs...)
		return
	}
	l.sayOf(p, slog.LevelInfo, topicAdvice, text, append(attrs, "advice", p.Advice)...)
}

func (l *loop) sayOf(p *transport.Peer, level slog.Level, t logTopic, text string, attrs ...any) {
	if pl := &l.node.peerLog; pl.takes(level, t) {
		who := []any{"target", targetProcessing, "remote", p.Remote}
		if p.Endpoint() != "" {
			who = append(who, "endpoint", p.Endpoint())
		}
		if p.Agent != "" {
			who = append(who, "agent", p.Agent)
		}
		pl.log.Log(context.Background(), level, text, append(who, attrs...)...)
	}
}

// withError appends an error that is one.
func withError(attrs []any, err error) []any {
	if err == nil {
		return attrs
	}
	return append(attrs, "error", err)
}

// panicked counts an internal error and tells where it was.
func (l *loop) panicked(remote string, value any, stack []byte) {
	l.node.panics.Add(1)
	if p := &l.node.peerLog; p.takes(slog.LevelError, topicPanic) {
		p.log.Error("internal error while processing a connection: it is closed, please report this",
			"target", targetProcessing, "remote", remote, "error", fmt.Sprint(value), "stack", string(stack))
	}
}

// logStart tells, at debug, what a node was made with, defaults filled in.
func (n *Node) logStart() {
	o := &n.opt
	n.log.Debug("node started", "target", targetService, "node_id", o.NodeID, "deployment", o.Deployment, "listen", o.Listen,
		"loops", o.Loops, "read_buffer", o.ReadBuffer, "conn_buffer", o.ConnBuffer, "slow_consumer", o.SlowConsumer.String(),
		"stall_timeout", o.StallTimeout, "stall_rate", o.StallRate, "max_subscriptions", o.MaxSubscriptions,
		"max_names", o.MaxNames, "max_sockets", o.MaxSockets, "max_connections", o.MaxConnections,
		"max_unfinished", o.MaxUnfinished, "max_queued", o.MaxQueued,
		"require_header_mac", !o.AllowUnsigned, "enforce_pqc", o.EnforcePQC, "relay_peer_publishes", o.RelayPeerPublishes,
		"negotiation_timeout", o.NegotiationTimeout, "keepalive_time", o.KeepaliveTime, "keepalive_timeout", o.KeepaliveTimeout,
		"max_frame_size", o.MaxFrameSize, "max_header_list", o.MaxHeaderList, "max_streams", o.MaxStreams)
}

// heldNames is how many subscriptions c has, for logs; those of peers are not counted.
func (c *Conn) heldNames() int {
	if c.state != active || c.kind == table.Peer {
		return 0
	}
	return c.loop.node.names.Count(c)
}
