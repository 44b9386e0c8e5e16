//go:build interop

package interop

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/seed31b3bfd0/slimgo/session/uplink"
	"github.com/seed31b3bfd0/slimgo/wire/pb"
)

// part is an encoded length-delimited field, num an encoded number.
func part(n protowire.Number, content ...[]byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(nil, n, protowire.BytesType), bytes.Join(content, nil))
}

func num(n protowire.Number, v uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(nil, n, protowire.VarintType), v)
}

// groups are n unknown groups, one inside the other, around inner.
func groups(n int, inner ...byte) []byte {
	const begin, end = 15<<3 | 3, 15<<3 | 4
	return append(append(bytes.Repeat([]byte{begin}, n), inner...), bytes.Repeat([]byte{end}, n)...)
}

// malformed are publishes that apps do not write. Those that pass reach their receiver. All others reach nobody and end
// the sender's stream with status 0: a receiver could not decode them, and would end its own.
var malformed = func() []publishCase {
	var (
		session = part(2, num(1, 1), num(2, 1), num(3, 7), num(4, 1))
		app     = part(3, part(1, part(1, []byte("text")), part(2, []byte("hello"))))
		eleven  = append(bytes.Repeat([]byte{0xff}, 10), 1)
		bad     = []byte("\xc3\x28")
		command = func(n protowire.Number, body ...[]byte) []byte { return part(3, part(2, part(n, body...))) }
		name    = func(s []byte) []byte { return part(1, part(1, num(1, 1)), part(2, part(3, s))) }
	)
	all := []publishCase{
		{"plain", session, app, nil, nil, true},
		{"no content", session, nil, nil, nil, true},
		{"session of two bytes ff", part(2, []byte{0xff, 0xff}), app, nil, nil, false},
		{"session number as text", part(2, part(1, []byte("x"))), app, nil, nil, false},
		{"session number of eleven bytes", part(2, []byte{0x18}, eleven), app, nil, nil, false},
		{"session number that overflows", part(2, []byte{0x18}, bytes.Repeat([]byte{0xff}, 9), []byte{2}), app, nil, nil,
			false},
		{"session enum of another time", part(2, num(1, 99), num(2, 1<<40)), app, nil, nil, true},
		{"session with field 0", part(2, []byte{0}), app, nil, nil, false},
		{"session with unknown fields", part(2, num(1, 1), num(5, 1), part(99, bad)), app, nil, nil, true},
		{"session as a number", num(2, 1), app, nil, nil, false},
		{"content cut short", session, part(3, []byte{0x0a, 50, 1}), nil, nil, false},
		{"content over its end", session, part(3, []byte{0x0a, 2, 0x12}), nil, nil, false},
		{"payload type not UTF-8", session, part(3, part(1, part(1, bad))), nil, nil, false},
		{"payload type not UTF-8, then another", session, part(3, part(1, part(1, bad), part(1, []byte("text")))), nil, nil,
			false},
		{"payload type as a number", session, part(3, part(1, num(1, 1))), nil, nil, false},
		{"blob not UTF-8", session, part(3, part(1, part(2, bad))), nil, nil, true},
		{"payload broken, replaced by a command", session, part(3, part(1, part(1, bad)), part(2)), nil, nil, false},
		{"payload replaced by a command", session, part(3, part(1), part(2)), nil, nil, true},
		{"unknown content", session, part(3, part(3, eleven)), nil, nil, true},
		{"unknown number of eleven bytes", session, part(3, []byte{0x18}, eleven), nil, nil, false},
		{"command: empty ones", session, command(1), nil, nil, true},
		{"command: empty one with an unknown field", session, command(1, num(1, 1)), nil, nil, true},
		{"command: empty one, broken", session, command(5, []byte{0x0f}), nil, nil, false},
		{"command: unknown", session, command(17, eleven), nil, nil, true},
		{"command: join, channel's name not UTF-8", session, command(3, part(2, part(2, part(1, bad)))), nil, nil, false},
		{"command: join, timer as text", session, command(3, part(1, part(1, bad))), nil, nil, false},
		{"command: update, third member's name not UTF-8", session,
			command(7, part(3, name([]byte("a"))), part(3, name([]byte("b"))), part(3, name(bad))), nil, nil, false},
		{"command: update, MLS broken", session, command(7, part(4, []byte{0x0a})), nil, nil, false},
		{"command: welcome, settings as a number", session, command(8, part(1, num(2, 1))), nil, nil, false},
		{"command: rejoin reply, number as text", session, command(16, part(1, bad)), nil, nil, false},
		{"command: rejoin reply", session, command(16, num(1, 1), part(2, bad)), nil, nil, true},
		{"metadata", session, app, nil, part(4, part(1, []byte("k")), part(2, []byte("v"))), true},
		{"metadata without key and value", session, app, nil, part(4), true},
		{"metadata with an unknown field", session, app, nil, part(4, part(3, bad)), true},
		{"metadata key not UTF-8", session, app, nil, part(4, part(1, bad)), false},
		{"metadata value not UTF-8", session, app, nil, part(4, part(2, bad)), false},
		{"metadata key as a number", session, app, nil, part(4, num(1, 1)), false},
		{"unknown field after", session, app, nil, part(1000, bad), true},
		{"group never closed", session, app, nil, []byte{15<<3 | 3}, false},
		{"group never closed in the session", part(2, []byte{15<<3 | 3}), app, nil, nil, false},
		{"end of no group", session, app, nil, []byte{15<<3 | 4}, false},
		{"wire type 6", session, app, nil, []byte{15<<3 | 6}, false},
		{"metadata as a number", session, app, nil, num(4, 0), false},
		{"a second publish, broken", session, app, nil, part(3, part(2, []byte{0xff})), false},
		{"a second publish", session, app, nil, part(3, part(2, num(4, 7))), true},
		{"a second header, broken", part(1, part(3, bad)), app, nil, nil, false},
		{"header: version not UTF-8", session, app, part(5, bad), nil, false},
		{"header: strings of a name not UTF-8", session, app, part(1, part(2, part(2, bad))), nil, false},
		{"header: unknown field", session, app, part(50, bad), nil, true},
		{"header: group never closed", session, app, []byte{15<<3 | 3}, nil, false},
	}
	// Each message and each group takes one of a hundred steps down, and so does what is looked at in the last.
	for _, d := range []struct {
		n     int
		inner []byte
		pass  bool
	}{{100, nil, true}, {101, nil, false}, {99, num(15, 1), true}, {100, num(15, 1), false}} {
		what := strings.Repeat(", with a number", min(1, len(d.inner)))
		all = append(all,
			publishCase{"groups at the top, all steps" + what, session, app, nil, groups(d.n, d.inner...), d.pass},
			publishCase{"groups in the header, two steps down" + what, session, app, groups(d.n-2, d.inner...), nil, d.pass},
			publishCase{"groups in the session, two steps down" + what, part(2, groups(d.n-2, d.inner...)), app, nil, nil,
				d.pass},
			publishCase{"groups in a metadata entry, one step down" + what, session, app, nil, part(4, groups(d.n-1,
				d.inner...)), d.pass})
	}
	return all
}()

