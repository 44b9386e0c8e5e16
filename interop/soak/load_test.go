//go:build interop

package soak

import (
	"context"
	"math"
	"time"

	"github.com/seed31b3bfd0/slimgo/bench/load"
	"github.com/seed31b3bfd0/slimgo/session/uplink"
)

// loadProgram publishes honestly from one connection to another, as fast as its share of a processor allows.
var loadProgram = program{"load", func(ctx context.Context, c *child) error {
	return c.converse(ctx, uplink.Options{}, []int{100, 1 << 10, 200, 16 << 10})
}}

// converse publishes from one connection to another until ctx ends, and reads what comes.
func (c *child) converse(ctx context.Context, o uplink.Options, sizes []int) error {
	in := o
	in.Handle = func(msgs [][]byte) {}
	dest := c.name("load", 1)
	to, err := c.uplink(ctx, in)
	if err != nil {
		return err
	}
	defer to.Abort()
	header := publication(dest, dest, 1)
	if _, err := to.Subscribe(ctx, &header); err != nil {
		return err
	}
	from, err := c.uplink(ctx, o)
	if err != nil {
		return err
	}
	defer from.Abort()
	for i := 0; c.pay(ctx); i++ {
		if err := from.Publish(ctx, &header, session, blob(sizes[i%len(sizes)])); err != nil {
			return err
		}
		c.requested(1)
	}
	return nil
}

// blob is an encoded Content with a payload of that size.
func blob(size int) []byte {
	return content(nil, max(size, minSize), load.Stamp{Sender: math.MaxUint32})
}

// uplink connects an honest client of a child. It waits for a node that is full.
func (c *child) uplink(ctx context.Context, o uplink.Options) (*uplink.Conn, error) {
	if o.Setup == 0 {
		o.Setup = time.Minute
	}
	if o.DialContext == nil {
		o.DialContext = c.dialUplink
	}
	return uplink.Dial(ctx, c.node, &o)
}
