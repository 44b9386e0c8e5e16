package client

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/seed31b3bfd0/slimgo/bench/load"
	"github.com/seed31b3bfd0/slimgo/session/uplink"
)

// Requests of a stream to the relay in bench/relay, which takes SLIM's messages byte for byte, but negotiates nothing
// and knows no names: one of these words, a space, and a name. Each comes back as it is when it is done. After a feed,
// whatever is sent is passed on.
const (
	Join    = "join"     // everything that is fed under this name comes out here
	Feed    = "feed"     // what goes in here comes out of the streams that joined, of one in turn
	FeedAll = "feed-all" // the same, of all of them
)

const blindLink = "blind"

// BlindDialer opens connections to a relay.
type BlindDialer struct{}

// Protocol implements load.Dialer.
func (BlindDialer) Protocol() string { return load.Blind }

// Dial connects and opens the stream.
func (BlindDialer) Dial(ctx context.Context, addr string, o load.DialOptions) (load.Conn, error) {
	b := &blindConn{Conn: Conn{sink: o.Sink}, back: make(chan struct{}, 1)}
	if err := (Dialer{}).dial(ctx, addr, &b.Conn, uplink.Options{Handle: b.handle, NoLink: true, ReadBuffer: o.ReadBuffer}); err != nil {
		return nil, fmt.Errorf("blind %s: %w", addr, err)
	}
	b.linkID = blindLink
	return b, nil
}

// blindConn is a Conn whose stream says itself what it is for.
type blindConn struct {
	Conn
	back  chan struct{} // gets one for a request that has come back
	feeds bool          // a feed asks nothing more
}

const tagPublish = 3<<3 | 2 // Message.publish

// handle takes out what has come back of our requests. Reader.
func (b *blindConn) handle(msgs [][]byte) {
	msgs = slices.DeleteFunc(msgs, func(msg []byte) bool {
		back := len(msg) == 0 || msg[0] != tagPublish
		if back {
			b.back <- struct{}{}
		}
		return back
	})
	if len(msgs) > 0 {
		b.Conn.handle(msgs)
	}
}

// ask sends a request and waits until it comes back.
func (b *blindConn) ask(ctx context.Context, verb, name string) error {
	if err := b.WriteThrough(ctx, uplink.AppendFrame(nil, []byte(verb+" "+name))); err != nil {
		return err
	}
	select {
	case <-b.back:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-b.Done():
		return b.Err()
	}
}

// Subscribe implements load.Conn.
func (b *blindConn) Subscribe(ctx context.Context, n, _ int, at func(int) load.Address) (int, error) {
	for i := range n {
		if err := b.ask(ctx, Join, at(i).String()); err != nil {
			return i, err
		}
	}
	return n, nil
}

var (
	errBlindNames = errors.New("a relay has no names to withdraw")
	errBlindFeed  = errors.New("a relay's stream feeds one name: use another connection")
)

// Unsubscribe implements load.Conn: it is an error.
func (b *blindConn) Unsubscribe(context.Context, int, int, func(int) load.Address) (int, error) {
	return 0, errBlindNames
}

// Publisher implements load.Conn: one for each connection, to one destination.
func (b *blindConn) Publisher(m load.Message) (load.Publisher, error) {
	switch {
	case len(m.To) != 1:
		return nil, fmt.Errorf("blind: %d destinations: want one", len(m.To))
	case b.feeds:
		return nil, errBlindFeed
	}
	b.feeds = true
	verb := Feed
	if m.All {
		verb = FeedAll
	}
	ctx, cancel := context.WithTimeout(context.Background(), setupLimit)
	defer cancel()
	if err := b.ask(ctx, verb, m.To[0].String()); err != nil {
		return nil, err
	}
	return newPublisher(&b.Conn, m, newBlindMAC())
}
