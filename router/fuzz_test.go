package router

import (
	"testing"

	"github.com/seed31b3bfd0/slimgo/wire"
)

// FuzzNode feeds arbitrary bytes to a negotiated socket, in two reads: raw HTTP/2 behind the negotiation, then whole
// messages in DATA frames. The node must not panic, must keep serving others, and must leave nothing behind.
func FuzzNode(f *testing.F) {
	f.Add([]byte{0, 0, 4, 8, 0, 0, 0, 0, 0, 0, 0, 1, 0}, uint8(5), true)
	f.Add([]byte{0, 0, 0, 0, 0}, uint8(1), false)
	f.Add(wire.AppendPublish(nil, header(alice, bob, 1, "x"), testSession, content(1, 20)), uint8(9), false)
	f.Add(wire.AppendSubscribe(nil, header(group, group, 1, "x"), 7), uint8(0), false)
	f.Add(wire.AppendUnsubscribe(nil, header(bob, bob, 1, ""), 1), uint8(30), false)
	f.Add(wire.AppendAck(nil, 3, true, ""), uint8(2), false)
	f.Add([]byte{0x2a, 0x02, 0x0a, 0x00}, uint8(2), false)
	f.Fuzz(func(t *testing.T, b []byte, split uint8, raw bool) {
		r := newRig(t, 1, Options{AllowUnsigned: true})
		a, b2, c := r.dial(0), r.dial(0), r.dial(0)
		b2.subscribe(bob, 1)
		a.hears(true)
		if raw {
			at := min(int(split), len(b))
			a.feed(b[:at])
			a.feed(b[at:])
		} else if len(b) < 60_000 {
			a.stageMessage(b)
		}
		r.settle()
		r.pass(2 * stallLook)
		c.publish(header(alice, bob, 1, "y"), 1, 10)
		found := false
		b2.exchange()
		for _, m := range b2.got {
			var s wire.Message
			if err := wire.Scan(m, &s); err != nil {
				t.Fatalf("the node sent what does not decode: %x", m)
			}
			found = found || s.Kind == wire.KindPublish
		}
		if !found {
			t.Fatal("others are not served any more")
		}
		for _, p := range r.peers {
			p.abandon()
		}
		s := r.stats()
		if s.Panics != 0 || s.Names != 0 || s.Connections != 0 || s.Sockets != 0 {
			t.Fatalf("left behind: %+v", s)
		}
	})
}

// hears makes the peer take whatever the node says without looking.
func (p *peer) hears(deaf bool) { p.paused = deaf }

// stageMessage sends b as one gRPC message and moves on.
func (p *peer) stageMessage(b []byte) {
	p.stage(b)
	out := append([]byte(nil), p.out...)
	p.out = p.out[:0]
	p.cli.Cut()
	p.feed(out)
}
