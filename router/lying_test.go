package router

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/seed31b3bfd0/slimgo/router/table"
	"github.com/seed31b3bfd0/slimgo/wire"
)

// tells sends a Subscribe with a TTL of the peer's choice.
func (p *peer) tells(n wire.NameText, id uint64, ttl uint32) {
	p.r.t.Helper()
	h := header(n, n, 1, "")
	h.TTL = ttl
	p.sign(h)
	p.send(wire.AppendSubscribe(nil, h, id))
}

// holds waits until so many subscriptions are there.
func (r *rig) holds(want int) {
	r.t.Helper()
	for begin := time.Now(); r.n.names.Len() != want; r.settle() {
		if time.Since(begin) > hang {
			r.t.Fatalf("%d subscriptions are there, want %d", r.n.names.Len(), want)
		}
	}
}

// A peer that names the ids of others takes nothing from them, with or without telling their names first. Rules: P-peer-6, P-sub-6.
func TestAPeerTakesNothingFromOthers(t *testing.T) {
	for _, o := range []Options{relaying, {}} {
		t.Run(fmt.Sprintf("relays %v", o.RelayPeerPublishes), func(t *testing.T) {
			r := newRig(t, 1, o)
			p, a, b := r.dialAs(0, wire.LinkPeer, "honest"), r.dial(0), r.dial(0)
			p.subscribe(appName(1), 5)
			b.request(appName(2), 6)
			own := p.hear().id
			p.ack(own)
			b.wantAck(6, true, "")
			liar := r.dialAs(0, wire.LinkPeer, "liar")
			liar.count()         // what it is told
			wantBoth := func() { // both names lead where they led
				t.Helper()
				a.publish(header(appName(3), appName(1), 0, ""), 1, 10)
				a.publish(header(appName(3), appName(2), 0, ""), 2, 10)
				if p, b, l := p.count(), b.count(), liar.count(); p != 1 || b != 1 || l != 0 {
					t.Fatalf("the peer got %d, the app %d, the liar %d messages: want 1, 1 and 0", p, b, l)
				}
			}
			for _, x := range []struct {
				name wire.NameText
				id   uint64
			}{{appName(1), 5}, {appName(2), 6}, {appName(2), own}, {appName(1), own}, {appName(2), 5}} {
				liar.unsubscribe(x.name, x.id)
				liar.wantAck(x.id, false, fmt.Sprint(table.ErrNoRecord, ": ", x.id))
				wantBoth()
			}
			// The same route as another peer's, and as the node's own, farther away: an echo.
			liar.tells(appName(1), 5, 2)
			liar.tells(appName(2), own, 2)
			r.settle()
			liar.count()
			wantBoth()
			liar.abandon()
			r.seconds(3)
			p.count() // what it is told again
			wantBoth()
		})
	}
}

// A TTL of 0 ends where it comes, and one of 2^32-1 counts as the most that a route has. Rules: P-ttl-1, P-peer-1.
func TestTTLsOfPeersAreBounded(t *testing.T) {
	r := newRig(t, 1, relaying)
	p, q := r.dialAs(0, wire.LinkPeer, "n1"), r.dialAs(0, wire.LinkPeer, "n2")
	for _, ttl := range []uint32{0, 1} {
		p.tells(appName(int(ttl)), 5, ttl)
		r.settle()
		q.silent()
		p.count()
	}
	p.tells(appName(2), 6, math.MaxUint32)
	if x := q.hear(); x.ttl > 7 || x.id != 6 {
		t.Errorf("relayed with TTL %d and id %d, want at most 7, and 6", x.ttl, x.id)
	}
	q.ack(6)
	p.wantAck(6, true, "")
	p.abandon()
	r.holds(0)
}

// Names without end fill a peer's own room and nobody else's; each that is too much is refused and counted. Rules: P-lim-3.
func TestAPeerWithoutEndFillsItsOwnRoom(t *testing.T) {
	const room, names = 200, 3000
	r := newRig(t, 2, Options{MaxSubscriptions: room})
	liar, honest, a := r.dialAs(0, wire.LinkPeer, "liar"), r.dialAs(1, wire.LinkPeer, "honest"), r.dial(1)
	taken := 0
	for i := range names {
		liar.request(appName(i), uint64(i+1))
		b := liar.take()
		var m wire.Message
		if err := wire.Scan(b, &m); err != nil || m.Kind != wire.KindAck {
			t.Fatalf("no acknowledgement: %v", err)
		}
		if _, ok, _, err := wire.ParseAck(b, &m); err == nil && ok {
			taken++
		}
	}
	if taken != room || r.n.names.Len() != room {
		t.Errorf("%d names were taken, and %d are there, want %d", taken, r.n.names.Len(), room)
	}
	if n := r.stats().Refused[ReasonSubscriptions]; n != names-room {
		t.Errorf("%d refusals were counted, want %d", n, names-room)
	}
	honest.subscribe(appName(names), 1)
	a.request(appName(names+1), 1)
	honest.ack(honest.hear().id)
	liar.ack(liar.hear().id)
	a.wantAck(1, true, "")
	liar.abandon()
	r.holds(2)
}
