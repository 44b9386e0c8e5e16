package client

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"time"

	"github.com/seed31b3bfd0/slimgo/bench/load"
	"github.com/seed31b3bfd0/slimgo/session/uplink"
	"github.com/seed31b3bfd0/slimgo/wire"
	"github.com/seed31b3bfd0/slimgo/wire/mac"
)

const (
	version   = uplink.Version // the release whose behaviour is measured for
	userAgent = "slim-bench/1"
	prefixLen = 5 // gRPC: flag, big-endian length

	fanoutAll  = 256 // what apps put in for "every subscriber"
	sessionID  = 4711
	payloadTyp = "msg"
)

// Dialer opens edge connections to SLIM nodes, at addresses as uplink.Dial takes them.
type Dialer struct {
	// Net opens the socket; nil: the system's. Simulated networks come in here.
	Net func(ctx context.Context, addr string) (net.Conn, error)

	// TLS is for listeners that have it; nil: authorities of the system, no certificate.
	TLS *tls.Config

	// Blind is for the relay in bench/relay.
	Blind bool

	// Limit is how long a link may take to come about; 0: 20 s.
	Limit time.Duration
}

const blindLink = "blind" // stands for the id of the link that there is not

// Protocol implements load.Dialer.
func (d Dialer) Protocol() string {
	if d.Blind {
		return load.Blind
	}
	return load.SLIM
}

// Dial connects, opens the channel, negotiates the link and returns when headers can be signed.
func (d Dialer) Dial(ctx context.Context, addr string, o load.DialOptions) (load.Conn, error) {
	c := &Conn{sink: o.Sink, blind: d.Blind, answered: make(chan struct{}, 1)}
	if d.Net == nil {
		d.Net = uplink.DialSocket
	}
	dial := func(ctx context.Context, addr string) (net.Conn, error) {
		nc, err := d.Net(ctx, addr)
		if err != nil {
			return nil, err
		}
		c.socket = load.NewSocket(nc)
		return c.socket, nil
	}
	var err error
	c.Conn, err = uplink.Dial(ctx, addr, &uplink.Options{UserAgent: userAgent, NodeID: "slim-bench", Setup: d.Limit,
		Verify: uplink.VerifyFirst, TLS: cmp.Or(o.TLS, d.TLS), DialContext: dial, NoLink: d.Blind, Handle: c.handle, ReadBuffer: o.ReadBuffer})
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", d.Protocol(), addr, advised(err))
	}
	if c.linkID = blindLink; !d.Blind {
		c.linkID = c.Link().ID
	}
	return c, nil
}

// advised puts what to do before an error of a connection that did not come about.
func advised(err error) error {
	var e *uplink.Error
	if !errors.As(err, &e) || e.Advice() == "" {
		return err
	}
	flags := ""
	if unknown := new(tls.CertificateVerificationError); errors.As(err, &unknown) {
		flags = " (--ca FILE, --insecure)"
	}
	return fmt.Errorf("%s%s (%w)", e.Advice(), flags, e.Err)
}

// Conn is one connection, of the kind that apps have.
type Conn struct {
	*uplink.Conn
	socket *load.Socket
	sink   load.Sink // nil: what arrives is dropped
	linkID string

	// To the relay.
	blind    bool
	known    bool          // what the stream is for
	heard    bool          // the relay's answer; the reader's
	answered chan struct{} // holds one: when it has come
}

// handle hands on what one read has brought. Reader.
func (c *Conn) handle(msgs [][]byte) {
	if c.blind && !c.heard {
		c.heard, msgs = true, msgs[1:]
		c.answered <- struct{}{}
	}
	if c.sink == nil {
		return
	}
	c.sink.Begin(c.socket.ReadAt)
	for _, msg := range msgs {
		c.sink.Deliver(msg)
	}
	c.sink.Flush()
}

// Close implements load.Conn: abrupt, as of an app that dies.
func (c *Conn) Close() error {
	c.Abort()
	return nil
}

// Pace implements load.Conn.
func (c *Conn) Pace(bytesPerSecond int) { c.socket.Pace(bytesPerSecond) }

// Waited returns how long sending has waited for windows and sockets, in nanoseconds.
func (c *Conn) Waited() int64 { return int64(c.Conn.Waited()) + c.socket.Waited() }

// Publisher implements load.Conn.
func (c *Conn) Publisher(m load.Message) (load.Publisher, error) {
	if c.blind {
		if err := c.purpose(context.Background(), Feed, m.To...); err != nil { // the relay is ours: it answers, or dies
			return nil, err
		}
		return newPublisher(c, m, mac.New(make([]byte, 32), blindLink)) // costs what it does with a node; nobody checks it
	}
	if key := c.NewMAC(); key != nil {
		return newPublisher(c, m, key)
	}
	return nil, c.Err()
}

// What a stream to the relay in bench/relay is for, which takes SLIM's messages byte for byte, but negotiates nothing and
// knows no names: the first message of its client is one of these words and a name, with a blank between them. The relay
// sends it back when it is so.
const (
	Join = "join" // everything that is fed under this name comes out here
	Feed = "feed" // what goes in here comes out of all streams that joined
)

var errBlindUse = errors.New("blind: a relay's stream is for one name, and for good: use another connection")

