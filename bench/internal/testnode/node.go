// Package testnode is a SLIM node just good enough to test a load generator against: it negotiates, confirms names,
// forwards by exact name, and damages traffic on request. It keeps what it cannot write in memory without limit.
package testnode

import (
	"crypto/rand"
	"encoding/binary"
	"net"
	"sync"

	"github.com/seed31b3bfd0/slimgo/internal/simnet"
	"github.com/seed31b3bfd0/slimgo/wire"
	"github.com/seed31b3bfd0/slimgo/wire/h2"
	"github.com/seed31b3bfd0/slimgo/wire/link"
	"github.com/seed31b3bfd0/slimgo/wire/mac"
)

// Fault is what happens to one forwarded message.
type Fault uint8

const (
	Deliver    Fault = iota
	Drop             // it vanishes
	Twice            // it goes out two times
	Later            // it goes out behind the next message for the same connection
	Unsigned         // its MAC is wrong
	HoldForNow       // it waits, with all that follows, until Resume
)

// Node accepts connections until Close.
type Node struct {
	// Fault chooses the fate of forwarded message n, counted from 0 over the whole node; nil: all are delivered.
	Fault func(n uint64) Fault
	// Refuse is the reason for which every name is refused; empty: none is.
	Refuse string
	Mute   bool        // it accepts sockets and never says a word
	Deaf   bool        // it gives no window back for what it receives
	Rotate bool        // of several connections with one name each gets a message in turn; else always the first
	Net    *simnet.Net // where it listens; nil: on loopback

	l    net.Listener
	done sync.WaitGroup

	mu        sync.Mutex
	conns     map[*conn]struct{}
	names     map[wire.Name][]*conn
	forwarded uint64
	held      []delivery
	holding   bool
	closed    bool
	full      chan struct{}
	fill      sync.Once
}

// AwaitFull returns when a client has used up its window towards a deaf node.
func (n *Node) AwaitFull() { <-n.full }

type delivery struct {
	to  *conn
	msg []byte
}

// Start listens on a free address. Set the fields of n before.
func (n *Node) Start() error {
	l, err := n.listen()
	if err != nil {
		return err
	}
	n.l, n.conns, n.names, n.full = l, map[*conn]struct{}{}, map[wire.Name][]*conn{}, make(chan struct{})
	n.done.Go(func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			c := newConn(n, nc)
			n.mu.Lock()
			n.conns[c] = struct{}{}
			closed := n.closed
			n.mu.Unlock()
			if closed {
				_ = nc.Close()
			}
			n.done.Go(c.read)
			n.done.Go(c.write)
		}
	})
	return nil
}

func (n *Node) listen() (net.Listener, error) {
	if n.Net != nil {
		return n.Net.Listen(), nil
	}
	return net.Listen("tcp", "127.0.0.1:0")
}

// Addr is where it listens.
func (n *Node) Addr() string { return n.l.Addr().String() }

// Names returns how many names are subscribed.
func (n *Node) Names() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.names)
}

// Resume lets go what HoldForNow kept.
func (n *Node) Resume() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, d := range n.held {
		d.to.send(d.msg)
	}
	n.held, n.holding = nil, false
}

// Close ends everything and returns when all goroutines are gone.
func (n *Node) Close() {
	_ = n.l.Close()
	n.mu.Lock()
	n.closed = true
	for c := range n.conns {
		_ = c.nc.Close()
	}
	n.mu.Unlock()
	n.done.Wait()
}

