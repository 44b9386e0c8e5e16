package client

import (
	"cmp"
	"context"
	"math/rand/v2"

	"github.com/seed31b3bfd0/slimgo/bench/load"
	"github.com/seed31b3bfd0/slimgo/session/uplink"
	"github.com/seed31b3bfd0/slimgo/wire"
)

const (
	firstTTL           = 8
	defaultOutstanding = 256
)

// Subscribe implements load.Conn.
func (c *Conn) Subscribe(ctx context.Context, n, outstanding int, at func(int) load.Address) (int, error) {
	return c.names(ctx, wire.KindSubscribe, n, outstanding, at)
}

// Unsubscribe implements load.Conn.
func (c *Conn) Unsubscribe(ctx context.Context, n, outstanding int, at func(int) load.Address) (int, error) {
	return c.names(ctx, wire.KindUnsubscribe, n, outstanding, at)
}

// names sends one request for each name, and waits for the answers.
func (c *Conn) names(ctx context.Context, k wire.Kind, n, outstanding int, at func(int) load.Address) (done int, err error) {
	outstanding = cmp.Or(outstanding, defaultOutstanding)
	source := text(load.Address{Parts: [3]string{"bench", "client", "slim-bench"}, ID: rand.Uint64()})
	var asked []*uplink.Request
	for i := 0; i < n || len(asked) > 0; {
		for ; i < n && len(asked) < outstanding; i++ {
			a := at(i)
			h := wire.PublishHeader{Source: source, Dest: text(a), Identity: identity, Version: version, Fanout: 1, TTL: firstTTL}
			r, err := c.Request(ctx, k, &h, subscriptionID(a))
			if err != nil {
				return done, err
			}
			asked = append(asked, r)
		}
		left := outstanding / 2 // the next ones go out together
		if i == n {
			left = 0
		}
		for _, r := range asked[:len(asked)-left] {
			if err := r.Wait(ctx); err != nil {
				return done, err
			}
			done++
		}
		asked = append(asked[:0], asked[len(asked)-left:]...)
	}
	return done, nil
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
