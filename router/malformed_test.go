package router

import (
	"bytes"
	"testing"

	"github.com/seed31b3bfd0/slimgo/wire"
	"github.com/seed31b3bfd0/slimgo/wire/h2"
)

// nest is an encoded length-delimited field of less than 128 bytes.
func nest(num byte, content ...[]byte) []byte {
	b := bytes.Join(content, nil)
	return append([]byte{num<<3 | 2, byte(len(b))}, b...)
}

// What its receivers could not decode would end the stream of each of them: it ends its sender's.
func TestMalformedPublishReachesNobodyAndEndsItsSender(t *testing.T) {
	bad := []byte{0xc3, 0x28} // no UTF-8
	eleven := append(bytes.Repeat([]byte{0xff}, 10), 1)
	for _, c := range []struct {
		name             string
		session, content []byte
		behind           []byte // of the publish
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
				a.send(append(wire.AppendPublish(nil, h, c.session, c.content), c.behind...))
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
