package router

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/seed31b3bfd0/slimgo/wire"
	"github.com/seed31b3bfd0/slimgo/wire/h2"
)

// nest is an encoded length-delimited field of less than 128 bytes.
func nest(num byte, content ...[]byte) []byte {
	b := bytes.Join(content, nil)
	return append([]byte{num<<3 | 2, byte(len(b))}, b...)
}

// What its receivers could not decode would end the stream of each of them: it ends its sender's. Rules: P-msg-3.
func TestMalformedPublishReachesNobodyAndEndsItsSender(t *testing.T) {
	bad := []byte{0xc3, 0x28} // no UTF-8
	eleven := append(bytes.Repeat([]byte{0xff}, 10), 1)
	for _, c := range []struct {
		name             string
		session, content []byte
		after            []byte // of the publish
	}{
		{"session bytes ff ff", []byte{0xff, 0xff}, nil, nil},
		{"session, varint of eleven bytes", append([]byte{0x18}, eleven...), nil, nil},
		{"session, group never closed", []byte{0x7b}, nil, nil},
		{"content cut short", testSession, []byte{0x0a, 0x20, 0x12}, nil},
		{"payload type", testSession, nest(1, nest(1, bad)), nil},
		{"name in a command", testSession, nest(2, nest(9, nest(1, nest(2, nest(1, bad))))), nil},
		{"metadata key", testSession, nil, nest(4, nest(1, bad))},
		{"metadata value", testSession, nil, nest(4, nest(2, bad))},
	} {
		for _, where := range placements {
			t.Run(c.name+"/"+where.name, func(t *testing.T) {
				r := newRig(t, where.loops, Options{})
				a, other, b := r.dial(where.source), r.dial(where.source), r.dial(where.dest)
				b.subscribe(group.WithID(1, 1), 1)
				h := header(alice, group, 256, "id")
				for range 2 { // with a header that is new, and with one that is remembered
					a.publish(h, 1, 10)
				}
				if n := b.count(); n != 2 {
					t.Fatalf("%d of 2 arrived before", n)
				}
				a.sign(h)
				a.send(append(wire.AppendPublish(nil, h, c.session, c.content), c.after...))
				if a.end == nil || a.end.Kind != h2.KindTrailers || a.end.GRPCStatus != 0 {
					t.Errorf("the sender's stream: %+v, want trailers with status 0", a.end)
				}
				if n := b.count(); n != 0 || r.stats().Refused[ReasonUndecodable] != 1 {
					t.Errorf("%d arrived, refused %v; want none, one undecodable", n, r.stats().Refused)
				}
				other.publish(header(alice, group, 256, "id"), 1, 10)
				if n := b.count(); n != 1 {
					t.Errorf("the receiver is not served any more")
				}
			})
		}
	}
}

// odd is a publish of n bytes whose header says its identity several times, the last time as it is signed.
func (p *peer) odd(h *wire.PublishHeader, n int) []byte {
	p.sign(h)
	b := wire.AppendPublish(nil, h, nil, nil)
	var m wire.Message
	if err := wire.Scan(b, &m); err != nil {
		p.r.t.Fatal(err)
	}
	identity := nest(3, []byte(h.Identity))
	head := append(nest(3, []byte("replaced")), append(m.Header.Of(b), identity...)...)
	body := append(binary.AppendUvarint([]byte{0x0a}, uint64(len(head))), head...)
	body = append(body, nest(2, testSession)...)
	rest := content(1, n-len(body)-20)
	body = append(binary.AppendUvarint(append(body, 0x1a), uint64(len(rest))), rest...)
	return append(binary.AppendUvarint([]byte{0x1a}, uint64(len(body))), body...)
}

// To write a message anew costs memory and time before its sender has shown that it holds the key of the link.
// Rules: P-msg-6, P-lim-6.
func TestOddMessagesAreMergedUpToABound(t *testing.T) {
	for _, where := range placements {
		r := newRig(t, where.loops, Options{})
		a, b := r.dial(where.source), r.dial(where.dest)
		b.subscribe(bob, 1)
		small, large := a.odd(header(alice, bob, 1, "id"), maxOdd-100), a.odd(header(alice, bob, 1, "id"), maxOdd+100)
		if len(small) > maxOdd || len(large) <= maxOdd {
			t.Fatalf("messages of %d and %d bytes", len(small), len(large))
		}
		a.send(small)
		got := b.take()
		b.checkMAC(got)
		if h := decode(t, got).GetPublish().Header; h.Identity != "id" || h.Ttl != 7 {
			t.Errorf("%s: it arrived as %v", where.name, h)
		}
		a.send(large)
		if s := r.stats(); b.count() != 0 || s.Dropped[ReasonInvalid] != 1 || a.end != nil {
			t.Errorf("%s: dropped %v, end %v; want one invalid message, and the stream alive", where.name, s.Dropped, a.end)
		}
	}
}