// take handles one message of a negotiated connection.
func (n *Node) take(from *conn, msg []byte) {
	var m wire.Message
	var h wire.Header
	if wire.Scan(msg, &m) != nil || !m.Kind.Routed() {
		return
	}
	if wire.ParseHeader(m.Header.Of(msg), &h) != nil || m.Invalid(&h) != 0 {
		return
	}
	if !from.verify(m.Header.Of(msg), &h) {
		_ = from.nc.Close() // the clients of tests sign well
		return
	}
	name := h.Dest.Name
	n.mu.Lock()
	defer n.mu.Unlock()
	switch m.Kind {
	case wire.KindSubscribe:
		if n.Refuse == "" {
			n.names[name] = append(n.names[name], from)
		}
		from.send(wire.AppendAck(nil, m.SubID, n.Refuse == "", n.Refuse))
	case wire.KindUnsubscribe:
		delete(n.names, name)
		from.send(wire.AppendAck(nil, m.SubID, true, ""))
	case wire.KindPublish:
		members := n.names[name]
		if h.Fanout == 1 && len(members) > 1 {
			members = members[:1]
			if n.Rotate {
				members = n.names[name][n.forwarded%uint64(len(n.names[name])):][:1]
			}
		}
		for _, to := range members {
			n.forward(delivery{to, msg})
		}
	}
}

// forward applies the fault. mu is held.
func (n *Node) forward(d delivery) {
	fault := Deliver
	if n.Fault != nil {
		fault = n.Fault(n.forwarded)
	}
	n.forwarded++
	if fault == HoldForNow {
		n.holding = true
	}
	if n.holding {
		n.held = append(n.held, d)
		return
	}
	switch fault {
	case Drop:
		return
	case Twice:
		d.to.send(d.msg)
	case Later:
		d.to.late = append(d.to.late, d.msg)
		return
	case Unsigned:
		d.to.corrupt = true
	}
	d.to.send(d.msg)
	for _, msg := range d.to.late {
		d.to.send(msg)
	}
	d.to.late = nil
}

const window = 1 << 20

// conn is one accepted connection. mac and machine belong to the reader; sign to the holder of Node.mu.
type conn struct {
	n       *Node
	nc      net.Conn
	stream  *h2.Stream
	machine *link.Machine
	mac     *mac.MAC
	sign    *mac.MAC
	linkID  string
	msgs    [][]byte // complete messages of one read
	late    [][]byte
	corrupt bool
	kept    int // bytes held back by a deaf node

	mu    sync.Mutex
	some  sync.Cond
	h2    h2.Conn
	queue []byte // gRPC-framed, waits for window
	gone  bool
}

func newConn(n *Node, nc net.Conn) *conn {
	c := &conn{n: n, nc: nc}
	c.some.L = &c.mu
	c.h2.Init(h2.Server, &h2.Settings{InitialWindow: window})
	c.machine = link.New(&link.Config{Role: link.Acceptor, Version: "2.3.0", NodeID: "test-node", Strict: true, Rand: rand.Reader})
	return c
}

func (c *conn) read() {
	b := make([]byte, 64<<10)
	for {
		k, err := c.nc.Read(b)
		c.mu.Lock()
		if err == nil && !c.n.Mute {
			err = c.h2.Feed(b[:k], (*events)(c))
		}
		msgs := c.msgs
		c.msgs = nil
		if err != nil {
			c.gone = true
		}
		c.some.Broadcast()
		c.mu.Unlock()
		for _, m := range msgs {
			c.n.take(c, m)
		}
		if err != nil {
			c.leave()
			return
		}
	}
}

// leave takes the connection out of the node.
func (c *conn) leave() {
	c.n.mu.Lock()
	defer c.n.mu.Unlock()
	delete(c.n.conns, c)
	for name, list := range c.n.names {
		kept := list[:0]
		for _, d := range list {
			if d != c {
				kept = append(kept, d)
			}
		}
		if c.n.names[name] = kept; len(kept) == 0 {
			delete(c.n.names, name)
		}
	}
	_ = c.nc.Close()
}

