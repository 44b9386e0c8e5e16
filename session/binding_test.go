package session

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed31b3bfd0/slimgo/session/internal/message"
)

// older has an app sign no payloads, as those on the Rust library before 3.4 do.
func (h *hub) older(o *Options) {
	o.Link = func(ctx context.Context, from Incoming) (Link, error) {
		l, err := h.link(ctx, from)
		return olderLink{l}, err
	}
}

type olderLink struct{ Link }

func (l olderLink) TrySend(b []byte) error {
	m, err := message.Decode(b)
	if err != nil {
		return err
	}
	delete(m.Metadata, message.KeyPayloadSignature)
	return l.Link.TrySend(m.Append(nil))
}

// counting counts records of a logger.
type counting struct {
	text string
	n    *atomic.Int64
}

func (c counting) Enabled(context.Context, slog.Level) bool { return true }
func (c counting) WithAttrs([]slog.Attr) slog.Handler       { return c }
func (c counting) WithGroup(string) slog.Handler            { return c }
func (c counting) Handle(_ context.Context, r slog.Record) error {
	if r.Level == slog.LevelWarn && strings.Contains(r.Message, c.text) {
		c.n.Add(1)
	}
	return nil
}

// What Options.Binding says happens to those who do not sign payloads, whoever has invited the other one.
func TestBinding(t *testing.T) {
	t.Parallel()
	for _, b := range []Binding{Off, Warn, Enforce} {
		for _, invites := range []bool{false, true} {
			bubble(t, func(t *testing.T, h *hub) {
				records := counting{"without a signature of its payload", new(atomic.Int64)}
				alice := h.app("alice", func(o *Options) { o.Binding, o.Logger = b, slog.New(records) })
				old := h.app("older", h.older)
				first, second := alice, old
				if !invites {
					first, second = old, alice
				}
				l := listen(t, second)
				s, err := first.Open(t.Context(), second.Name(), quick)
				if b == Enforce {
					if !errors.Is(err, ErrTimeout) {
						t.Errorf("opened: %v", err)
					}
					if st := alice.Stats(); st.Refused+st.Unbelieved == 0 || st.Unsigned != 0 {
						t.Errorf("%+v", st)
					}
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				accepted := accept(t, l)
				own := s
				if !invites {
					own = accepted
				}
				if !invites {
					everybodyTalks(t, []*App{old, alice}, []*Session{s, accepted})
				} else {
					everybodyTalks(t, []*App{alice, old}, []*Session{s, accepted})
				}
				time.Sleep(5 * time.Minute) // heartbeats
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				events := 0
				for e := range own.Events(ctx) {
					if e, ok := e.(Unsigned); ok {
						events++
						if e.From != old.Name() {
							t.Errorf("%+v", e)
						}
					}
				}
				unsigned := alice.Stats().Unsigned
				switch {
				case b == Off && (events != 0 || unsigned != 0 || records.n.Load() != 0):
					t.Errorf("%d events, %d counted, %d records", events, unsigned, records.n.Load())
				case b == Warn && (events != 1 || unsigned < 20 || records.n.Load() == 0 || records.n.Load() > 32):
					t.Errorf("%d events, %d counted, %d records", events, unsigned, records.n.Load())
				}
			})
		}
	}
}

// Who enforces bindings answers neither who looks for it nor who invites it, where the payload of that is not signed: each by itself.
func TestUnsignedPayloadsAreNotAnswered(t *testing.T) {
	bubble(t, func(t *testing.T, h *hub) {
		alice, bob := h.app("alice"), h.app("bob", func(o *Options) { o.Binding = Enforce })
		l := listen(t, bob)
		x := h.tapes(nil)
		search := message.Empty(message.DiscoveryRequest)
		for i, m := range []message.Message{{Type: message.DiscoveryRequest, Command: &search}, {Type: message.JoinRequest, Command: new(message.Join)}} {
			m.Dest, m.Kind, m.Session, m.ID = bob.Name().t, message.PointToPoint, 7, uint32(8+i)
			signed := alice.says(t, m)
			older := *signed
			older.Metadata = nil
			if s := h.tells(bob, &older); s != (Stats{Unbelieved: 1}) || len(x.of(message.DiscoveryReply, "bob", ""))+len(x.of(message.JoinReply, "bob", "")) != i || l.places() != 0 {
				t.Errorf("%v: %+v", m.Type, s)
			}
			if s := h.tells(bob, signed); s != (Stats{}) || len(x.of(message.DiscoveryReply, "bob", ""))+len(x.of(message.JoinReply, "bob", "")) != i+1 {
				t.Errorf("%v with a signature: %+v", m.Type, s)
			}
		}
	})
}

// A session that is restored enforces bindings as the app does.
func TestBindingOfRestoredSessions(t *testing.T) {
	for _, b := range []Binding{Warn, Enforce} {
		bubble(t, func(t *testing.T, h *hub) {
			kept, binds := new(MemoryStore), func(o *Options) { o.Binding = b }
			alice, bob := h.life("alice", kept, binds), h.app("bob")
			listen(t, bob)
			if _, err := alice.Open(t.Context(), bob.Name(), SessionOptions{}); err != nil {
				t.Fatal(err)
			}
			h.stop(alice)
			alice = h.life("alice", kept, binds)
			h.tapes(func(from, _ string, m *message.Message) *message.Message {
				if from == "bob" {
					delete(m.Metadata, message.KeyPayloadSignature)
				}
				return m
			})
			time.Sleep(2 * time.Minute) // heartbeats
			for _, p := range only(t, alice).Participants() {
				if !p.Self && p.Online != (b == Warn) {
					t.Errorf("%v: %+v", b, p)
				}
			}
			if s := alice.Stats(); (s.Unsigned > 0) != (b == Warn) || (s.Refused > 0) != (b == Enforce) {
				t.Errorf("%v: %+v", b, s)
			}
		})
	}
}
