package rpc_test

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed31b3bfd0/slimgo/session"
	"github.com/seed31b3bfd0/slimgo/session/internal/message"
	"github.com/seed31b3bfd0/slimgo/session/rpc"
	"github.com/seed31b3bfd0/slimgo/session/sessiontest"
	"github.com/seed31b3bfd0/slimgo/wire"
)

// through has an app say what it says by way of a function, which gets what has been decoded, and how to send.
func through(say func(m *message.Message, send func() error) error) func(*session.Options) {
	return func(o *session.Options) {
		attach := o.Link
		o.Link = func(ctx context.Context, from session.Incoming) (session.Link, error) {
			l, err := attach(ctx, from)
			return saying{l, say}, err
		}
	}
}

type saying struct {
	session.Link
	say func(m *message.Message, send func() error) error
}

func (l saying) TrySend(b []byte) error {
	m, err := message.Decode(bytes.Clone(b)) // which is lent
	if err != nil {
		return err
	}
	m.Content = nil // it is encoded anew
	return l.say(m, func() error { return l.Link.TrySend(m.Append(nil)) })
}

// A member of a group that answers in the name of another one, before that one does, is not heard where the session is encrypted. In a plain
// one nothing tells them apart, and replies have no subject that says more.
func TestMembersThatForge(t *testing.T) {
	for _, plain := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			net := sessiontest.New(t, sessiontest.Options{Quiet: true})
			const late = time.Second
			var victim atomic.Pointer[wire.NameText]
			var forged atomic.Int64
			bob := net.App("org/ns/bob", through(func(m *message.Message, send func() error) error {
				switch {
				case m.Type != message.Msg:
					return send()
				case victim.Swap(&m.Source) == nil:
					return send()
				}
				time.AfterFunc(late, func() { _ = send() })
				return nil
			}))
			mallory := net.App("org/ns/mallory", through(func(m *message.Message, send func() error) error {
				if as := victim.Load(); as != nil && m.Type == message.Msg {
					own := m.Source
					m.Source = *as
					if err := send(); err != nil {
						return err
					}
					m.Source = own
					forged.Add(1)
				}
				return send()
			}))
			for _, app := range []*session.App{bob, mallory} {
				serve(t, app, rpc.ServerOptions{}, nil)
			}
			g := rpc.NewGroup(net.App("org/ns/client"), []session.Name{session.MustName("org/ns/bob"), session.MustName("org/ns/mallory")},
				rpc.GroupOptions{CallOptions: rpc.CallOptions{Session: session.SessionOptions{Plain: plain}}})
			defer g.Close(context.Background())
			w := &crowd{net: net, group: g}
			wantTexts(t, "before", w.ask(t.Context(), unary, "a"), "bob: echo:a", "mallory: echo:a")
			for range 3 {
				began := time.Now()
				var texts []string
				for r, err := range rpc.Ask[rpc.Raw, rpc.Raw](t.Context(), g, unary, raw("a")) {
					if err != nil {
						t.Error(err)
						continue
					}
					name := r.From.Name.String()
					texts = append(texts, strings.TrimPrefix(name, "org/ns/")+": "+string(*r.Message))
					if (r.From.Subject == "") != plain {
						t.Errorf("plain=%v: %s has the subject %q", plain, name, r.From.Subject)
					}
					if early := time.Since(began) < late; name == "org/ns/bob" && early != plain {
						t.Errorf("plain=%v: bob has answered after %v", plain, time.Since(began))
					}
				}
				slices.Sort(texts)
				wantTexts(t, fmt.Sprint("plain=", plain), texts, "bob: echo:a", "mallory: echo:a")
			}
			if forged.Load() < 3 {
				t.Errorf("%d replies were forged", forged.Load())
			}
		})
	}
}
