package session

import (
	"errors"
	"maps"
	"testing"
	"testing/synctest"

	"github.com/seed31b3bfd0/slimgo/session/internal/message"
)

// What messages say of themselves is that of each alone, whatever senders and receivers do with their maps, though those that say the same are
// copied once. ReceiveMany returns all that has come, in order.
func TestMetadataOfMessages(t *testing.T) {
	for _, o := range shapes {
		t.Run(o.name(), func(t *testing.T) {
			bubble(t, func(t *testing.T, h *hub) {
				alice, bob := h.app("alice"), h.app("bob")
				l := listen(t, bob)
				a, err := alice.Open(t.Context(), MustName("org/ns/bob"), o)
				if err != nil {
					t.Fatal(err)
				}
				b := accept(t, l)
				said := map[string]string{}
				var want []map[string]string
				for _, id := range []string{"one", "one", "one", "two", "one", "one", "two", "two"} {
					said["id"] = id
					want = append(want, maps.Clone(said))
					if _, err := a.Publish(t.Context(), Content{Metadata: said}); err != nil {
						t.Fatal(err)
					}
				}
				if _, err := a.Publish(t.Context(), Text("nothing")); err != nil {
					t.Fatal(err)
				}
				want = append(want, nil)
				for n := range 3 {
					m, err := b.Receive(t.Context())
					if err != nil {
						t.Fatal(err)
					}
					if !maps.Equal(m.Metadata, want[n]) {
						t.Errorf("message %d says %v, want %v", n, m.Metadata, want[n])
					}
					m.Metadata["id"] = "changed"
				}
				synctest.Wait()
				var many [4]*Message
				for n := 3; n < len(want); {
					got, err := b.ReceiveMany(t.Context(), many[:])
					if err != nil {
						t.Fatal(err)
					}
					for _, m := range many[:got] {
						if !maps.Equal(m.Metadata, want[n]) {
							t.Errorf("message %d says %v, want %v", n, m.Metadata, want[n])
						}
						n++
					}
				}
				if n, err := b.ReceiveMany(t.Context(), nil); n != 0 || err != nil {
					t.Errorf("room for none: %d, %v", n, err)
				}
				if err := a.Close(t.Context()); err != nil {
					t.Error(err)
				}
				<-b.Done()
				if n, err := b.ReceiveMany(t.Context(), many[:]); n != 0 || err != ErrClosed {
					t.Errorf("after the end: %d, %v", n, err)
				}
			})
		})
	}
}

// Metadata that means something to members is not for apps to say: not of messages, and not of sessions. What others say of whom they were
// verified as is not told as metadata of the session, which is not signed either.
func TestReservedMetadata(t *testing.T) {
	bubble(t, func(t *testing.T, h *hub) {
		alice, bob, a, b := h.pair(SessionOptions{})
		for _, key := range []string{message.KeyPayloadSignature, message.KeyPeerSubject, message.KeyPublishTo, message.KeyLeaving} {
			said := map[string]string{"k": "v", key: ""}
			_, published := a.Publish(t.Context(), Content{Metadata: said})
			_, toOne := b.PublishTo(t.Context(), alice.Name(), Content{Metadata: said})
			_, opened := alice.Open(t.Context(), bob.Name(), SessionOptions{Metadata: said})
			_, group := alice.OpenGroup(t.Context(), MustName("org/ns/channel"), SessionOptions{Metadata: said})
			for what, err := range map[string]error{"published": published, "to one": toOne, "of a session": opened, "of a group": group} {
				if !errors.Is(err, ErrConfig) {
					t.Errorf("%s, %s: %v", key, what, err)
				}
			}
		}
		h.tapes(func(_, _ string, m *message.Message) *message.Message {
			if m.Type == message.JoinRequest {
				m.Metadata[message.KeyPeerSubject] = "somebody else"
			}
			return m
		})
		if _, err := alice.Open(t.Context(), bob.Name(), SessionOptions{Metadata: map[string]string{"k": "v"}}); err != nil {
			t.Fatal(err)
		}
		if md := accept(t, bob.listener).Metadata(); !maps.Equal(md, map[string]string{"k": "v"}) {
			t.Errorf("the session's is %v", md)
		}
	})
}
