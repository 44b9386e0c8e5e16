package client

import (
	"context"
	"errors"

	"github.com/seed31b3bfd0/slimgo/bench/load"
	"github.com/seed31b3bfd0/slimgo/session/uplink"
)

// What a stream to the relay in bench/relay is for, which takes SLIM's messages byte for byte, but negotiates nothing and
// knows no names: the first message of its client is one of these words and a name, with a blank between them. The relay
// sends it back when it is so.
const (
	Join    = "join"     // everything that is fed under this name comes out here
	Feed    = "feed"     // what goes in here comes out of the streams that joined, of one in turn
	FeedAll = "feed-all" // the same, of all of them
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