// purpose tells the relay what the stream is for, and returns when that knows.
func (c *Conn) purpose(ctx context.Context, verb string, names ...load.Address) error {
	if c.known || len(names) != 1 {
		return errBlindUse
	}
	c.known = true
	if err := c.WriteThrough(ctx, uplink.AppendFrame(nil, []byte(verb+" "+names[0].String()))); err != nil {
		return err
	}
	select {
	case <-c.answered:
		return nil
	case <-c.Done():
		return c.Err()
	case <-ctx.Done():
		return ctx.Err()
	}
}

// publisher sends one kind of message. Each destination has a template, a whole gRPC-framed message; sending copies it
// and patches the stamp, and with a fresh identity the identity and its MAC.
type publisher struct {
	c      *Conn
	sender uint32
	fresh  bool
	to     []*template // of the messages in turn
	mac    *mac.MAC
	random *rand.PCG
	out    []byte
	rest   []byte // second part of the MAC preimage
	sum    [32]byte
}

// template is an encoded message with offsets into it.
type template struct {
	b        []byte
	size     int       // of the payload
	header   wire.Span // content of the SLIMHeader
	head     wire.Header
	names    mac.Names
	identity wire.Span
	tag      wire.Span
}

// newPublisher makes a publisher that signs with mac.
func newPublisher(c *Conn, m load.Message, mac *mac.MAC) (load.Publisher, error) {
	p := &publisher{c: c, sender: m.Sender, fresh: m.Identity == load.Fresh, mac: mac,
		random: rand.NewPCG(uint64(m.Sender), uint64(load.Now()))}
	switch {
	case m.Size < load.StampSize && len(m.Sizes) == 0:
		return nil, fmt.Errorf("payload of %d bytes: want at least %d", m.Size, load.StampSize)
	case len(m.To) == 0:
		return nil, errors.New("no destination: want one or more")
	case p.fresh && m.IdentitySize < 16:
		return nil, fmt.Errorf("identity of %d characters: a fresh one needs 16", m.IdentitySize)
	}
	identity := make([]byte, m.IdentitySize)
	p.fill(identity)
	sizes := m.Sizes
	if len(sizes) == 0 {
		sizes = []int{m.Size}
	}
	for _, to := range m.To {
		made := map[int]*template{} // by size
		for _, size := range sizes {
			if made[size] == nil {
				var err error
				if made[size], err = p.template(m, to, size, string(identity)); err != nil {
					return nil, err
				}
			}
			p.to = append(p.to, made[size])
		}
	}
	return p, nil
}

func (p *publisher) template(m load.Message, to load.Address, size int, identity string) (*template, error) {
	msg := Letter{From: m.From, To: to, All: m.All, Text: make([]byte, size)}.encode(identity, make([]byte, wire.MACSize))
	t := &template{size: size, b: uplink.AppendFrame(nil, msg)}
	var f wire.Message
	if err := wire.Scan(msg, &f); err != nil {
		return t, err
	}
	head := f.Header.Of(msg)
	if err := wire.ParseHeader(head, &t.head); err != nil {
		return t, err
	}
	inside := func(s wire.Span) wire.Span {
		return wire.Span{Off: prefixLen + f.Header.Off + s.Off, End: prefixLen + f.Header.Off + s.End}
	}
	t.header = inside(wire.Span{End: uint32(f.Header.Len())})
	t.identity, t.tag = inside(t.head.Identity), inside(t.head.MAC)
	p.mac.Names(&t.names, mac.AppendNames(nil, p.c.linkID, head, &t.head))
	p.sign(t, t.b)
	return t, nil
}

// sign writes the header MAC into b, a copy of t's message.
func (p *publisher) sign(t *template, b []byte) {
	p.rest = mac.AppendRest(p.rest[:0], t.header.Of(b), &t.head, firstTTL, true)
	p.mac.Tag(&p.sum, &t.names, p.rest)
	copy(t.tag.Of(b), p.sum[:])
}

// Send implements load.Publisher.
func (p *publisher) Send(first uint64, n int, at, step int64) error {
	p.build(first, n, at, step)
	return p.c.WriteThrough(context.Background(), p.out)
}

// Waited implements load.Publisher.
func (p *publisher) Waited() int64 { return p.c.Waited() }

// build puts n messages into p.out.
func (p *publisher) build(first uint64, n int, at, step int64) {
	p.out = p.out[:0]
	for i := range n {
		seq := first + uint64(i)
		t := p.to[0]
		if len(p.to) > 1 {
			t = p.to[seq%uint64(len(p.to))]
		}
		begin := len(p.out)
		p.out = append(p.out, t.b...)
		load.Stamp{Seq: seq, At: at + int64(i)*step, Sender: p.sender}.PutEnd(p.out, t.size)
		if p.fresh {
			b := p.out[begin:]
			p.fill(t.identity.Of(b))
			p.sign(t, b)
		}
	}
}

const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

// fill makes b random text, as a token with a nonce and a signature is.
func (p *publisher) fill(b []byte) {
	for len(b) > 0 {
		r := p.random.Uint64()
		k := min(len(b), 10)
		for i := range b[:k] {
			b[i] = alphabet[r&63]
			r >>= 6
		}
		b = b[k:]
	}
}