// What precedes the tail of a message is made anew for each receiver, so its sender must not make it cost more than
// that. Rules: P-lim-7.
func TestHeadersAreBounded(t *testing.T) {
	const limit = 4 << 10
	pad := func(n int) string { return string(bytes.Repeat([]byte("i"), n)) }
	before := func(p *peer, unknown int) []byte { // fields of the message that come before the publish
		b := p.publication(header(alice, group, 256, "id"), 1, 10)
		return append(append(binary.AppendUvarint([]byte{0x7a}, uint64(unknown)), pad(unknown)...), b...)
	}
	for _, c := range []struct {
		name string
		msg  func(p *peer) []byte
		dies bool
	}{
		{"long identity", func(p *peer) []byte { return p.publication(header(alice, group, 256, pad(limit-400)), 1, 10) },
			false},
		{"longer identity", func(p *peer) []byte { return p.publication(header(alice, group, 256, pad(limit)), 1, 10) },
			true},
		{"long unknown field before", func(p *peer) []byte { return before(p, limit-400) }, false},
		{"longer unknown field before", func(p *peer) []byte { return before(p, limit) }, true},
		{"both together", func(p *peer) []byte {
			b := p.publication(header(alice, group, 256, pad(limit/2)), 1, 10)
			return append(append(binary.AppendUvarint([]byte{0x7a}, limit/2), pad(limit/2)...), b...)
		}, true},
		{"payload does not count", func(p *peer) []byte {
			return p.publication(header(alice, group, 256, "id"), 1,
				3*limit)
		}, false},
	} {
		for _, where := range placements {
			t.Run(c.name+"/"+where.name, func(t *testing.T) {
				r := newRig(t, where.loops, Options{MaxHeader: limit})
				a, b := r.dial(where.source), r.dial(where.dest)
				b.subscribe(group.WithID(1, 1), 1)
				a.send(c.msg(a))
				want, died := 1, uint64(0)
				if c.dies {
					want, died = 0, 1
				}
				if n := b.count(); n != want || r.stats().Dropped[ReasonHeader] != died {
					t.Errorf("%d arrived, dropped %v; want %d and %d", n, r.stats().Dropped, want, died)
				}
				a.publish(header(alice, group, 256, "id"), 1, 10)
				if n := b.count(); n != 1 {
					t.Error("the connection does not live on")
				}
			})
		}
	}
}

func TestHeaderLimitIs64KiBUnlessSet(t *testing.T) {
	r := newRig(t, 1, Options{})
	a, b := r.dial(0), r.dial(0)
	b.subscribe(bob, 1)
	for _, n := range []int{63 << 10, 64 << 10} {
		a.publish(header(alice, bob, 1, string(bytes.Repeat([]byte("i"), n))), 1, 10)
	}
	if n := b.count(); n != 1 || r.stats().Dropped[ReasonHeader] != 1 {
		t.Errorf("%d arrived, dropped %v; want one of each", n, r.stats().Dropped)
	}
	o := Options{Listen: []string{"127.0.0.1:0"}, MaxHeader: MinMaxHeader - 1}
	if err := o.fill(); err == nil {
		t.Error("a limit that no header keeps is taken")
	}
}

// A message of four megabytes can be two million fields, each of which takes its time before the sender has shown that
// it holds the key of the link. Rules: P-lim-14.
func TestMessagesOfTooManyPartsAreDropped(t *testing.T) {
	tiny := []byte{4<<3 | 2, 0} // metadata without key and value: one field
	for _, where := range placements {
		r := newRig(t, where.loops, Options{})
		a, b := r.dial(where.source), r.dial(where.dest)
		b.subscribe(bob, 1)
		plain := a.publication(header(alice, bob, 1, "id"), 1, partsFrom)
		room := maxParts - countParts(t, plain)
		for i, c := range []struct{ parts, want int }{{room, 1}, {room + 1, 0}} {
			a.sendBig(append(bytes.Clone(plain), bytes.Repeat(tiny, c.parts)...))
			if n := b.count(); n != c.want {
				t.Errorf("%s: %d of %d parts: %d arrived, want %d", where.name, c.parts-room+maxParts, maxParts, n, c.want)
			}
			if n := r.stats().Dropped[ReasonInvalid]; n != uint64(i) {
				t.Errorf("%s: %d counted as invalid, want %d", where.name, n, i)
			}
		}
		if a.end != nil {
			t.Errorf("%s: the sender's stream was ended: %+v", where.name, a.end)
		}
	}
}

// countParts returns how many fields a message has.
func countParts(t *testing.T, b []byte) int {
	t.Helper()
	for n := range 100 {
		if wire.FewParts(b, n) {
			return n
		}
	}
	t.Fatal("more than a hundred parts")
	return 0
}