// write sends what the engine and the node have queued.
func (c *conn) write() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for !c.n.Mute {
		out := append([]byte(nil), c.h2.Control()...)
		c.h2.ControlDone()
		for len(c.queue) > 0 && c.stream != nil {
			var k int
			if out, k = c.h2.Data(out, c.stream, len(c.queue)); k == 0 {
				break
			}
			out = append(out, c.queue[:k]...)
			c.queue = c.queue[k:]
		}
		c.h2.Cut()
		if len(out) == 0 {
			if c.gone {
				return
			}
			c.some.Wait()
			continue
		}
		c.mu.Unlock()
		_, err := c.nc.Write(out)
		c.mu.Lock()
		if err != nil {
			_ = c.nc.Close()
			c.gone = true
			return
		}
	}
}

// send queues a message, signed for this link if it has a header. Node.mu is held, or nobody else knows c yet.
func (c *conn) send(msg []byte) {
	var m wire.Message
	var h wire.Header
	if wire.Scan(msg, &m) == nil && m.Kind.Routed() && wire.ParseHeader(m.Header.Of(msg), &h) == nil {
		msg = c.resign(msg, &m, &h)
	}
	b := append(make([]byte, 5), msg...)
	binary.BigEndian.PutUint32(b[1:], uint32(len(msg)))
	c.mu.Lock()
	defer c.mu.Unlock()
	c.queue = append(c.queue, b...)
	c.some.Broadcast()
}

// resign returns msg as it goes on over this link.
func (c *conn) resign(msg []byte, m *wire.Message, h *wire.Header) []byte {
	head, ttl := m.Header.Of(msg), h.TTL-1
	var names mac.Names
	var tag [32]byte
	c.sign.Names(&names, mac.AppendNames(nil, c.linkID, head, h))
	c.sign.Tag(&tag, &names, mac.AppendRest(nil, head, h, ttl, true))
	if c.corrupt {
		tag[0] ^= 1
	}
	out := wire.AppendOpening(nil, msg, m, wire.HeaderSize(h, ttl, true))
	out = wire.AppendHeader(out, head, h, ttl, tag[:])
	return append(out, msg[m.Header.End:]...)
}

func (c *conn) verify(head []byte, h *wire.Header) bool {
	var names mac.Names
	c.mac.Names(&names, mac.AppendNames(nil, c.linkID, head, h))
	return h.HasMAC && c.mac.Verify(h.MAC.Of(head), &names, mac.AppendRest(nil, head, h, h.TTL, false))
}

// events is the engine's view of conn; mu is held.
type events conn

func (e *events) Request(s *h2.Stream, _ *h2.Request) {
	e.stream = s
	e.h2.Respond(s)
}

func (e *events) Message(s *h2.Stream, msg []byte, _ bool) {
	if e.machine == nil && e.n.Deaf {
		e.h2.Hold(s, len(msg)+5)
		if e.kept += len(msg) + 5; e.kept > window-len(msg) {
			e.n.fill.Do(func() { close(e.n.full) })
		}
		return
	}
	if e.machine == nil {
		e.msgs = append(e.msgs, append([]byte(nil), msg...))
		return
	}
	reply, err := e.machine.Step(make([]byte, 5), msg)
	if err != nil {
		e.gone = true
		_ = e.nc.Close()
		return
	}
	binary.BigEndian.PutUint32(reply[1:], uint32(len(reply)-5))
	e.queue = append(e.queue, reply...)
	r := e.machine.Result()
	e.linkID, e.machine = r.LinkID, nil
	e.mac, e.sign = mac.New(r.Key, r.LinkID), mac.New(r.Key, r.LinkID)
}

func (e *events) Grow(_ *h2.Stream, have []byte, n int) []byte {
	return append(make([]byte, 0, n), have...)
}

func (e *events) Response(*h2.Stream, *h2.Response) {}
func (e *events) Ended(*h2.Stream, *h2.End)         { e.gone = true }
func (e *events) Writable(*h2.Stream)               { e.some.Broadcast() }
func (e *events) Closed(*h2.Stream)                 {}
func (e *events) Pong()                             {}
func (e *events) GoAway(uint32, h2.ErrCode, []byte) {}
