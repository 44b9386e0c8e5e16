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
