package client

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"

	"github.com/seed31b3bfd0/slimgo/bench/load"
	"github.com/seed31b3bfd0/slimgo/session/uplink"
	"github.com/seed31b3bfd0/slimgo/wire"
	"github.com/seed31b3bfd0/slimgo/wire/mac"
)

const (
	fanoutAll  = 256 // what apps put in for "every subscriber"
	sessionID  = 4711
	payloadTyp = "msg"
)

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
