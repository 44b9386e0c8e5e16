package client

import (
	"context"
	"errors"
	"fmt"

	"github.com/seed31b3bfd0/slimgo/bench/load"
	"github.com/seed31b3bfd0/slimgo/session/uplink"
	"github.com/seed31b3bfd0/slimgo/wire/mac"
)

// What a stream to the relay in bench/relay is for, which takes SLIM's messages byte for byte, but negotiates nothing and
// knows no names: its user agent is slim-bench's, one of these words and a name, with spaces between them. It is so when the
// relay has opened it.
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

// Dial implements load.Dialer. It connects when it is known what for.
func (BlindDialer) Dial(_ context.Context, addr string, o load.DialOptions) (load.Conn, error) {
	return &blindConn{Conn: Conn{sink: o.Sink, linkID: blindLink}, addr: addr, readBuffer: o.ReadBuffer}, nil
}

// blindConn is a Conn for one purpose.
type blindConn struct {
	Conn
	addr       string
	readBuffer int
}

var (
	errBlindNames = errors.New("a relay has no names to withdraw")
	errBlindUse   = errors.New("blind: a relay's stream is for one name: use another connection")
)

// open connects for one purpose.
func (b *blindConn) open(ctx context.Context, verb, name string) error {
	if b.Conn.Conn != nil {
		return errBlindUse
	}
	o := uplink.Options{Handle: b.handle, NoLink: true, ReadBuffer: b.readBuffer, UserAgent: userAgent + " " + verb + " " + name}
	if err := (Dialer{}).dial(ctx, b.addr, &b.Conn, o); err != nil {
		return fmt.Errorf("blind %s: %w", b.addr, err)
	}
	b.linkID = blindLink
	return nil
}

// Subscribe implements load.Conn: to one name.
func (b *blindConn) Subscribe(ctx context.Context, n, _ int, at func(int) load.Address) (int, error) {
	if n != 1 {
		return 0, errBlindUse
	}
	if err := b.open(ctx, Join, at(0).String()); err != nil {
		return 0, err
	}
	return 1, nil
}

// Unsubscribe implements load.Conn: it is an error.
func (b *blindConn) Unsubscribe(context.Context, int, int, func(int) load.Address) (int, error) {
	return 0, errBlindNames
}

// Publisher implements load.Conn: one for each connection, to one destination.
func (b *blindConn) Publisher(m load.Message) (load.Publisher, error) {
	if len(m.To) != 1 {
		return nil, errBlindUse
	}
	verb := Feed
	if m.All {
		verb = FeedAll
	}
	if err := b.open(context.Background(), verb, m.To[0].String()); err != nil { // within setupLimit
		return nil, err
	}
	return newPublisher(&b.Conn, m, mac.New(make([]byte, 32), blindLink)) // costs what it does with a node; nobody checks it
}

// Err implements load.Conn.
func (b *blindConn) Err() error {
	if b.Conn.Conn == nil {
		return nil
	}
	return b.Conn.Err()
}

// Close implements load.Conn.
func (b *blindConn) Close() error {
	if b.Conn.Conn == nil {
		return nil
	}
	return b.Conn.Close()
}
