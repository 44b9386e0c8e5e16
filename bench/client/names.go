package client

import (
	"context"
	"fmt"
	"math/rand/v2"

	"github.com/seed31b3bfd0/slimgo/bench/load"
	"github.com/seed31b3bfd0/slimgo/wire"
	"github.com/seed31b3bfd0/slimgo/wire/mac"
)

const (
	firstTTL           = 8
	defaultOutstanding = 256
	namesBatch         = 64 // subscriptions of one write
	appName            = "slim-bench"
)

// acks counts subscriptions that wait for their SubscriptionAck.
type acks struct {
	pending int
	done    int
	refused string // reason of the first refusal
}

// answer takes the node's word on a name. Reader.
func (c *Conn) answer(_ uint64, ok bool, reason string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case ok:
		c.acks.done++
	case c.acks.refused == "":
		c.acks.refused = max(reason, "no reason given")
	}
	c.acks.pending--
	if c.acks.pending%namesBatch == 0 {
		c.tell()
	}
}

// tell wakes who waits for answers.
func (c *Conn) tell() {
	select {
	case c.news <- struct{}{}:
	default:
	}
}

// Subscribe implements load.Conn.
func (c *Conn) Subscribe(ctx context.Context, n, outstanding int, at func(int) load.Address) (int, error) {
	return c.names(ctx, n, outstanding, at, wire.AppendSubscribe)
}

// Unsubscribe implements load.Conn.
func (c *Conn) Unsubscribe(ctx context.Context, n, outstanding int, at func(int) load.Address) (int, error) {
	return c.names(ctx, n, outstanding, at, wire.AppendUnsubscribe)
}

// names sends one request for each name and counts the acks. Only one call runs on a connection at a time.
func (c *Conn) names(
	ctx context.Context, n, outstanding int, at func(int) load.Address,
	encode func([]byte, *wire.PublishHeader, uint64) []byte,
) (int, error) {
	if outstanding == 0 {
		outstanding = defaultOutstanding
	}
	batch := min(outstanding, namesBatch)
	sign, err := newSigner(c)
	if err != nil {
		return 0, err
	}
	source := text(load.Address{Parts: [3]string{"bench", "client", appName}, ID: rand.Uint64()})
	c.mu.Lock()
	c.acks = acks{}
	c.mu.Unlock()
	var out []byte
	for i := 0; i < n; {
		out = out[:0]
		end := min(n, i+batch)
		for j := i; j < end; j++ {
			a := at(j)
			h := wire.PublishHeader{Source: source, Dest: text(a), Identity: "bench", Version: version, Fanout: 1, TTL: firstTTL}
			id := subscriptionID(a)
			h.MAC = sign.tag(encode(sign.scratch[:0], &h, id))
			begin := len(out)
			out = encode(append(out, make([]byte, prefixLen)...), &h, id)
			putPrefix(out[begin:])
		}
		c.mu.Lock()
		c.acks.pending += end - i
		c.mu.Unlock()
		if err := c.WriteThrough(ctx, out); err != nil {
			return c.confirmed(), err
		}
		i = end
		room := outstanding - batch
		if i == n {
			room = 0
		}
		if err := c.wait(ctx, room); err != nil {
			return c.confirmed(), err
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.acks.refused != "" {
		return c.acks.done, fmt.Errorf("node refused a name: %s", c.acks.refused)
	}
	return c.acks.done, nil
}

// wait blocks until at most room names are not confirmed, the connection ends or ctx does.
func (c *Conn) wait(ctx context.Context, room int) error {
	for {
		c.mu.Lock()
		pending := c.acks.pending
		c.mu.Unlock()
		if pending <= room {
			return nil
		}
		select {
		case <-c.news:
		case <-ctx.Done():
			return ctx.Err()
		case <-c.Done():
			return c.Err()
		}
	}
}

func (c *Conn) confirmed() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.acks.done
}

// text is the SLIM name of an address. Ids get a constant high half, so that all 128 bits are in use.
func text(a load.Address) wire.NameText {
	t := wire.Text(a.Parts[0], a.Parts[1], a.Parts[2])
	if a.ID != 0 {
		t = t.WithID(0x51a7be4c<<32|0x5eed, a.ID)
	}
	return t
}

// subscriptionID is a function of the name, so that Unsubscribe knows it again without a table.
func subscriptionID(a load.Address) uint64 {
	return max(1, wire.Hash(a.Parts[2])*31+wire.Hash(a.Parts[1])+a.ID)
}

// signer computes header tags of encoded messages on one connection. Not safe for concurrent use.
type signer struct {
	mac      *mac.MAC
	linkID   string
	names    mac.Names
	scratch  []byte // for the message
	preimage []byte
	sum      [32]byte
}

func newSigner(c *Conn) (*signer, error) {
	m, err := c.newMAC()
	return &signer{mac: m, linkID: c.linkID, scratch: make([]byte, 0, 1024)}, err
}

// tag returns the MAC for the header of msg, which has none yet. It is valid until the next call. msg is what this
// package has just encoded, so it parses.
func (s *signer) tag(msg []byte) []byte {
	var m wire.Message
	var h wire.Header
	if err := wire.Scan(msg, &m); err != nil {
		panic(err)
	}
	head := m.Header.Of(msg)
	if err := wire.ParseHeader(head, &h); err != nil {
		panic(err)
	}
	s.preimage = mac.AppendNames(s.preimage[:0], s.linkID, head, &h)
	s.mac.Names(&s.names, s.preimage)
	s.preimage = mac.AppendRest(s.preimage[:0], head, &h, h.TTL, true)
	s.mac.Tag(&s.sum, &s.names, s.preimage)
	return s.sum[:]
}