type publishCase struct {
	name             string
	session, content []byte // fields of Publish
	header           []byte // fields of SLIMHeader after the usual ones
	after            []byte // fields of Message after the publish
	pass             bool
}

// raw encodes case c as a publish of s to a name.
func (s *speaker) raw(t *testing.T, to *pb.Name, c *publishCase) []byte {
	t.Helper()
	h := s.header(to, 1, s.token())
	if _, err := s.sealed(&pb.Message{MessageType: &pb.Message_Publish{Publish: &pb.Publish{Header: h}}}, h); err != nil {
		t.Fatal(err)
	}
	head, err := proto.Marshal(h)
	if err != nil {
		t.Fatal(err)
	}
	return append(part(3, part(1, head, c.header), c.session, c.content), c.after...)
}

// Rules: P-msg-3, P-msg-5, P-msg-7.
func TestMalformedPublishesReachNobodyAndEndTheirSender(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	onBoth(t, func(t *testing.T, k kind) {
		n := startNode(t, k)
		receiver := n.speak(t, bob, key)
		probe := n.speak(t, "org/ns/probe", key)
		for i := range malformed {
			c := &malformed[i]
			t.Run(c.name, func(t *testing.T) {
				sender := n.speak(t, alice, key)
				defer sender.conn.Abort()
				if err := sender.conn.Write(t.Context(), uplink.AppendFrame(nil, sender.raw(t, receiver.name, c))); err != nil {
					t.Fatal(err)
				}
				// Upstream's decoder does not look at the wire type of a map's entries, all others do.
				if pass := c.pass || k == upstream && c.name == "metadata as a number"; !pass {
					sender.wantEnd(t)
				} else {
					receiver.wantAny(t)
				}
				probe.data(receiver.name, 1, pb.SessionType_SESSION_TYPE_POINT_TO_POINT,
					pb.SessionMessageType_SESSION_MESSAGE_TYPE_MSG, 1, uint32(1000+i), "probe", nil)
				if got := receiver.wantAny(t); got.GetPublish().GetSession().GetMessageId() != uint32(1000+i) {
					t.Errorf("the receiver got %v before the probe", got)
				}
				if n := receiver.conn.Stats().Invalid; n > 0 {
					t.Errorf("the receiver got %d messages that do not decode", n)
				}
			})
		}
	})
}

// wantEnd wants the stream to be ended by the node with status 0.
func (s *speaker) wantEnd(t *testing.T) {
	t.Helper()
	select {
	case m, open := <-s.inbox:
		if open || !errors.Is(s.end, uplink.ErrEnded) {
			t.Errorf("the stream: message %v, end %v; want its end with status 0", m, s.end)
		}
	case <-time.After(limit):
		t.Error("the stream of the sender goes on")
	}
}

// wantAny returns the next message.
func (s *speaker) wantAny(t *testing.T) *pb.Message {
	t.Helper()
	select {
	case m, open := <-s.inbox:
		if !open {
			t.Fatalf("the receiver's stream ended: %v", s.end)
		}
		return m
	case b := <-s.broken:
		t.Fatalf("the receiver got what does not decode: %x", b)
	case <-time.After(limit):
		t.Fatal("nothing came")
	}
	return nil
}
